"""JSONPath: jsonpath-ng for all of it, and a direct walk for the plain paths that most are."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

MISSING: Any = object()
"""What a path gives that leads nowhere; None is a value that JSON knows."""

_PLAIN = re.compile(r"\$((?:\.[A-Za-z_][\w-]*|\[\d+\]|\['[^']+'\])*)")
_PLAIN_PIECE = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\['([^']+)'\]")

Finder = Callable[[Any], Any]


class JsonPathError(ValueError):
    """A text that is no JSONPath; says why."""


@cache
def first(path: str) -> Finder:
    """A function that gives the first value at a path, or MISSING. Raises: JsonPathError."""
    plain = _PLAIN.fullmatch(path)
    if plain:
        return _walker(_plain_steps(plain[1]))
    find = every(path)

    def found(document: Any) -> Any:
        values = find(document)
        return values[0] if values else MISSING

    return found


@cache
def every(path: str) -> Callable[[Any], list[Any]]:
    """A function that gives all values at a path. Raises: JsonPathError."""
    from jsonpath_ng.exceptions import JSONPathError as Refused  # noqa: PLC0415 - 0.1 s
    from jsonpath_ng.ext.parser import parse  # noqa: PLC0415

    try:
        expression = parse(path)
    except (Refused, ValueError) as error:
        message = f"is no JSONPath ({str(error).splitlines()[0]}); write for example $.data.id"
        raise JsonPathError(message) from None
    return lambda document: [match.value for match in expression.find(document)]


def _plain_steps(path: str) -> list[str | int]:
    return [
        int(piece[2]) if piece[2] else piece[1] or piece[3] for piece in _PLAIN_PIECE.finditer(path)
    ]


def _walker(steps: list[str | int]) -> Finder:
    def walk(document: Any) -> Any:
        for step in steps:
            wanted = dict if isinstance(step, str) else list
            if not isinstance(document, wanted):
                return MISSING
            try:
                document = document[step]  # type: ignore[index]  # The step fits its kind.
            except (KeyError, IndexError):
                return MISSING
        return document

    return walk
