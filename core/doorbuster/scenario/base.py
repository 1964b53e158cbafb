"""What every part of a scenario shares: strict keys and values, frozen, named pieces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


class Part(BaseModel):
    """A piece of the scenario file; unknown keys are errors, and so is `"5"` for a number."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True)
class Words:
    """How people call the type of a field, and what it allows; stands in its annotation."""

    name: str
    allowed: str = ""


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
"""A short name, as a regular expression."""


def _checked_name(name: str) -> str:
    if re.fullmatch(NAME_PATTERN[1:-1], name) is None:
        raise PydanticCustomError(
            "name",
            "is no short name; allowed: up to 64 letters a-z, digits, '_', '.' and '-', "
            "the first a letter or digit",
        )
    return name


Name = Annotated[
    str,
    AfterValidator(_checked_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
    Words("short name", "letters, digits, `_`, `.`, `-`; 64 at most"),
]
"""A short name for reports and file names."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e9)]
