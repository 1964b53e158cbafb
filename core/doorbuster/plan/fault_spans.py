"""When the faults of a scenario hold in a run: clipped to it, in seconds from the opening."""

from __future__ import annotations

from typing import Any, NamedTuple

from doorbuster.plan.timetable import Timetable
from doorbuster.scenario.faults import Fault
from doorbuster.scenario.model import Scenario


class FaultSpan(NamedTuple):
    """One fault of a run, which holds in [begun_s, ended_s).

    number: its place among the scenario's faults.
    """

    number: int
    fault: Fault
    begun_s: float
    ended_s: float

    def to_json(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"kind": self.fault.kind, "begun_s": self.begun_s, "ended_s": self.ended_s}


def fault_spans(scenario: Scenario, timetable: Timetable) -> list[FaultSpan]:
    """The faults that fall into a run, by their beginnings.

    Like a phase, a fault stands on the sale's clock: `--compress` divides its times, too.
    """
    spans = []
    for number, fault in enumerate(scenario.faults):
        begun_s = fault.start / timetable.compress
        ended_s = (fault.start + fault.duration) / timetable.compress
        if begun_s < timetable.end_s and ended_s > timetable.start_s:
            begun_s, ended_s = max(begun_s, timetable.start_s), min(ended_s, timetable.end_s)
            spans.append(FaultSpan(number, fault, begun_s, ended_s))
    return sorted(spans, key=lambda span: (span.begun_s, span.number))
