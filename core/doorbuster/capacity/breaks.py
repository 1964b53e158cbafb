"""The first two stages: the sweep over the load, and where each objective breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from doorbuster.capacity.bench import AS_IS, SWEEP_POINTS, Bench
from doorbuster.capacity.findings import ObjectiveBreak
from doorbuster.capacity.knee import knee_of
from doorbuster.capacity.operational import operational_bound
from doorbuster.capacity.search import (
    Bracket,
    Reading,
    Search,
    bisect,
    certain,
    direction_of,
    in_step,
    lowest_break,
    objective_bracket,
)
from doorbuster.capacity.trial import Trial
from doorbuster.plan import Timetable

BEYOND_BREAK = 3
"""Points of the sweep above the first broken one: the plot shows what lies behind the knee."""
AT_ONCE = 2
"""Points of the sweep that are asked for together: as many processors as every machine has."""

Name = str | None
"""An objective, or None for all that define capacity."""
_Edge = tuple[Name, str]


def sweep(bench: Bench, timetable: Callable[[float], Timetable]) -> None:
    """The scenario as it is, from low load to behind its break; the target in any case."""
    bench.begin("sweep")
    found, settings = bench.found, bench.found.settings
    found.target = bench.trial(AS_IS, settings.target)
    grid = np.geomspace(settings.low, settings.high, SWEEP_POINTS).tolist()
    grid[0], grid[-1] = settings.low, settings.high  # Rounded by the logarithm.
    factors = sorted({*grid, settings.target})
    for first in range(0, len(factors), AT_ONCE):
        batch = factors[first : first + AT_ONCE]
        found.sweep += bench.trials.ask([(AS_IS, factor) for factor in batch])
        behind = sum(trial.reading.excess > 0 for trial in found.sweep)
        if behind > BEYOND_BREAK and batch[-1] >= settings.target:
            break
    found.bound = operational_bound(found.scenario, timetable, settings.low, settings.high)


def _mark_knees(bench: Bench) -> None:
    sweep = bench.found.sweep
    factors = [trial.load_factor for trial in sweep]
    waits = knee_of(factors, [trial.response_p95_s for trial in sweep], "convex")
    answers = knee_of(factors, [trial.answers_per_s for trial in sweep], "concave")
    bench.found.knee_response = None if waits is None else factors[waits]
    bench.found.knee_answers = None if answers is None else factors[answers]


def find_breaks(bench: Bench) -> None:
    """Breaking points of the whole and of each objective, and how sure the first one is."""
    bench.begin("breaks")
    names: list[Name] = [None, *(objective.name for objective in bench.found.scenario.objectives)]
    brackets = {name: _start(bench, name) for name in names}
    precision = bench.found.settings.precision
    searches: dict[Name, Search] = {
        name: bisect(bracket.held, bracket.broke, precision=precision)
        for name, bracket in brackets.items()
        if bracket.held is not None and bracket.broke is not None
    }
    try:
        in_step(searches, lambda questions: _ask(bench, questions), brackets)
        _narrow_certainty(bench, brackets[None])
    finally:
        _note(bench, brackets)


def _start(bench: Bench, name: Name) -> Bracket:
    readings = _readings(bench, name)
    return lowest_break(readings) if name is None else objective_bracket(readings)


def _narrow_certainty(bench: Bench, bracket: Bracket) -> None:
    """Bisect for the last load that passes, and the first that fails, with confidence each."""
    passed, failed = certain(_readings(bench, None), bracket)
    precision = bench.found.settings.precision
    searches: dict[_Edge, Search] = {}
    if passed is not None and bracket.broke is not None:
        searches[None, "passes"] = bisect(
            passed, bracket.broke, precision=precision, broken=lambda r: r.status != "pass"
        )
    if failed is not None and bracket.held is not None:
        searches[None, "fails"] = bisect(
            bracket.held, failed, precision=precision, broken=lambda r: r.status == "fail"
        )
    in_step(
        searches,
        lambda questions: _ask(bench, [(name, factor) for (name, _), factor in questions]),
        {},
    )


def _note(bench: Bench, brackets: Mapping[Name, Bracket]) -> None:
    found = bench.found
    # The loads that the bisection asked about belong to the curve, too.
    found.sweep = [trial for _, trial in bench.trials.of(AS_IS)]
    _mark_knees(bench)
    found.bracket = brackets[None]
    found.sure = certain(_readings(bench, None), brackets[None])
    for place, objective in enumerate(found.scenario.objectives):
        readings = _readings(bench, objective.name)
        direction = direction_of(reading for _, reading in readings)
        bracket = brackets[objective.name]
        found.objectives.append(
            ObjectiveBreak(
                objective,
                direction,
                bracket,
                (None, None) if direction == "down" else certain(readings, bracket),
                any(trial.objectives[place].defines_capacity for trial in found.sweep),
            )
        )


def _readings(bench: Bench, name: Name) -> list[tuple[float, Reading]]:
    """Over rising loads, of one objective or of all that define capacity."""
    return [(factor, _reading(trial, name)) for factor, trial in bench.trials.of(AS_IS)]


def _ask(bench: Bench, questions: Sequence[tuple[Name, float]]) -> list[Reading]:
    trials = bench.trials.ask([(AS_IS, factor) for _, factor in questions])
    return [_reading(t, name) for t, (name, _) in zip(trials, questions, strict=True)]


def _reading(trial: Trial, name: Name) -> Reading:
    if name is None:
        return trial.reading
    return next(o for o in trial.objectives if o.name == name).reading
