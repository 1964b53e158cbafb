"""Items and their stock; the opening of the sale."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from doorbuster_shop.store.database import DatabaseError, Transaction
from doorbuster_shop.terms import Terms


class Item(NamedTuple):
    """One item as buyers see it."""

    sku: str
    price_cents: int
    per_account_limit: int
    available_units: int
    opens_at_s: float


class StockLevel(NamedTuple):
    """Where the units of one item are."""

    sku: str
    available: int
    locked: int
    sold: int


_ITEM = """
SELECT sku, price_cents, per_account_limit, available_units, opens_at_s
FROM items, sale WHERE sku = ?
"""
_LEVELS = "SELECT sku, available_units, locked_units, sold_units FROM items ORDER BY position"
_TERMS = "SELECT sku, price_cents, per_account_limit, initial_units FROM items ORDER BY position"


def read_item(db: sqlite3.Connection, sku: str) -> Item | None:
    """One item, or None if it is not for sale here."""
    row = db.execute(_ITEM, (sku,)).fetchone()
    return None if row is None else Item._make(row)


def read_levels(db: sqlite3.Connection) -> list[StockLevel]:
    """Stock of all items in the order of the scenario."""
    return [StockLevel._make(row) for row in db.execute(_LEVELS)]


def opening_s(db: sqlite3.Connection) -> float:
    """When the sale opens, seconds since the epoch."""
    return float(db.execute("SELECT opens_at_s FROM sale").fetchone()[0])


def begin_sale(db: sqlite3.Connection, terms: Terms, opens_at_s: float) -> None:
    """Forget all orders, put the full stock on the shelf and set the opening."""
    with Transaction(db):
        for table in ("payments", "reservations", "items", "sale"):
            db.execute(f"DELETE FROM {table}")
        db.execute("INSERT INTO sale VALUES (1, ?)", (opens_at_s,))
        db.executemany(
            "INSERT INTO items VALUES (?1, ?5, ?2, ?3, ?4, ?4, 0, 0)",
            [
                (item.sku, item.price_cents, item.per_account_limit, item.initial_units, position)
                for position, item in enumerate(terms.items)
            ],
        )


def resume_sale(db: sqlite3.Connection, terms: Terms, opens_at_s: float) -> None:
    """Go on with the sale that the database holds, or begin one in an empty database.

    Raises: DatabaseError if it holds the sale of other items.
    """
    found = [tuple(row) for row in db.execute(_TERMS)]
    if not found:
        begin_sale(db, terms, opens_at_s)
        return
    wanted = [
        (item.sku, item.price_cents, item.per_account_limit, item.initial_units)
        for item in terms.items
    ]
    if found != wanted:
        message = (
            "the database holds a sale with other items, prices, limits or stock than the "
            "scenario; give another file, or remove this one"
        )
        raise DatabaseError(message)
