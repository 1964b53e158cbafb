"""Reads the target's stock twice a second during the sale, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from doorbuster.plan import Timetable
from doorbuster.records.run_folder import RunFolder
from doorbuster_load.hooks import HookError, StockReading, Target

INTERVAL_S = 0.5
"""The same as in the simulated world."""


class StockWatch:
    """Writes readings into the stock table from the first arrival to the end of the sale."""

    def __init__(
        self,
        target: Target,
        folder: RunFolder,
        timetable: Timetable,
        t0_ns: int,
        is_troubled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target = target
        self._folder = folder
        self._timetable = timetable
        self._t0_ns = t0_ns
        self._is_troubled = is_troubled
        """Whether a planned fault is under way, in which a reading may fail."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stock", daemon=True)
        self.problem: str | None = None
        """The first reading that failed."""
        self.missed_count = 0
        self.last_reading_s: float | None = None
        """When the target told its stock last, in seconds from the opening."""

    def __enter__(self) -> Self:
        if self._target.reads_stock:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _now_s(self) -> float:
        return (time.monotonic_ns() - self._t0_ns) / 1e9

    def _watch(self) -> None:
        at_s = self._timetable.start_s
        with self._folder.spool("stock", "conductor") as spool:
            while at_s <= self._timetable.end_s:
                if self._stopped.wait(max(0.0, at_s - self._now_s())):
                    return
                before_s = self._now_s()
                is_excused = self._is_troubled()
                try:
                    readings = self._target.read_stock()
                except HookError as error:
                    if not (is_excused or self._is_troubled()):
                        self.problem = self.problem or str(error)
                        self.missed_count += 1
                else:
                    self.last_reading_s = (before_s + self._now_s()) / 2
                    spool.append(_columns(readings, self.last_reading_s))
                # A slow answer skips readings; it does not send a volley of them afterwards.
                missed = max(0, int((self._now_s() - at_s) / INTERVAL_S))
                at_s += INTERVAL_S * (1 + missed)


def _columns(readings: list[StockReading], at_s: float) -> dict[str, Any]:
    return {
        "replication": [0] * len(readings),
        "at_s": [at_s] * len(readings),
        "sku": [reading.sku for reading in readings],
        "available": [reading.available for reading in readings],
        "locked": [reading.locked for reading in readings],
        "sold": [reading.sold for reading in readings],
    }
