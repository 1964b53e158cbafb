"""Durations as people write them: `250ms`, `90s`, `5m`, `2h`, `1d`; seconds as float inside."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNIT_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PATTERN = re.compile(r"^([+-]?\d+(?:\.\d+)?)(us|ms|s|m|h|d)$")
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
    return float(match[1]) * _UNIT_S[match[2]]


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back, for messages: `90s`, `250ms`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNIT_S[unit] == 0:
            return f"{seconds / _UNIT_S[unit]:.0f}{unit}"
    if abs(seconds) >= 1 or seconds == 0:
        return f"{seconds:g}s"
    if abs(seconds) >= 1e-3:
        return f"{seconds * 1e3:g}ms"
    return f"{seconds * 1e6:g}us"


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
    raise PydanticCustomError(
        "duration", "a duration needs its unit: write {value}s or {value}ms", {"value": value}
    )


def _sign_checked(minimum: float, *, inclusive: bool, wanted: str) -> Any:
    def check(value: Any) -> float:
        seconds = _validate(value)
        if seconds < minimum or (seconds == minimum and not inclusive):
            raise PydanticCustomError("duration_sign", "must be {wanted}", {"wanted": wanted})
        return seconds

    return check


_TEXT_SCHEMA = {"type": "string", "pattern": r"^[+-]?\d+(\.\d+)?(us|ms|s|m|h|d)$"}
_SCHEMA = WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"const": 0}]})

Instant = Annotated[float, BeforeValidator(_validate), _SCHEMA]
"""Seconds from the opening of the sale (T0); negative before it."""
Duration = Annotated[
    float, BeforeValidator(_sign_checked(0.0, inclusive=True, wanted="0 or longer")), _SCHEMA
]
"""A length of time, zero allowed."""
PositiveDuration = Annotated[
    float, BeforeValidator(_sign_checked(0.0, inclusive=False, wanted="longer than 0")), _SCHEMA
]
"""A length of time above zero."""
