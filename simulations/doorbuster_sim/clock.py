"""The simulated clock counts whole nanoseconds from the opening: no rounding, no platform."""

from __future__ import annotations

from doorbuster.compiling import inlined

NANOSECONDS = 1_000_000_000
STOCK_READING_NS = NANOSECONDS // 2
"""Time between two stock readings, the same as in the live world."""
LONGEST_S = 4e9
"""127 years, after every sale: two such times still add up within 64 bits of nanoseconds."""


@inlined
def to_ns(seconds: float) -> int:
    """The nearest whole nanosecond; heavy tails reach further than any clock and are cut there."""
    return round(min(seconds, LONGEST_S) * NANOSECONDS)


@inlined
def to_s(nanoseconds: int) -> float:
    """Seconds, for records."""
    return nanoseconds / NANOSECONDS
