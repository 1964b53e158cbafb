"""The wall clock against the monotonic clock, which all processes of one machine share."""

from __future__ import annotations

import time
from typing import NamedTuple

PROBES = 50


class WallClock(NamedTuple):
    """Wall time is monotonic time plus offset_s, known to bound_s."""

    offset_s: float
    bound_s: float

    @classmethod
    def measured(cls) -> WallClock:
        """The best of some readings: the one between the closest two of the monotonic clock."""
        return min((_probe() for _ in range(PROBES)), key=lambda clock: clock.bound_s)

    def epoch_s(self, mono_ns: int) -> float:
        """Wall time of a moment of the monotonic clock, seconds since 1970."""
        return mono_ns / 1e9 + self.offset_s


def _probe() -> WallClock:
    before_ns = time.monotonic_ns()
    wall_ns = time.time_ns()
    after_ns = time.monotonic_ns()
    middle_ns = (before_ns + after_ns) // 2
    return WallClock((wall_ns - middle_ns) / 1e9, (after_ns - before_ns) / 2e9)
