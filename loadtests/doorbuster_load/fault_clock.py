"""Has the scenario's faults carried out at their time, and writes down when they were in force."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from doorbuster.plan import FaultSpan
from doorbuster_load.hooks import HookError, Target


class FaultClock:
    """One thread a kind, since two faults of one kind never overlap.

    A fault begins when the target has answered that it has, and likewise ends. Leaving the block
    ends at once what is still under way; `wait_out` lets it come to its own end.
    """

    def __init__(self, target: Target, spans: Iterable[FaultSpan], t0_ns: int) -> None:
        self._target = target
        self._t0_ns = t0_ns
        self._no_more = threading.Event()
        self._at_once = threading.Event()
        self._under_way: set[str] = set()
        self._threads = [
            threading.Thread(target=self._carry_out, args=(own,), name=kind, daemon=True)
            for kind, own in _by_kind(spans).items()
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

    def _carry_out(self, spans: Sequence[FaultSpan]) -> None:
        with self._target.twin() as target:
            for span in spans:
                if self._no_more.wait(max(0.0, span.begun_s - self._now_s())):
                    return
                self._under_way.add(span.fault.kind)
                try:
                    self._live_through(target, span)
                except HookError as error:
                    self.problems.append(str(error))
                finally:
                    self._under_way.discard(span.fault.kind)

    def _live_through(self, target: Target, span: FaultSpan) -> None:
        target.begin_fault(span)
        happened = {**span.to_json(), "begun_s": self._now_s(), "ended_s": None}
        self.happened.append(happened)
        self._at_once.wait(max(0.0, span.ended_s - self._now_s()))
        target.end_fault(span)
        happened["ended_s"] = self._now_s()


def _by_kind(spans: Iterable[FaultSpan]) -> dict[str, list[FaultSpan]]:
    found: dict[str, list[FaultSpan]] = defaultdict(list)
    for span in spans:
        found[span.fault.kind].append(span)
    return dict(found)
