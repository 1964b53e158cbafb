"""Parts of a scenario as they would stand in the file, for schema, reference page and messages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, get_args

from doorbuster.scenario.base import Part
from doorbuster.scenario.distributions import Constant
from doorbuster.scenario.durations import TimeWords, format_duration


def as_written(value: Any) -> Any:
    """A value of the model in the form that the file has: a part becomes a mapping.

    A part is written whole, defaults included; `None` is left out. A bare number stays a number:
    only `written_field` knows which numbers are times.
    """
    if isinstance(value, Constant):
        return format_duration(value.value)
    if isinstance(value, Part):
        return {
            field.alias or name: written_field(value, name)
            for name, field in type(value).model_fields.items()
            if getattr(value, name) is not None
        }
    if isinstance(value, list | tuple):
        return [as_written(entry) for entry in value]
    if isinstance(value, dict):
        return {key: as_written(entry) for key, entry in value.items()}
    return float(value) if isinstance(value, Decimal) else value


def written_field(part: Part, name: str) -> Any:
    """One field of a part in the form that the file has: `90s` instead of 90.0."""
    value = getattr(part, name)
    field = type(part).model_fields[name]
    if time_words(field.annotation, field.metadata) is not None and value is not None:
        return format_duration(value)
    return as_written(value)


def time_words(annotation: Any, metadata: list[Any]) -> TimeWords | None:
    """How the time that a field holds is called, None if it holds something else."""
    inner = [entry for member in get_args(annotation) for entry in get_args(member)[1:]]
    marks = [entry for entry in (*metadata, *inner) if isinstance(entry, TimeWords)]
    return marks[0] if marks else None
