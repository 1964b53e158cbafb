"""Durations as people write them: `250ms`, `90s`, `5m`, `2h`, `1d`; seconds as float inside."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Words

_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SHIFT = {"us": -6, "ms": -3}
_PATTERN = re.compile(r"^([+-]?\d+(?:\.\d+)?)(us|ms|s|m|h|d)$")
MAX_DURATION_S = 3650 * 86400.0
"""Ten years: longer than any campaign, short enough for nanoseconds in 64 bits."""
_CLOCK = re.compile(r"^\d{1,2}:\d{2}(:\d{2})?$")


def parse_duration(text: str) -> float:
    """Seconds of a text such as `250ms`. Raises: ValueError that says what is allowed."""
    match = _PATTERN.match(text.strip())
    if match is None:
        if _CLOCK.match(text.strip()):
            message = (
                "is a time of day, not a duration; all times count from the opening of the sale "
                "(T0): write the distance, such as -10m or 90s"
            )
            raise ValueError(message)
        message = "is no duration; write a number with its unit: 250ms, 90s, 5m, 2h or 1d"
        raise ValueError(message)
    # A shift of the decimal point keeps 300us and 0.3ms the same number.
    decimal_point = _SHIFT.get(match[2], 0)
    factor = 1.0 if decimal_point else _UNIT_S[match[2]]
    seconds = float(f"{match[1]}e{decimal_point}") * factor
    if abs(seconds) > MAX_DURATION_S:
        message = f"is too long; allowed {format_duration(MAX_DURATION_S)} at most"
        raise ValueError(message)
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back, for messages: `90s`, `250ms`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNIT_S[unit] == 0:
            return f"{seconds / _UNIT_S[unit]:.0f}{unit}"
    unit = "s" if abs(seconds) >= 1 or not seconds else "ms"
    if 0 < abs(seconds) < _UNIT_S["ms"]:
        unit = "us"
    digits = f"{seconds / _UNIT_S[unit]:.6f}".rstrip("0").rstrip(".")
    return f"{digits}{unit}"


def _validate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("duration", "is no duration; write for example 90s")
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None
    if value == 0:
        return 0.0
    text = f"{value:g}"
    raise PydanticCustomError(
        "duration", "a duration needs its unit; write {text}s or {text}ms", {"text": text}
    )


def _sign_checked(minimum: float, *, inclusive: bool, wanted: str) -> Any:
    def check(value: Any) -> float:
        seconds = _validate(value)
        if seconds < minimum or (seconds == minimum and not inclusive):
            raise PydanticCustomError("duration_sign", "must be {wanted}", {"wanted": wanted})
        return seconds

    return check


class TimeWords(Words):
    """Marks a field that holds a time: seconds in the model, text with a unit in the file."""


UNIT_PATTERN = r"\d+(\.\d+)?(us|ms|s|m|h|d)$"
"""End of the JSON Schema pattern of every time."""


def _text_schema(sign: str) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{sign}{UNIT_PATTERN}"}


Instant = Annotated[
    float,
    BeforeValidator(_validate),
    WithJsonSchema({"anyOf": [_text_schema("[+-]?"), {"const": 0}]}),
    TimeWords("time from T0", ""),
]
"""Seconds from the opening of the sale (T0); negative before it."""
Duration = Annotated[
    float,
    BeforeValidator(_sign_checked(0.0, inclusive=True, wanted="0 or longer")),
    WithJsonSchema({"anyOf": [_text_schema("[+]?"), {"const": 0}]}),
    TimeWords("duration", "0 or longer"),
]
"""A length of time, zero allowed."""
PositiveDuration = Annotated[
    float,
    BeforeValidator(_sign_checked(0.0, inclusive=False, wanted="longer than 0")),
    WithJsonSchema(_text_schema("[+]?")),
    TimeWords("duration", "longer than 0"),
]
"""A length of time above zero."""
