"""Numbers as people read them, the same in every language."""

from __future__ import annotations

import math

NOTHING = "–"


_MILLISECONDS_FROM_S = 1e-4
_MINUTES_FROM_S, _HOURS_FROM_S = 600.0, 5 * 3600.0
_PERCENT_DIGITS_MAX = 4


def duration(seconds: float | None) -> str:
    """A time with three digits and the unit that fits: `312 ms`, `8.40 s`, `12.5 min`."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if math.isinf(seconds):
        return "∞"
    size = abs(seconds)
    if size < _MILLISECONDS_FROM_S:
        return f"{_three_digits(seconds * 1e6)} µs" if size else "0 s"
    if size < 1:
        return f"{_three_digits(seconds * 1e3)} ms"
    if size < _MINUTES_FROM_S:
        return f"{_three_digits(seconds)} s"
    if size < _HOURS_FROM_S:
        return f"{_three_digits(seconds / 60)} min"
    return f"{_three_digits(seconds / 3600)} h"


def percent(fraction: float | None) -> str:
    """A share in per cent with one digit, more near 0 and 100: `99.97 %` is never `100 %`."""
    if fraction is None or math.isnan(fraction):
        return NOTHING
    size = abs(fraction) * 100
    from_the_end = min(size, abs(100 - size))
    if not from_the_end:
        return f"{fraction * 100:.0f} %"
    digits = min(max(1 - math.floor(math.log10(from_the_end)), 1), _PERCENT_DIGITS_MAX)
    return f"{fraction * 100:.{digits}f} %"


def points(difference: float | None) -> str:
    """A difference of two shares in percentage points, with its sign."""
    if difference is None or math.isnan(difference):
        return NOTHING
    return f"{round(difference * 100, 1) + 0.0:+.1f}"


def count(number: float | None) -> str:
    """A whole number with thousands apart; a mean of whole numbers keeps one digit."""
    if number is None or math.isnan(number):
        return NOTHING
    if float(number).is_integer():
        return f"{int(number):,}"
    return f"{number:,.1f}" if abs(number) >= 1 else f"{number:.2g}"


def money(cents: float | None, currency: str) -> str:
    """An amount in whole units of the currency, with its code."""
    if cents is None or math.isnan(cents):
        return NOTHING
    return f"{cents / 100:,.0f} {currency}"


def _three_digits(number: float) -> str:
    magnitude = math.floor(math.log10(abs(float(f"{number:.2e}"))))
    return f"{number:.{max(2 - magnitude, 0)}f}"


def quantity(value: float | None, unit: str) -> str:
    """A value in its unit. Range: unit is s, fraction, count, cents or none of them."""
    if value is None:
        return NOTHING
    if unit == "s":
        return duration(value)
    if unit == "fraction":
        return percent(value)
    if unit == "cents":
        return NOTHING if math.isnan(value) else f"{value / 100:,.2f}"
    return count(value)
