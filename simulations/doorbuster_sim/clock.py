"""The simulated clock counts whole nanoseconds from the opening: no rounding, no platform."""

from __future__ import annotations

from doorbuster.compiling import compilable

NANOSECONDS = 1_000_000_000


@compilable
def to_ns(seconds: float) -> int:
    """The nearest whole nanosecond."""
    return round(seconds * NANOSECONDS)


@compilable
def to_s(nanoseconds: int) -> float:
    """Seconds, for records."""
    return nanoseconds / NANOSECONDS
