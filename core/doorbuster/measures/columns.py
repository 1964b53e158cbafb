"""The record tables as NumPy columns: words become codes, absent times become NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from doorbuster.vocabulary import Action, Outcome, Reply

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

STEPS = tuple(action.name.lower() for action in Action if action != Action.LEAVE)
"""The steps of a visit in their order; a step's code is its place here."""
OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)
"""Names of the outcomes; an outcome's code is its number in the vocabulary."""
REPLIES = tuple(reply.name.lower() for reply in Reply)
"""Names of the replies; a reply's code is its number in the vocabulary."""


class RecordsError(Exception):
    """Records that contradict their own scenario; says which column and which word."""


class Visits(NamedTuple):
    """One entry a visitor. Times in seconds from T0, NaN where absent."""

    replication: Integers
    visitor: Integers
    persona: Integers
    phase: Integers
    sku: Integers
    quantity: Integers
    account: Integers
    arrival_s: Floats
    started_s: Floats
    reserved_s: Floats
    paid_s: Floats
    left_s: Floats
    outcome: Integers
    price_paid_cents: Integers
    request_count: Integers
    decline_count: Integers


class Requests(NamedTuple):
    """One entry a request. Times in seconds from T0, NaN where absent."""

    replication: Integers
    visitor: Integers
    step: Integers
    attempt: Integers
    intended_s: Floats
    sent_s: Floats
    done_s: Floats
    reply: Integers


class Stock(NamedTuple):
    """One entry a reading of one item."""

    replication: Integers
    at_s: Floats
    sku: Integers
    available: Integers
    locked: Integers
    sold: Integers


Columns = TypeVar("Columns", bound=tuple[Any, ...])


Rows = Mask | slice


def take(columns: Columns, rows: Rows) -> Columns:
    """The entries where a mask is true, or those of a slice, which copies nothing."""
    made: Any = type(columns)
    taken: Columns = made(*(column[rows] for column in columns))
    return taken


def at_places(columns: Columns, places: Integers) -> Columns:
    """The entries at these places, perhaps some of them several times."""
    made: Any = type(columns)
    found: Columns = made(*(column[places] for column in columns))
    return found


def rows_by_replication(replication: Integers) -> Callable[[int], Rows]:
    """Which entries are a replication's: a slice where they lie together, as in every run of ours.

    A mask would read the whole column for each of a thousand replications.
    """
    if (replication[1:] < replication[:-1]).any():
        return lambda number: replication == number
    return lambda number: slice(*np.searchsorted(replication, (number, number + 1)).tolist())


def visits_of(
    table: pa.Table, *, personas: Sequence[str], phases: Sequence[str], skus: Sequence[str]
) -> Visits:
    """The table of visits. Raises: RecordsError for a word that the scenario does not know."""
    words = {"persona": personas, "phase": phases, "sku": skus, "outcome": OUTCOMES}
    return Visits(**columns_of(table, Visits._fields, words))


def requests_of(table: pa.Table) -> Requests:
    """The table of requests. Raises: RecordsError for an unknown step or reply."""
    return Requests(**columns_of(table, Requests._fields, {"step": STEPS, "reply": REPLIES}))


def stock_of(table: pa.Table, *, skus: Sequence[str]) -> Stock:
    """The table of stock readings. Raises: RecordsError for an unknown item."""
    return Stock(**columns_of(table, Stock._fields, {"sku": skus}))


def columns_of(
    table: pa.Table, fields: Sequence[str], words: dict[str, Sequence[str]]
) -> dict[str, Any]:
    """Each field as an array: words as their places in `words`, texts as objects."""
    return {
        field: _codes(table, field, words[field]) if field in words else _numbers(table, field)
        for field in fields
    }


def _numbers(table: pa.Table, field: str) -> Any:
    if pa.types.is_string(table.schema.field(field).type):
        return np.array(table.column(field).to_pylist(), dtype=object)
    kind = np.float64 if pa.types.is_floating(table.schema.field(field).type) else np.int64
    return table.column(field).to_numpy().astype(kind, copy=False)


def _codes(table: pa.Table, field: str, names: Sequence[str]) -> Integers:
    """Each word's place in `names`."""
    place = {name: code for code, name in enumerate(names)}
    parts = [np.empty(0, dtype=np.int64)]
    for chunk in table.column(field).chunks:
        used = chunk.dictionary.to_pylist()
        indices = chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        lookup = np.array([place.get(word, -1) for word in used], dtype=np.int64)
        codes = lookup[indices] if len(indices) else indices
        if (codes < 0).any():
            unknown = used[int(indices[int(np.argmax(codes < 0))])]
            message = f"column {field}: unknown word (got {unknown!r}); allowed: {', '.join(names)}"
            raise RecordsError(message)
        parts.append(codes)
    return np.concatenate(parts)
