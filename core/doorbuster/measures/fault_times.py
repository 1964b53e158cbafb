"""The faults of a run as run.json tells them: planned in simulation, measured live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np

from doorbuster.measures.columns import Floats
from doorbuster.scenario.faults import Fault

FAULT_KINDS = tuple(
    get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(get_args(Fault)[0])
)
"""Every kind by its name in the scenario."""
STOPS_SHOP = ("kill_shop", "freeze")
STOPS_CHARGES = ("provider_outage", "kill_provider")
STOPS_DATABASE = ("restart_database",)


class FaultTime(NamedTuple):
    """When something was broken, in seconds from T0."""

    kind: str
    begun_s: float
    ended_s: float


def fault_times_of(run: Mapping[str, Any]) -> tuple[FaultTime, ...]:
    """The faults in run.json by their beginnings; one without an end lasted to that of the run."""
    last_s = (run.get("timetable") or {}).get("end_s", float("inf"))
    found = [
        FaultTime(
            str(entry.get("kind") or entry.get("name")),
            float(entry["begun_s"]),
            float(last_s if entry.get("ended_s") is None else entry["ended_s"]),
        )
        for entry in run.get("faults") or []
    ]
    return tuple(sorted(found, key=lambda fault: fault.begun_s))


def stopped_s(faults: Sequence[FaultTime], kinds: Sequence[str], from_s: Floats) -> Floats:
    """For how long after each moment faults of these kinds lasted; those that overlap add up."""
    found = np.zeros(len(from_s))
    for fault in faults:
        if fault.kind in kinds:
            found += np.maximum(fault.ended_s - np.maximum(fault.begun_s, from_s), 0.0)
    return found
