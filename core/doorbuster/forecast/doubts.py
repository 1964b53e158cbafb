"""What is legal in a scenario and still suspicious: each with a reason and a way out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from doorbuster.forecast.flow import STEPS, Flow
from doorbuster.forecast.stations import StationForecast
from doorbuster.plan import Timetable, fault_spans
from doorbuster.scenario.distributions import late_fraction, mean_of
from doorbuster.scenario.durations import format_duration
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import Conversion, FailedRequests, Objective, ResponseTime
from doorbuster.scenario.shapes import ZeroHour

DAY_S = 86400.0
CAMPAIGN_LENGTH_S = 2 * DAY_S
"""From this length on a scenario counts as a campaign, whose phases have usual lengths."""
CAMPAIGN_PHASES_S = {
    "presale": (15 * DAY_S, 30 * DAY_S),
    "warm-up": (3 * DAY_S, 7 * DAY_S),
    "main": (3 * DAY_S, 5 * DAY_S),
    "encore": (1 * DAY_S, 2 * DAY_S),
}
"""Usual lengths of a campaign's phases by how their names begin, from campaign plans."""
BOT_REQUEST_FRACTIONS = (0.10, 0.95)
"""Bots' share of the requests that shops reported of hyped drops."""
LATE_REFUNDS_FROM = 0.01
"""A promise that one refund in a hundred breaks is told; campaign documents promise all of them."""
LOAD_FACTORS = (0.001, 50.0)
"""Load factors that are rehearsed; above, the normal load is more likely mistyped."""


@dataclass(frozen=True)
class Doubt:
    """One suspicion: a short code that stays, the path in the file, the sentence."""

    code: str
    path: str
    sentence: str


Finder = Callable[[Scenario, Timetable, Flow, Sequence[StationForecast]], Iterator[Doubt]]


def doubts(
    scenario: Scenario, timetable: Timetable, flow: Flow, stations: Sequence[StationForecast]
) -> list[Doubt]:
    """Everything that is suspicious, in the order of the file."""
    return [doubt for finder in FINDERS for doubt in finder(scenario, timetable, flow, stations)]


