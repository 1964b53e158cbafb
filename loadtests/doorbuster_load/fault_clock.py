"""Has the scenario's faults carried out at their time, and writes down when they were in force."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from doorbuster.plan import Timetable
from doorbuster.scenario.faults import Fault
from doorbuster_load.hooks import HookError, Target

Numbered = tuple[int, Fault]
"""A fault with its place in the scenario, from 0."""


class FaultClock:
    """One thread a kind, since two faults of one kind never overlap.

    A fault begins when the target has answered that it has, and likewise ends. Leaving the block
    ends at once what is still under way; `wait_out` lets it come to its own end.
    """

    def __init__(
        self, target: Target, faults: Sequence[Fault], timetable: Timetable, t0_ns: int
    ) -> None:
        self._target = target
        self._timetable = timetable
        self._t0_ns = t0_ns
        self._no_more = threading.Event()
        self._at_once = threading.Event()
        self._under_way: set[str] = set()
        self._threads = [
            threading.Thread(target=self._carry_out, args=(own,), name=kind, daemon=True)
            for kind, own in _by_kind(faults, timetable).items()
        ]
        self.happened: list[dict[str, Any]] = []
        """Kind, begin and end of each fault that was carried out, seconds from the opening."""
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._at_once.set()
        self.wait_out()

    @property
    def is_troubling(self) -> bool:
        """Whether a fault is under way, so that a target that does not answer is no surprise."""
        return bool(self._under_way)

    def wait_out(self) -> None:
        """Begin nothing more, and return when all that was begun has ended."""
        self._no_more.set()
        for thread in self._threads:
            thread.join()
        self.happened.sort(key=lambda fault: float(fault["begun_s"]))

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._t0_ns) / 1e9

    def _carry_out(self, faults: Sequence[Numbered]) -> None:
        with self._target.twin() as target:
            for number, fault in faults:
                starts_s = max(fault.start, self._timetable.start_s)
                if self._no_more.wait(max(0.0, starts_s - self._now_s())):
                    return
                self._under_way.add(fault.kind)
                try:
                    self._live_through(target, number, fault)
                except HookError as error:
                    self.problems.append(str(error))
                finally:
                    self._under_way.discard(fault.kind)

    def _live_through(self, target: Target, number: int, fault: Fault) -> None:
        target.begin_fault(number, fault)
        happened: dict[str, Any] = {"kind": fault.kind, "begun_s": self._now_s(), "ended_s": None}
        self.happened.append(happened)
        self._at_once.wait(max(0.0, fault.start + fault.duration - self._now_s()))
        target.end_fault(number, fault)
        happened["ended_s"] = self._now_s()


def _by_kind(faults: Sequence[Fault], timetable: Timetable) -> dict[str, list[Numbered]]:
    """Those that fall into the sale, in the order of their time."""
    found: dict[str, list[Numbered]] = defaultdict(list)
    for number, fault in sorted(enumerate(faults), key=lambda pair: pair[1].start):
        if fault.start < timetable.end_s and fault.start + fault.duration > timetable.start_s:
            found[fault.kind].append((number, fault))
    return dict(found)
