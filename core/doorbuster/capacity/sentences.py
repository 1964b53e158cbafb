"""The findings in plain sentences, for the terminal and, in every language, for the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from doorbuster.capacity.bottleneck import Relief
from doorbuster.capacity.evidence import ChannelEvidence, StationEvidence
from doorbuster.capacity.findings import Capacity, ObjectiveBreak, OneMore
from doorbuster.capacity.frontier import FrontierPoint
from doorbuster.capacity.levers import Lever, setting, varied
from doorbuster.capacity.search import Bracket
from doorbuster.report.catalogue import say
from doorbuster.report.numbers import NOTHING, count, duration, percent
from doorbuster.verdict.verdict import limit_text

OFFERS_SHOWN = 3
"""Purchases that are named in sentences; the others stand in the table."""


@dataclass(frozen=True)
class Sentence:
    """A key of the catalogues with its facts; `join` puts what is said elsewhere into them."""

    key: str
    facts: dict[str, Any] = field(default_factory=dict)

    def __call__(self, language: str = "en") -> str:
        """The sentence in one language; a fact may be a sentence, or a list of them."""
        facts = {name: _told(fact, language) for name, fact in self.facts.items()}
        return say(self.key, facts, language=language)


def _told(fact: Any, language: str) -> Any:
    if isinstance(fact, Sentence):
        return fact(language)
    if isinstance(fact, list):
        return say("capacity.list", language=language).join(_told(part, language) for part in fact)
    return fact


def factor_text(factor: float | None) -> str:
    """A load factor with three digits; no more is known of it."""
    return NOTHING if factor is None else f"{float(f'{factor:.3g}'):,g}"


def reached(bracket: Bracket, found: Capacity) -> str:
    """Up to which load it holds, in a word: `41.2`, or `≥ 100` at the end of what was searched."""
    if bracket.broke is None:
        return f"≥ {factor_text(found.settings.high)}"
    if bracket.held is None:
        return f"< {factor_text(bracket.broke)}"
    return factor_text(bracket.held)


def headline(found: Capacity) -> Sentence:
    """Up to which load the sale holds, and how sure that is."""
    bracket, settings = found.bracket, found.settings
    facts: dict[str, Any] = {
        "target": factor_text(settings.target),
        "low": factor_text(settings.low),
        "high": factor_text(settings.high),
    }
    if bracket is None:
        return Sentence("capacity.held.unknown", facts)
    if bracket.broke is None:
        return Sentence("capacity.held.everywhere", facts)
    facts |= {"broke": factor_text(bracket.broke), "sure": _sure(found.sure)}
    if bracket.held is None:
        return Sentence("capacity.held.nowhere", facts)
    facts["held"] = factor_text(bracket.held)
    # The planned load may lie above what holds.
    facts["times"] = f"{bracket.held / settings.target:.2g}"
    return Sentence("capacity.held.up_to", facts)


def _sure(sure: tuple[float | None, float | None]) -> Sentence:
    """Between which loads the break surely lies; a side of which nothing is sure says so."""
    sides = {
        (True, True): "both",
        (True, False): "held",
        (False, True): "broken",
        (False, False): "neither",
    }
    side = sides[sure[0] is not None, sure[1] is not None]
    facts = {"from": factor_text(sure[0]), "to": factor_text(sure[1])}
    return Sentence(f"capacity.sure.{side}", facts)


def first_to_break(found: Capacity) -> Sentence | None:
    """Which objective breaks first, and which follow."""
    breaking = found.first_to_break
    if not breaking:
        return None
    first, *others = breaking
    facts = {"objective": _limited(found, first), "factor": _breaks_at(first)}
    if not others:
        return Sentence("capacity.first.only", facts)
    rest = [
        Sentence("capacity.first.other", {"name": o.objective.name, "factor": _breaks_at(o)})
        for o in others
    ]
    return Sentence("capacity.first.then", {**facts, "others": rest})


def _breaks_at(objective: ObjectiveBreak) -> str:
    return factor_text(objective.bracket.broke)


def _limited(found: Capacity, objective: ObjectiveBreak) -> str:
    """`reserve-p95 (p95 ≤ 500 ms)`."""
    trial = found.breaking or found.sweep[-1]
    name = objective.objective.name
    check = next(o.check for o in trial.objectives if o.name == name)
    limit = limit_text(check)
    return f"{name} ({limit})" if limit else name


# --- why ---


def cause(found: Capacity) -> list[Sentence]:
    """Why it breaks there: one sentence a resource, and how they belong together."""
    if found.beyond_resources:
        return [Sentence("capacity.cause.none")]
    told = [_cause_sentence(found, relief) for relief in found.causes]
    if len(told) > 1:
        facts = {
            "count": count(len(told)),
            "factor": reached(found.together, found) if found.together else NOTHING,
        }
        return [Sentence("capacity.cause.several", facts), *told]
    return told


def _cause_sentence(found: Capacity, relief: Relief) -> Sentence:
    suspect = relief.suspect
    facts: dict[str, Any] = {
        "resource": suspect.resource,
        "relieved": reached(relief.bracket, found),
        "timeout": duration(found.scenario.payments.timeout),
    }
    station = busiest_of(found, suspect.resource)
    if station is not None:
        facts |= _station_facts(found, station)
    channel = _channel_of(found, suspect.resource)
    if channel is not None:
        facts |= {
            "wait": duration(channel.response_p95_s),
            "pending": percent(channel.pending_fraction),
            "declined": percent(channel.declined_fraction),
        }
    return Sentence(f"capacity.cause.{suspect.cause}", facts)


def _station_facts(found: Capacity, station: StationEvidence) -> dict[str, Any]:
    time = setting(found.scenario, Lever(station.station, "speed"))
    return {
        "servers": count(station.servers),
        "item": station.item or NOTHING,
        "offered": f"{station.offered_load:.2f}",
        "utilisation": percent(station.utilisation),
        "queue": count(round(station.max_queue)),
        "bound": count(station.queue_limit),
        "refused": count(round(station.refused)),
        "time": time,
    }


def busiest_of(found: Capacity, name: str) -> StationEvidence | None:
    """Of a station per item the busiest item, at the breaking load."""
    trial = found.breaking
    mine = [s for s in trial.stations if s.station == name] if trial else []
    return max(mine, key=lambda s: (s.offered_load, s.refused), default=None)


def _channel_of(found: Capacity, name: str) -> ChannelEvidence | None:
    channels = found.breaking.channels if found.breaking else ()
    return next((channel for channel in channels if channel.channel == name), None)


# --- what would help ---


def purchase(lever: Lever, units: int, before: str, after: str) -> Sentence:
    """What is bought, such as `one more server at web (1 → 2)`."""
    number = "one" if units == 1 else "many"
    key = f"capacity.lever.{lever.kind}"
    if lever.kind in ("servers", "channels"):
        key = f"{key}.{number}"
    facts = {
        "resource": lever.resource,
        "units": count(units),
        "before": before,
        "after": after,
        "times": count(2**units),
    }
    return Sentence(key, facts)


def offers(found: Capacity) -> list[Sentence]:
    """What the best single purchases buy; that nothing helps, where nothing does."""
    if not found.offers:
        return []
    helping = [offer for offer in found.offers if offer.gained > 0]
    if not helping:
        return [Sentence("capacity.offer.none")]
    return [_offer_sentence(found, offer) for offer in helping[:OFFERS_SHOWN]]


def _offer_sentence(found: Capacity, offer: OneMore) -> Sentence:
    facts = {
        "what": purchase(offer.lever, offer.lever.stride, offer.before, offer.after),
        "factor": reached(offer.bracket, found),
        "gained": factor_text(offer.gained),
    }
    return Sentence("capacity.offer", facts)


def bought(found: Capacity, point: FrontierPoint) -> list[Sentence]:
    """Everything that is bought at one point of the frontier."""
    scenario, changed = found.scenario, varied(found.scenario, point.variant)
    return [
        purchase(lever, units, setting(scenario, lever), setting(changed, lever))
        for lever, units in point.variant
    ]


def frontier_line(found: Capacity) -> Sentence | None:
    """The cheapest set of purchases that was found for the highest load."""
    if len(found.frontier) < 2:  # noqa: PLR2004 - the first point is the scenario as it is
        return None
    last = found.frontier[-1]
    facts = {
        "what": bought(found, last),
        "cost": f"{last.cost:,g}",
        "factor": reached(last.bracket, found),
    }
    return Sentence("capacity.frontier.last", facts)


def arithmetic(found: Capacity) -> Sentence | None:
    """The operational bound beside the simulated break."""
    bound = found.bound
    if bound is None or bound.load_factor is None:
        return None
    station = bound.station if bound.item is None else f"{bound.station} ({bound.item})"
    facts = {"station": station, "factor": factor_text(bound.load_factor)}
    return Sentence("capacity.bound", facts)


def ending(found: Capacity) -> Sentence | None:
    """Why the study ended early; None where it did not."""
    if found.ended in ("running", "complete"):
        return None
    facts = {"sales": count(found.sale_count), "limit": count(found.settings.max_sales)}
    return Sentence(f"capacity.ended.{found.ended}", facts)


def verdict(found: Capacity) -> Sentence:
    """Whether the planned load lies within capacity."""
    return Sentence(
        f"capacity.status.{found.status}.why", {"target": factor_text(found.settings.target)}
    )


def terminal_lines(found: Capacity) -> list[str]:
    """The whole answer for a terminal, the verdict last."""
    parts: list[Sentence | None] = [
        headline(found),
        first_to_break(found),
        *cause(found),
        *offers(found),
        frontier_line(found),
        arithmetic(found),
        ending(found),
    ]
    label = say(f"capacity.status.{found.status}").upper()
    return [*(part() for part in parts if part is not None), f"{label}: {verdict(found)()}"]
