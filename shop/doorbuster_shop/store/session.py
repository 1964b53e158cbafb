"""What the SQL of the shop is written against: one session of a database, whichever it is.

The statements are plain SQL that both databases understand, with `?` for values. Rows are locked by
FOR UPDATE where PostgreSQL needs it; SQLite has one writer at a time and is told nothing of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from typing import Any, Protocol

SCHEMA_VERSION = 8
_GUARD = "    -- guard: "

Values = Sequence[object]
Row = tuple[Any, ...]
Lines = tuple[tuple[str, int], ...]
"""Sku and units, sorted by sku: who takes several rows of the stock takes them in this order."""


class DatabaseError(Exception):
    """A database that cannot serve this sale; says where and why."""


class StoreError(Exception):
    """The database refused what the shop asked of it; nothing was changed."""


class StoreUnavailableError(StoreError):
    """The database did not answer, or was too busy: nothing was changed; try again."""


class UnstorableTextError(StoreError):
    """Text that this database cannot hold, such as a NUL character in PostgreSQL."""


class DuplicateKeyError(StoreError):
    """Somebody else has just written a row with this key; nothing was changed."""


class Session(Protocol):
    """Statements in one transaction."""

    async def run(self, sql: str, values: Values = ()) -> int:
        """Change rows, and tell how many."""

    async def run_many(self, sql: str, rows: Iterable[Values]) -> None:
        """The same statement for many rows."""

    async def one(self, sql: str, values: Values = ()) -> Row | None:
        """The first row, or None."""

    async def all(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows."""

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """What is done in it is undone by an error, and its locks are free again."""

    def time_s(self, asked_at_s: float) -> float:
        """The time now, for a wish that was asked for at asked_at_s and may have waited since."""

    def lines_of(self, sku: str) -> Lines:
        """What one unit of an item takes from the shelf: itself, or the lines of a bundle."""

    async def hold(self, word: str) -> None:
        """Wait until nobody else holds this word, then hold it to the end of the transaction."""


def time_of(clock: Callable[[], float] | None, asked_at_s: float) -> float:
    """By the clock, or without one as if nobody ever waited."""
    return asked_at_s if clock is None else max(asked_at_s, clock())


def schema_sql(dialect: str, *, is_guarded: bool) -> str:
    """The tables, with or without the checks that make an oversell impossible."""
    lines = files(__package__).joinpath(f"schema_{dialect}.sql").read_text("utf-8").splitlines()
    if is_guarded:
        lines = [line.replace(_GUARD, "    ") for line in lines]
    return "\n".join(lines)


def new_id(prefix: str, now_s: float) -> str:
    """An identifier that sorts by time and cannot be guessed (64 random bits).

    Sorting by time keeps new rows next to each other in the index, which halves the writing.
    """
    return f"{prefix}_{int(now_s * 1000):011x}{secrets.token_hex(8)}"
