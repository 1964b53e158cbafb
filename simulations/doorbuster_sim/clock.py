"""The simulated clock counts whole nanoseconds from the opening: no rounding, no platform."""

from __future__ import annotations

NANOSECONDS = 1_000_000_000


def to_ns(seconds: float) -> int:
    """The nearest whole nanosecond."""
    return round(seconds * NANOSECONDS)


def to_s(nanoseconds: int) -> float:
    """Seconds, for records."""
    return nanoseconds / NANOSECONDS
