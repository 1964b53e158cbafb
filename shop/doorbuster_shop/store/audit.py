"""The read-back after a sale: what the database and the provider say, as the judge reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from doorbuster.records.audit import Audit, ItemAudit
from doorbuster_shop.store.database import sql_text

Capture = tuple[str, int]
"""Reference of a charge, which is the id of its reservation, and its amount in cents."""


def audit(
    db: sqlite3.Connection,
    now_s: float,
    release_sweep_s: float,
    captures: Iterable[Capture] | None,
) -> Audit:
    """The whole account. Without the provider's captures, what only it can tell stays None."""
    items = _items(db, now_s - release_sweep_s)
    money = _money(db, captures or ())
    if captures is None:
        return Audit(items=items, paid_cents=money["paid_cents"])
    return Audit(items=items, **money)


def _items(db: sqlite3.Connection, lapsed_before_s: float) -> list[ItemAudit]:
    cursor = db.execute(sql_text("audit.sql"), {"lapsed_before_s": lapsed_before_s})
    names = [column[0] for column in cursor.description]
    return [ItemAudit(**dict(zip(names, row, strict=True))) for row in cursor]


def _money(db: sqlite3.Connection, captures: Iterable[Capture]) -> dict[str, int]:
    db.execute("CREATE TEMP TABLE IF NOT EXISTS captures (reference TEXT, amount_cents INTEGER)")
    db.execute("DELETE FROM captures")
    db.execute("BEGIN")
    db.executemany("INSERT INTO captures VALUES (?, ?)", captures)
    db.execute("COMMIT")
    cursor = db.execute(sql_text("audit_money.sql"))
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchone(), strict=True))
