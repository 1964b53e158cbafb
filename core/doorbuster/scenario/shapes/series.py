"""Your own measurements: a rate table from the scenario file or from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.documents import allowed_names, suggestion
from doorbuster.scenario.base import Part
from doorbuster.scenario.durations import PositiveDuration
from doorbuster.scenario.shapes.knots import Knots, Level

MAX_ROW_COUNT = 1_000_000


class CsvColumn(Part):
    """One column of a CSV file, one row a bin of equal width, in the order of time."""

    path: str
    """Relative to the scenario file."""
    column: str
    """Header of the column with the numbers."""
    skip_rows: Annotated[int, Field(ge=0)] = 0
    """Data rows to leave out at the beginning."""
    max_rows: Annotated[int, Field(ge=1, le=MAX_ROW_COUNT)] = MAX_ROW_COUNT
    """Data rows to take."""


class Series(Part):
    """A table of rates, one number a bin; the rate is constant inside a bin.

    The phase must be as long as the table: its duration is `bin` times the number of rows.
    """

    kind: Literal["series"]
    """Your own table of rates."""
    bin: PositiveDuration
    """Width of a row in time."""
    unit: Literal["level", "per_s", "per_bin"] = "level"
    """What the numbers are: multiples of the normal load, arrivals a second, or arrivals a bin.
    The last two mean the recorded crowd at load factor 1."""
    values: list[Level] | None = None
    """The table in the scenario file; or give `csv`."""
    csv: CsvColumn | None = None
    """The table in a CSV file; or give `values`."""

    _levels: tuple[float, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _load(self, info: ValidationInfo) -> Self:
        if (self.values is None) == (self.csv is None):
            raise PydanticCustomError("series", "give either values or csv, one of the two")
        if self.csv is None:
            self._levels = tuple(self.values or ())
        else:
            folder = Path((info.context or {}).get("folder", "."))
            self._levels = tuple(_read_column(self.csv, folder))
        if not self._levels:
            raise PydanticCustomError("series", "the series has no rows")
        return self

    @property
    def row_count(self) -> int:
        """Rows of the table."""
        return len(self._levels)

    def levels(self, normal_load_per_s: float) -> tuple[float, ...]:
        """The table as multiples of the normal load."""
        divisor = {
            "level": 1.0,
            "per_s": normal_load_per_s,
            "per_bin": normal_load_per_s * self.bin,
        }[self.unit]
        return tuple(value / divisor for value in self._levels)

    def knots(self, duration_s: float, normal_load_per_s: float = 1.0) -> Knots:
        """The staircase of the level; see `doorbuster.scenario.shapes`."""
        levels = np.array(self.levels(normal_load_per_s))
        edges = np.arange(len(levels) + 1) * self.bin
        edges[-1] = duration_s
        staircase = np.empty((2 * len(levels), 2))
        staircase[0::2, 0], staircase[1::2, 0] = edges[:-1], edges[1:]
        staircase[0::2, 1] = staircase[1::2, 1] = levels
        return staircase


def _read_column(source: CsvColumn, folder: Path) -> list[float]:
    path = folder / source.path
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _require_column(reader, source)
            return _numbers(reader, source)
    except PydanticCustomError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PydanticCustomError(
            "csv", "cannot read {path}: {reason}", {"path": source.path, "reason": reason}
        ) from None


def _require_column(reader: csv.DictReader[str], source: CsvColumn) -> None:
    names = list(reader.fieldnames or ())
    if source.column not in names:
        hint = suggestion(source.column, names)
        raise PydanticCustomError(
            "csv",
            "{path} has no column {column}{allowed}",
            {
                "path": source.path,
                "column": repr(source.column),
                "allowed": allowed_names(names) + hint,
            },
        )


def _numbers(reader: csv.DictReader[str], source: CsvColumn) -> list[float]:
    numbers: list[float] = []
    for row_number, row in enumerate(reader):
        if row_number < source.skip_rows:
            continue
        if len(numbers) >= source.max_rows:
            break
        text = row[source.column]
        try:
            number = float(text)
        except (TypeError, ValueError):
            number = -1.0
        if not 0 <= number < float("inf"):
            raise PydanticCustomError(
                "csv",
                "{path} line {line}: {column} must be a number of 0 or more (got {text})",
                {
                    "path": source.path,
                    "line": row_number + 2,
                    "column": source.column,
                    "text": repr(text),
                },
            )
        numbers.append(number)
    return numbers
