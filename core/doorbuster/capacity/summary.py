"""The findings as JSON: every number that a sentence or a curve shows, and those between them."""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from doorbuster.capacity.bottleneck import Relief
from doorbuster.capacity.findings import Capacity, ObjectiveBreak
from doorbuster.capacity.levers import Variant
from doorbuster.capacity.search import Bracket
from doorbuster.capacity.sentences import terminal_lines
from doorbuster.capacity.trial import Trial

SCHEMA = "doorbuster.capacity/1"
"""Raised when a field of capacity.json changes its meaning."""


def to_json(found: Capacity) -> dict[str, Any]:
    """The content of capacity.json; numbers that JSON lacks become null."""
    content = {
        "schema": SCHEMA,
        "scenario": found.scenario.name,
        "status": found.status,
        "exit_code": found.exit_code,
        "ended": found.ended,
        "settings": asdict(found.settings),
        "sale_count": found.sale_count,
        "sentences": terminal_lines(found),
        "capacity": {**_bracket(found.bracket), **_sure(found.sure)},
        "first_to_break": [o.objective.name for o in found.first_to_break],
        "objectives": [_objective(objective) for objective in found.objectives],
        "bound": found.bound and asdict(found.bound),
        "knee": {"response": found.knee_response, "answers": found.knee_answers},
        "causes": [_relief(found, relief) for relief in found.causes],
        "relieved_together": _bracket(found.together),
        "beyond_resources": found.beyond_resources,
        "reliefs": [_relief(found, relief) for relief in found.reliefs],
        "breaking": found.breaking and _trial(found.breaking),
        "offers": [
            {
                "lever": offer.lever.id,
                "units": offer.lever.stride,
                "before": offer.before,
                "after": offer.after,
                "cost": offer.cost,
                "gained": offer.gained,
                "implied": offer.implied,
                **_bracket(offer.bracket),
            }
            for offer in found.offers
        ],
        "frontier": [
            {"cost": point.cost, "bought": _variant(point.variant), **_bracket(point.bracket)}
            for point in found.frontier
        ],
        "sweep": [_trial(trial) for trial in found.sweep],
    }
    finite: dict[str, Any] = _finite(content)
    return finite


def _bracket(bracket: Bracket | None) -> dict[str, float | None]:
    return {
        "held": None if bracket is None else bracket.held,
        "broke": None if bracket is None else bracket.broke,
    }


def _sure(sure: tuple[float | None, float | None]) -> dict[str, float | None]:
    return {"surely_held": sure[0], "surely_broke": sure[1]}


def _objective(objective: ObjectiveBreak) -> dict[str, Any]:
    return {
        "name": objective.objective.name,
        "direction": objective.direction,
        "defines_capacity": objective.defines_capacity,
        **_bracket(objective.bracket),
        **_sure(objective.sure),
    }


def _relief(found: Capacity, relief: Relief) -> dict[str, Any]:
    assert found.bracket is not None
    return {
        "cause": relief.suspect.cause,
        "resource": relief.suspect.resource,
        "relief": _variant(relief.suspect.variant),
        "gain_log": relief.gain(found.bracket),
        **_bracket(relief.bracket),
    }


def _variant(variant: Variant) -> dict[str, int]:
    return {lever.id: units for lever, units in variant}


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "load_factor": trial.load_factor,
        "visitors": trial.visitors,
        "status": trial.reading.status,
        "excess": trial.reading.excess,
        "response_p95_s": trial.response_p95_s,
        "response_p95_range_s": list(trial.response_p95_range_s),
        "answers_per_s": trial.answers_per_s,
        "offered_per_s": trial.offered_per_s,
        "unsold_fraction": trial.unsold_fraction,
        "objectives": [
            {
                "name": o.name,
                "status": o.check.status,
                "value": o.check.value,
                "limit": o.check.limit,
                "beyond": o.beyond,
                "defines_capacity": o.defines_capacity,
            }
            for o in trial.objectives
        ],
        "stations": [asdict(station) for station in trial.stations],
        "channels": [asdict(channel) for channel in trial.channels],
    }


def _finite(content: Any) -> Any:
    match content:
        case float():
            return content if isfinite(content) else None
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list() | tuple():
            return [_finite(value) for value in content]
        case _:
            return content