def _locks(
    scenario: Scenario, timetable: Timetable, _flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    shop = scenario.shop
    lock = format_duration(shop.lock_time)
    back = shop.lock_time + shop.release_jitter + shop.release_sweep
    if back >= timetable.end_s:
        yield Doubt(
            "lock-outlasts-sale",
            "shop.lock_time",
            f"a lock of {lock} outlasts the sale, which ends {format_duration(timetable.end_s)} "
            "after the opening: stock that is reserved and not paid never returns; shorten "
            "lock_time or lengthen the last phase",
        )
    elif back > timetable.end_s - timetable.last_arrival_s:
        yield Doubt(
            "late-locks-stay",
            "crowd.drain",
            f"a lock lasts {lock}, but the sale ends {format_duration(scenario.crowd.drain)} "
            "after the last arrival: what is reserved late and not paid stays unsold; a drain "
            f"above {format_duration(back)} lets it return",
        )
    if shop.release_sweep > shop.lock_time:
        yield Doubt(
            "sweep-slower-than-lock",
            "shop.release_sweep",
            f"lapsed locks are only released every {format_duration(shop.release_sweep)}, "
            f"longer than a lock of {lock} lasts; sweep more often",
        )


def _refunds(
    scenario: Scenario, timetable: Timetable, _flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    refund = scenario.shop.refund
    personas = scenario.crowd.personas
    names = [name for name in personas if personas[name].refund_fraction > 0]
    if refund is None or not names:
        return
    late = late_fraction(refund.delay, refund.within_s)
    if late >= LATE_REFUNDS_FROM:
        yield Doubt(
            "refunds-later-than-promised",
            "shop.refund.delay",
            f"about {late:.0%} of the refunds are begun later than the "
            f"{format_duration(refund.within_s)} that buyers are promised (shop.refund.within); "
            "shorten the delay or promise less",
        )
    for name in names:
        wait_s = mean_of(personas[name].refund_after) + mean_of(refund.delay)
        if wait_s >= timetable.end_s:
            yield Doubt(
                "refunds-outlast-sale",
                f"crowd.personas.{name}.refund_after",
                f"money comes back {format_duration(round(wait_s, 3))} after it was paid, in the "
                f"mean, and the sale ends {format_duration(timetable.end_s)} after the opening: "
                "most refunds stay open; shorten refund_after or shop.refund.delay, or lengthen "
                "the drain",
            )


def _stock(
    scenario: Scenario, _timetable: Timetable, flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    for item in scenario.shop.items:
        if item.stock == 0 and item.bundle is None:
            path = f"shop.items.{item.sku}.stock"
            yield Doubt("no-stock", path, f"{item.sku} has no stock: everybody finds it sold out")
    if all(item.sold_out_s is None for item in flow.items):
        wanted = sum(item.wanted_units for item in flow.items)
        stock = sum(item.stock_units for item in flow.items)
        yield Doubt(
            "stock-above-demand",
            "shop.items",
            f"about {wanted:,.0f} units are wanted and {stock:,} are in stock: nothing sells "
            "out, so this scenario says little about contention; lower the stock or raise the load",
        )


def _opening(
    scenario: Scenario, timetable: Timetable, _flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    if timetable.last_arrival_s <= 0:
        yield Doubt(
            "nobody-after-opening",
            "crowd.phases",
            "no phase reaches beyond the opening (T0): nobody arrives while the sale is open",
        )
    for phase in scenario.crowd.phases:
        if isinstance(phase.shape, ZeroHour) and phase.start != 0:
            yield Doubt(
                "zero-hour-not-at-zero",
                f"crowd.phases.{phase.name}.start",
                f"the zero_hour shape starts at {format_duration(phase.start)}, but the sale "
                "opens at 0; start the phase at 0 or use a pulse",
            )
    spans = timetable.phases
    for (before, _, end), (after, start, _) in pairwise(spans):
        if start > end:
            yield Doubt(
                "gap",
                f"crowd.phases.{after}.start",
                f"nobody arrives for {format_duration(start - end)} between {before} and {after}",
            )


def _campaign(
    scenario: Scenario, timetable: Timetable, _flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    if timetable.last_arrival_s - timetable.start_s < CAMPAIGN_LENGTH_S:
        return
    for kind, (shortest, longest) in CAMPAIGN_PHASES_S.items():
        phases = [phase for phase in scenario.crowd.phases if phase.name.startswith(kind)]
        length = sum(phase.duration for phase in phases)
        if phases and not shortest <= length <= longest:
            yield Doubt(
                "unusual-phase-length",
                f"crowd.phases.{phases[0].name}.duration",
                f"{kind} lasts {format_duration(length)}; campaign plans give it "
                f"{format_duration(shortest)} to {format_duration(longest)}",
            )


def _people(
    scenario: Scenario, timetable: Timetable, flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    low, high = LOAD_FACTORS
    if not low <= timetable.load_factor <= high:
        yield Doubt(
            "unusual-load-factor",
            "crowd.load_factor",
            f"{timetable.load_factor:,.4g} times the normal load is rehearsed; usual are 3 to 10 "
            f"and at most {high:g}; check normal_load_per_s",
        )
    for name, visitors in flow.persona_visitors.items():
        if visitors == 0:
            path = f"crowd.personas.{name}"
            yield Doubt("nobody-like-that", path, f"no visitor is a {name}; give it a share")
    for name, persona in scenario.crowd.personas.items():
        if persona.request_timeout <= scenario.payments.timeout:
            yield Doubt(
                "leaves-before-pending",
                f"crowd.personas.{name}.request_timeout",
                f"drops a request after {format_duration(persona.request_timeout)}, before the "
                "shop can say that a payment is pending "
                f"({format_duration(scenario.payments.timeout)})",
            )


def _bots(
    scenario: Scenario, _timetable: Timetable, flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    personas = scenario.crowd.personas
    bots = [name for name, persona in personas.items() if persona.identities.model_fields_set]
    total = sum(flow.persona_requests.values())
    low, high = BOT_REQUEST_FRACTIONS
    reported = f"shops reported {low:.0%} to {high:.0%} for hyped drops"
    if not bots:
        yield Doubt(
            "no-bots",
            "crowd.personas",
            f"no persona shares identities, so there are no bots; of the requests {reported}",
        )
    elif total > 0:
        share = sum(flow.persona_requests[name] for name in bots) / total
        if not low <= share <= high:
            yield Doubt(
                "unusual-bot-share",
                "crowd.personas",
                f"about {share:.0%} of the requests come from {', '.join(bots)}; {reported}",
            )


def _objectives(
    scenario: Scenario, timetable: Timetable, flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    for objective in scenario.objectives:
        scope = _scope(objective, timetable)
        if isinstance(objective, Conversion):
            count, noun = timetable.expected_arrivals(*scope), "visitors"
            budget = 1 - objective.at_least
        elif isinstance(objective, ResponseTime | FailedRequests):
            count, noun = _request_count(flow, objective.step, *scope), "requests"
            budget = (
                1 - objective.fraction if isinstance(objective, ResponseTime) else objective.at_most
            )
        else:
            continue
        needed = samples_needed(budget) if 0 < budget < 1 else 1
        if count < needed:
            yield Doubt(
                "few-samples",
                f"objectives.{objective.name}",
                f"about {count:,.0f} {noun} count for it and {needed:,} are needed at least "
                "before a result says anything; widen its scope, loosen it or raise the load",
            )


def samples_needed(budget: float) -> int:
    """The fewest samples that can show a rate below `budget`, none of them an event, at 95 %.

    As in `doorbuster.measures.intervals.trials_needed`, without loading SciPy for it.
    """
    return math.ceil(math.log(0.05) / math.log1p(-budget))


def _scope(objective: Objective, timetable: Timetable) -> tuple[float, float]:
    """Start and end of what an objective speaks about; empty when the window leaves it out."""
    if objective.window is not None:
        return objective.window.start, objective.window.end
    if objective.phase is None:
        return timetable.start_s, timetable.end_s
    spans = {name: (start, end) for name, start, end in timetable.phases}
    return spans.get(objective.phase, (0.0, 0.0))


def _request_count(flow: Flow, step: str | None, start_s: float, end_s: float) -> float:
    if step is not None and step not in STEPS:
        return float("inf")  # Polls depend on late answers, which the fluid does not have.
    return flow.requests_between(step, start_s, end_s)


def _capacity(
    _scenario: Scenario, _timetable: Timetable, _flow: Flow, stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    for station in stations:
        if station.utilisation <= 1:
            continue
        item = f" of {station.sku}" if station.sku else ""
        overflow = (
            f"longer than its limit of {station.queue_limit:,}: requests are refused"
            if station.queue_max > station.queue_limit
            else f"a wait of {format_duration(round(station.wait_max_s, 3))}"
        )
        yield Doubt(
            "bottleneck",
            f"service.stations.{station.name}",
            f"{station.name}{item} is offered {station.utilisation:.1f} times its capacity at "
            f"the peak: its queue grows to about {station.queue_max:,.0f} requests, {overflow}",
        )


def _faults(
    scenario: Scenario, timetable: Timetable, _flow: Flow, _stations: Sequence[StationForecast]
) -> Iterator[Doubt]:
    inside = {span.number for span in fault_spans(scenario, timetable)}
    for number, fault in enumerate(scenario.faults):
        if number not in inside:
            yield Doubt(
                "fault-outside-sale",
                f"faults.{number}",
                f"a {fault.kind} at {format_duration(fault.start)} falls outside the sale and "
                "breaks nothing; start it within the phases",
            )
    if inside:
        yield Doubt(
            "forecast-without-faults",
            "faults",
            "this forecast is of a shop that is well throughout; simulate shows what the faults do",
        )


FINDERS: tuple[Finder, ...] = (
    _locks,
    _refunds,
    _stock,
    _opening,
    _campaign,
    _people,
    _bots,
    _capacity,
    _objectives,
    _faults,
)
"""Every finder of doubts, in the order in which they are told."""
