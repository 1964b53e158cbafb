"""The curves of the capacity page as plain data; the script of the report draws them.

A mark is a vertical line: [x, key of the catalogues].
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from doorbuster.capacity.findings import Capacity
from doorbuster.capacity.trial import Trial

Chart = dict[str, Any]
COLOURS = ("live", "sim", "p99", "sold", "outcome-limited", "p95", "outcome-declined")
SHARE_MIN = 1e-3
"""The chart of shares is logarithmic; an objective that uses less of its limit uses none of it."""


def charts_of(found: Capacity) -> dict[str, Chart]:
    """Every chart by its name; without points there is none."""
    if not found.sweep:
        return {}
    charts = {
        "knee": _knee(found),
        "answers": _answers(found),
        "objectives": _objectives(found),
    }
    if len(found.frontier) > 1:
        charts["frontier"] = _frontier(found)
    return charts


def _knee(found: Capacity) -> Chart:
    sweep = found.sweep
    chart = _over_load(found, "s", log=True, knee=found.knee_response)
    line = _series("chart.load.p95", "sim", [trial.response_p95_s for trial in sweep])
    line["low"] = _numbers([trial.response_p95_range_s[0] for trial in sweep])
    line["high"] = _numbers([trial.response_p95_range_s[1] for trial in sweep])
    chart["series"].append(line)
    return chart


def _answers(found: Capacity) -> Chart:
    chart = _over_load(found, "per_s", knee=found.knee_answers)
    offered = [trial.offered_per_s for trial in found.sweep]
    answered = [trial.answers_per_s for trial in found.sweep]
    chart["series"] += [
        _series("chart.load.offered", "offered", offered, dash=True),
        _series("chart.load.answered", "sold", answered),
    ]
    return chart


def _objectives(found: Capacity) -> Chart:
    """Value over limit; of a lower bound the other way round, so that above 1 is always broken."""
    chart = _over_load(found, "share_of_limit", log=True)
    for place, objective in enumerate(found.scenario.objectives):
        shares = [_share(trial, place) for trial in found.sweep]
        if any(share > SHARE_MIN for share in shares):
            colour = COLOURS[place % len(COLOURS)]
            chart["series"].append(_series(f"={objective.name}", colour, shares))
    limit = _series("chart.load.limit", "offered", [1.0] * len(found.sweep), dash=True)
    chart["series"].append(limit)
    return chart


def _share(trial: Trial, place: int) -> float:
    return max(1.0 + trial.objectives[place].beyond, SHARE_MIN)


def _frontier(found: Capacity) -> Chart:
    """A staircase: a load costs what the first point that carries it costs."""
    points = found.frontier
    carried = [
        (p.bracket.held or 0.0) if p.bracket.broke is not None else found.settings.high
        for p in points
    ]
    # The last step needs a width to be seen.
    costs = [point.cost for point in points]
    end = costs[-1] + (costs[-1] - costs[0]) / (2 * len(costs))
    return {
        "x": _numbers([*costs, end]),
        "x_kind": "cost",
        "unit": "load_factor",
        "log": False,
        "stepped": True,
        "stacked": False,
        "phases": [],
        "marks": [],
        "series": [
            _series("chart.load.carried", "sim", [*carried, carried[-1]]),
            _series(
                "chart.load.planned",
                "offered",
                [found.settings.target] * (len(points) + 1),
                dash=True,
            ),
        ],
    }


def _over_load(
    found: Capacity, unit: str, *, log: bool = False, knee: float | None = None
) -> Chart:
    marks: list[list[Any]] = [[found.settings.target, "chart.mark.planned"]]
    if knee is not None:
        marks.append([knee, "chart.mark.knee"])
    if found.bracket is not None and found.bracket.broke is not None:
        marks.append([found.bracket.broke, "chart.mark.broke"])
    return {
        "x": _numbers([trial.load_factor for trial in found.sweep]),
        "x_kind": "load_factor",
        "unit": unit,
        "log": log,
        "stepped": False,
        "stacked": False,
        "phases": [],
        "marks": sorted(marks),
        "series": [],
    }


def _series(label: str, colour: str, y: Sequence[float], *, dash: bool = False) -> dict[str, Any]:
    return {"label": label, "colour": colour, "dash": dash, "y": _numbers(y)}


def _numbers(values: Sequence[float]) -> list[float | None]:
    """Four significant digits are more than a pixel shows."""
    return [float(f"{value:.4g}") if isfinite(value) else None for value in values]
