"""Reservations: lock stock, release what was not paid in time."""

from __future__ import annotations

import sqlite3
from enum import Enum
from typing import NamedTuple

from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster_shop.store.database import Transaction, new_id
from doorbuster_shop.store.stock import read_item

RELEASE_BATCH_MAX = 500
"""Locks released in one transaction: thousands that lapse at once must not stop the shop."""


class Refusal(Enum):
    """Why nothing was reserved or paid. A refusal leaves nothing behind in the database."""

    UNKNOWN_ITEM = "unknown_item"
    NOT_OPEN = "not_open"
    LIMIT_REACHED = "limit_reached"
    SOLD_OUT = "sold_out"
    KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_RESERVATION = "unknown_reservation"
    RESERVATION_EXPIRED = "reservation_expired"
    PAYMENT_IN_PROGRESS = "payment_in_progress"
    ALREADY_PAID = "already_paid"


class Wish(NamedTuple):
    """What a buyer asks for, under which idempotency key."""

    idempotency_key: str
    sku: str
    account: str
    quantity: int


class Reservation(NamedTuple):
    """A row of the table."""

    id: str
    idempotency_key: str
    sku: str
    account: str
    quantity: int
    amount_cents: int
    state: str
    reserved_at_s: float
    expires_at_s: float


_BY_KEY = "SELECT * FROM reservations WHERE idempotency_key = ?"
_BY_ID = "SELECT * FROM reservations WHERE id = ?"
_HELD = """
SELECT coalesce(sum(quantity), 0) FROM reservations
WHERE account = ? AND sku = ? AND state <> 'released'
"""
_LOCK_UNITS = """
UPDATE items SET available_units = available_units - ?1, locked_units = locked_units + ?1
WHERE sku = ?2 AND available_units >= ?1
"""
_RETURN_UNITS = """
UPDATE items SET available_units = available_units + ?1, locked_units = locked_units - ?1
WHERE sku = ?2
"""
_RELEASE = "UPDATE reservations SET state = 'released' WHERE id = ? AND state = 'locked'"
_LAPSED = """
SELECT id, sku, quantity FROM reservations
WHERE state = 'locked' AND expires_at_s <= ? AND NOT EXISTS (
    SELECT 1 FROM payments
    WHERE payments.reservation_id = reservations.id AND payments.state IN ('pending', 'paid')
)
ORDER BY expires_at_s LIMIT ?
"""


def reserve(
    db: sqlite3.Connection, wish: Wish, now_s: float, lock_time_s: float
) -> Reservation | Refusal:
    """Lock units for a buyer, all or none.

    The stock is taken by a conditional update in the same transaction as the reservation is
    written, so nothing can be sold twice. A key that was seen before gives the reservation made
    then.
    """
    with Transaction(db):
        known = db.execute(_BY_KEY, (wish.idempotency_key,)).fetchone()
        if known is not None:
            return _replayed(Reservation._make(known), wish)
        item = read_item(db, wish.sku)
        if item is None:
            return Refusal.UNKNOWN_ITEM
        if now_s < item.opens_at_s:
            return Refusal.NOT_OPEN
        held_units = db.execute(_HELD, (wish.account, wish.sku)).fetchone()[0]
        if not within_purchase_limit(held_units, wish.quantity, item.per_account_limit):
            return Refusal.LIMIT_REACHED
        if db.execute(_LOCK_UNITS, (wish.quantity, wish.sku)).rowcount == 0:
            return Refusal.SOLD_OUT
        reservation = Reservation(
            id=new_id("res", now_s),
            idempotency_key=wish.idempotency_key,
            sku=wish.sku,
            account=wish.account,
            quantity=wish.quantity,
            amount_cents=item.price_cents * wish.quantity,
            state="locked",
            reserved_at_s=now_s,
            expires_at_s=now_s + lock_time_s,
        )
        db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", reservation)
        return reservation


def _replayed(known: Reservation, wish: Wish) -> Reservation | Refusal:
    same = (known.sku, known.account, known.quantity) == (wish.sku, wish.account, wish.quantity)
    return known if same else Refusal.KEY_REUSED


def read_reservation(db: sqlite3.Connection, reservation_id: str) -> Reservation | None:
    """One reservation, or None if there is none with this id."""
    row = db.execute(_BY_ID, (reservation_id,)).fetchone()
    return None if row is None else Reservation._make(row)


def release_lapsed(db: sqlite3.Connection, now_s: float, batch_max: int = RELEASE_BATCH_MAX) -> int:
    """Give lapsed locks back to the stock, and tell how many; call again while it is batch_max.

    A payment in flight holds its lock beyond its time.
    """
    with Transaction(db):
        lapsed = db.execute(_LAPSED, (now_s, batch_max)).fetchall()
        for reservation_id, sku, quantity in lapsed:
            _give_back(db, reservation_id, sku, quantity)
        return len(lapsed)


def cancel(db: sqlite3.Connection, reservation_id: str) -> bool:
    """Release a lock at once, on behalf of the operator; false when it is not locked (any more).

    A payment in flight does not prevent it: when the provider takes the money, it is refunded.
    """
    with Transaction(db):
        reservation = read_reservation(db, reservation_id)
        if reservation is None or reservation.state != "locked":
            return False
        return _give_back(db, reservation.id, reservation.sku, reservation.quantity)


def _give_back(db: sqlite3.Connection, reservation_id: str, sku: str, quantity: int) -> bool:
    released = db.execute(_RELEASE, (reservation_id,)).rowcount == 1
    if released:
        db.execute(_RETURN_UNITS, (quantity, sku))
    return released
