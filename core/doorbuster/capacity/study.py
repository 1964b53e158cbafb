"""The study: sweep, breaking points, bottleneck, what one more buys, frontier; in this order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from doorbuster.capacity.bottleneck import Relief, Suspect, cause_of, ranked, suspects_of, symptom_of
from doorbuster.capacity.findings import Capacity, ObjectiveBreak, OneMore, StudySettings
from doorbuster.capacity.frontier import MAX_STEPS, Offer, cost_of, frontier
from doorbuster.capacity.knee import knee_of
from doorbuster.capacity.levers import Lever, Variant, levers_of, setting, varied
from doorbuster.capacity.operational import operational_bound
from doorbuster.capacity.search import (
    Bracket,
    Reading,
    Search,
    bisect,
    break_after_pass,
    certain,
    direction_of,
    in_step,
    lowest_break,
    recovery,
    search_up,
)
from doorbuster.capacity.trial import Trial, is_about_requests, may_be_the_shops_doing
from doorbuster.capacity.trials import SalesSpentError, Simulate, Trials
from doorbuster.plan import Timetable
from doorbuster.scenario.model import Scenario

SWEEP_POINTS = 16
BEYOND_BREAK = 3
"""Points of the sweep above the first broken one: the plot shows what lies behind the knee."""
SMALLEST_CROWD = 50.0
"""The sweep begins where at least so many visitors are expected: fewer tell nothing."""
AS_IS: Variant = ()

Stage = Literal["sweep", "breaks", "bottleneck", "one_more", "frontier"]
Told = Callable[[float, str], None]
"""Called with the share of the work that is done, and what is being done."""


def study(
    scenario: Scenario,
    settings: StudySettings,
    simulate: Simulate,
    timetable: Callable[[float], Timetable],
    told: Told = lambda _share, _note: None,
) -> Capacity:
    """Everything that can be found out within the allowed sales; an interrupt keeps what is known.

    timetable: of a load factor. Raises: nothing on Ctrl-C, which ends the study with `interrupted`.
    """
    found = Capacity(scenario, settings)
    work = _Study(found, simulate, timetable, told)
    try:
        work.sweep()
        work.breaks()
        if found.bracket is not None and found.bracket.broke is not None:
            work.bottleneck()
            work.one_more()
            work.frontier()
    except KeyboardInterrupt:
        found.ended = "interrupted"
    except SalesSpentError:
        found.ended = "sales_spent"
    found.sale_count = work.trials.sale_count
    return found


def can_break(scenario: Scenario) -> bool:
    """Whether an objective of the scenario can define a capacity at all."""
    return any(is_about_requests(o) or may_be_the_shops_doing(o) for o in scenario.objectives)


def searched_range(
    target: float, high: float, timetable: Callable[[float], Timetable]
) -> tuple[float, float]:
    """From an eighth of the target on, unless hardly anybody would come."""
    per_factor = timetable(target).expected_visitors / target
    low = min(max(target / 8, SMALLEST_CROWD / per_factor), target)
    return low, high


class _Study:
    """The stages; each fills its part of the findings as it goes."""

    def __init__(
        self,
        found: Capacity,
        simulate: Simulate,
        timetable: Callable[[float], Timetable],
        told: Told,
    ) -> None:
        self._found = found
        self._timetable = timetable
        self._told = told
        self._note = ""
        self._expected = 1
        self._levers = levers_of(found.scenario)
        settings = found.settings
        self.costs = {lever: settings.costs.get(lever.id, 1.0) for lever in self._levers}
        self.trials = Trials(
            simulate,
            replications=settings.replications,
            max_sales=settings.max_sales,
            told=self._tell,
        )
        self._kinds = {o.name: o.kind for o in found.scenario.objectives}

    # --- progress ---

    def _begin(self, stage: Stage) -> None:
        """Rough number of trials still to come, for the time left."""
        levers, suspects = len(self._levers), len(suspects_of(self._found.scenario))
        rest: dict[Stage, int] = {
            "sweep": SWEEP_POINTS,
            "breaks": 6,
            "bottleneck": suspects + 8,
            "one_more": levers,
            "frontier": 4 * (levers + 6),
        }
        stages = list(rest)
        self._expected = len(list(self.trials.of(AS_IS))) if stage == "breaks" else self._done
        self._expected += sum(rest[later] for later in stages[stages.index(stage) :])
        self._note = stage

    _done = 0

    def _tell(self, trial_count: int) -> None:
        self._done = trial_count
        share = min(trial_count / max(self._expected, 1), 0.99)
        self._told(share, self._note)

    # --- stages ---

    def sweep(self) -> None:
        """The scenario as it is, from low load to behind its break; the target in any case."""
        found, settings = self._found, self._found.settings
        self._begin("sweep")
        [found.target] = self.trials.ask([(AS_IS, settings.target)])
        grid = np.geomspace(settings.low, settings.high, SWEEP_POINTS).tolist()
        grid[0], grid[-1] = settings.low, settings.high  # Rounded by the logarithm.
        behind = 0
        for factor in sorted({*grid, settings.target}):
            [trial] = self.trials.ask([(AS_IS, factor)])
            found.sweep.append(trial)
            behind += trial.reading.excess > 0
            if behind > BEYOND_BREAK and factor >= settings.target:
                break
        self._knees()
        found.bound = operational_bound(
            found.scenario, self._timetable, settings.low, settings.high
        )

    def _knees(self) -> None:
        sweep = self._found.sweep
        factors = [trial.load_factor for trial in sweep]
        waits = knee_of(factors, [trial.response_p95_s for trial in sweep], "convex")
        answers = knee_of(factors, [trial.answers_per_s for trial in sweep], "concave")
        self._found.knee_response = None if waits is None else factors[waits]
        self._found.knee_answers = None if answers is None else factors[answers]

    def breaks(self) -> None:
        """Breaking points of the whole and of each objective, to the precision asked for."""
        self._begin("breaks")
        found, precision = self._found, self._found.settings.precision
        names = [objective.name for objective in found.scenario.objectives]
        starts: dict[str | None, Bracket] = {None: lowest_break(self._readings(None))}
        for name in names:
            readings = self._readings(name)
            direction = direction_of(reading for _, reading in readings)
            starts[name] = (recovery if direction == "down" else break_after_pass)(readings)
        brackets = dict(starts)
        searches: dict[str | None, Search] = {
            name: bisect(bracket.held, bracket.broke, precision=precision)
            for name, bracket in starts.items()
            if bracket.held is not None and bracket.broke is not None
        }
        try:
            in_step(searches, self._ask_as_is, brackets)
        finally:
            self._note_breaks(names, brackets)

    def _note_breaks(self, names: Sequence[str], brackets: Mapping[str | None, Bracket]) -> None:
        found = self._found
        found.bracket = brackets[None]
        found.sure = certain(self._readings(None), brackets[None])
        for place, name in enumerate(names):
            readings = self._readings(name)
            trials = [trial for _, trial in self.trials.of(AS_IS)]
            found.objectives.append(
                ObjectiveBreak(
                    found.scenario.objectives[place],
                    direction_of(reading for _, reading in readings),
                    brackets[name],
                    certain(readings, brackets[name]),
                    any(t.objectives[place].defines_capacity for t in trials),
                )
            )

    def _readings(self, name: str | None) -> list[tuple[float, Reading]]:
        """Over rising loads, of one objective or of all that define capacity."""
        return [(factor, _reading(trial, name)) for factor, trial in self.trials.of(AS_IS)]

    def _ask_as_is(self, questions: Sequence[tuple[str | None, float]]) -> list[Reading]:
        trials = self.trials.ask([(AS_IS, factor) for _, factor in questions])
        return [_reading(t, name) for t, (name, _) in zip(trials, questions, strict=True)]

    def bottleneck(self) -> None:
        """Relieve every suspect in turn and see how far the break moves."""
        self._begin("bottleneck")
        found = self._found
        base = self._base
        assert base.broke is not None
        found.breaking = self.trials.known(AS_IS, base.broke)
        assert found.breaking is not None
        broken = found.breaking.broken
        if broken:
            found.symptom = symptom_of(found.breaking, broken[0], self._kinds)
        suspects = suspects_of(found.scenario)
        brackets: dict[Variant, Bracket] = {}
        try:
            self._search([suspect.variant for suspect in suspects], base, brackets)
        finally:
            reliefs = [
                self._relief(suspect, brackets[suspect.variant])
                for suspect in suspects
                if suspect.variant in brackets
            ]
            found.reliefs = ranked(reliefs, base, found.settings.precision)
        found.cause = cause_of(found.reliefs, base, found.settings.precision)

    @property
    def _base(self) -> Bracket:
        assert self._found.bracket is not None
        return self._found.bracket

    def _relief(self, suspect: Suspect, bracket: Bracket) -> Relief:
        return Relief(suspect, bracket, self._excess(suspect.variant, self._base))

    def _excess(self, variant: Variant, bracket: Bracket) -> float:
        """How far a variant is beyond the limit at the load that broke before it."""
        assert bracket.broke is not None
        [trial] = self.trials.ask([(variant, bracket.broke)])
        return trial.reading.excess

    def _search(
        self, variants: Sequence[Variant], start: Bracket, brackets: dict[Variant, Bracket]
    ) -> None:
        """Where each variant breaks, from where it broke before."""
        settings = self._found.settings
        searches = {
            variant: search_up(start, settings.high, precision=settings.precision)
            for variant in dict.fromkeys(variants)
        }
        in_step(
            searches,
            lambda questions: [trial.reading for trial in self.trials.ask(questions)],
            brackets,
        )

    def one_more(self) -> None:
        """One purchase of each lever whose resource, relieved, moved the break."""
        self._begin("one_more")
        base = self._base
        helpful = [lever for lever in self._levers if self._may_help(lever)]
        variants = {lever: ((lever, lever.stride),) for lever in self._levers}
        brackets: dict[Variant, Bracket] = {}
        try:
            self._search([variants[lever] for lever in helpful], base, brackets)
        finally:
            offers = [
                self._offer(lever, variants[lever], brackets.get(variants[lever], base))
                for lever in self._levers
                if variants[lever] in brackets or lever not in helpful
            ]
            self._found.offers = sorted(offers, key=lambda offer: -offer.gain_per_cost)

    def _may_help(self, lever: Lever) -> bool:
        """Whether relieving the same resource moved the break, or brought the objective closer."""
        base = self._base
        assert self._found.breaking is not None
        before = self._found.breaking.reading.excess
        return any(
            relief.gain(base) > 0 or relief.excess < before
            for relief in self._found.reliefs
            if any(_alike(lever, other) for other, _ in relief.suspect.variant)
        )

    def _offer(self, lever: Lever, variant: Variant, bracket: Bracket) -> OneMore:
        scenario, base = self._found.scenario, self._base
        assert base.broke is not None
        reached = bracket.broke if bracket.broke is not None else bracket.held
        return OneMore(
            lever,
            setting(scenario, lever),
            setting(varied(scenario, variant), lever),
            cost_of(variant, self.costs),
            bracket,
            max((reached or base.broke) - base.broke, 0.0),
            implied=not self._may_help(lever),
        )

    def frontier(self) -> None:
        """The cheapest purchases found for each load, up to the end of the range."""
        self._begin("frontier")
        points = frontier(
            self._base, self._worth_trying, self.costs, self._measure, self._holds,
            max_steps=MAX_STEPS,
        )  # fmt: skip
        for point in points:
            self._found.frontier.append(point)

    def _worth_trying(self, variant: Variant, broke: float) -> list[Lever]:
        """A bound that refused nobody, or a channel that never mattered, is left as it is."""
        trial = self.trials.known(variant, broke)
        refusing = None if trial is None else {s.station for s in trial.stations if s.refused > 0}
        return [
            lever
            for lever in self._levers
            if (
                refusing is None or lever.resource in refusing
                if lever.kind == "queue"
                else lever.kind in ("servers", "speed") or self._may_help(lever)
            )
        ]

    def _measure(self, variants: Sequence[Variant], start: Bracket) -> list[Offer]:
        brackets: dict[Variant, Bracket] = {}
        self._search(variants, start, brackets)
        return [Offer(brackets[v], self._excess(v, start)) for v in variants]

    def _holds(self, variants: Sequence[Variant], factor: float) -> list[bool]:
        trials = self.trials.ask([(variant, factor) for variant in variants])
        return [trial.reading.excess <= 0 for trial in trials]


def _reading(trial: Trial, name: str | None) -> Reading:
    if name is None:
        return trial.reading
    return next(o for o in trial.objectives if o.name == name).reading


_FAMILIES = (("servers", "speed"), ("queue",), ("latency", "late", "declines"), ("timeout",))


def _alike(lever: Lever, other: Lever) -> bool:
    """Whether two levers act on the same resource in the same way."""
    return lever.resource == other.resource and any(
        lever.kind in family and other.kind in family for family in _FAMILIES
    )
