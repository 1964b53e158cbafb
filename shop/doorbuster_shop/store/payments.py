"""Payments: begin one, settle it by the provider's answer, never twice."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from doorbuster_shop.store.database import Transaction, new_id
from doorbuster_shop.store.reservations import Refusal, read_reservation


class Offer(NamedTuple):
    """How a buyer wants to pay a reservation, under which idempotency key."""

    idempotency_key: str
    reservation_id: str
    channel: str
    means: str


class Payment(NamedTuple):
    """A row of the table; see schema.sql for its states."""

    id: str
    idempotency_key: str
    reservation_id: str
    channel: str
    means: str
    amount_cents: int
    state: str
    charge_id: str | None
    began_at_s: float
    decided_at_s: float | None


_BY_KEY = "SELECT * FROM payments WHERE idempotency_key = ?"
_BY_ID = "SELECT * FROM payments WHERE id = ?"
_LIVE = "SELECT state FROM payments WHERE reservation_id = ? AND state IN ('pending', 'paid')"
_OPEN = "SELECT * FROM payments WHERE state IN ('pending', 'refunding') ORDER BY began_at_s"
_DECIDE = """
UPDATE payments SET state = ?, charge_id = ?, decided_at_s = ? WHERE id = ? AND state = 'pending'
"""
_SELL = "UPDATE reservations SET state = 'sold' WHERE id = ? AND state = 'locked'"
_SELL_UNITS = """
UPDATE items SET locked_units = locked_units - ?1, sold_units = sold_units + ?1 WHERE sku = ?2
"""
_REFUNDED = "UPDATE payments SET state = 'refunded' WHERE id = ? AND state = 'refunding'"


def begin_payment(db: sqlite3.Connection, offer: Offer, now_s: float) -> Payment | Refusal:
    """Write down that a payment is on its way, before the provider hears of it.

    From now on the lock holds until the payment is settled. A key that was seen before gives the
    payment begun then, in the state it has now.
    """
    with Transaction(db):
        known = db.execute(_BY_KEY, (offer.idempotency_key,)).fetchone()
        if known is not None:
            return _replayed(Payment._make(known), offer)
        reservation = read_reservation(db, offer.reservation_id)
        if reservation is None:
            return Refusal.UNKNOWN_RESERVATION
        live = db.execute(_LIVE, (reservation.id,)).fetchone()
        if live is not None:
            paid = live[0] == "paid"
            return Refusal.ALREADY_PAID if paid else Refusal.PAYMENT_IN_PROGRESS
        if reservation.state != "locked" or now_s >= reservation.expires_at_s:
            return Refusal.RESERVATION_EXPIRED
        payment = Payment(
            id=new_id("pay", now_s),
            idempotency_key=offer.idempotency_key,
            reservation_id=reservation.id,
            channel=offer.channel,
            means=offer.means,
            amount_cents=reservation.amount_cents,
            state="pending",
            charge_id=None,
            began_at_s=now_s,
            decided_at_s=None,
        )
        db.execute("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", payment)
        return payment


def _replayed(known: Payment, offer: Offer) -> Payment | Refusal:
    asked = (offer.reservation_id, offer.channel, offer.means)
    same = (known.reservation_id, known.channel, known.means) == asked
    return known if same else Refusal.KEY_REUSED


def read_payment(db: sqlite3.Connection, payment_id: str) -> Payment | None:
    """One payment, or None if there is none with this id."""
    row = db.execute(_BY_ID, (payment_id,)).fetchone()
    return None if row is None else Payment._make(row)


def open_payments(db: sqlite3.Connection) -> list[Payment]:
    """Payments whose outcome or refund is not known yet, oldest first."""
    return [Payment._make(row) for row in db.execute(_OPEN)]


def settle_captured(
    db: sqlite3.Connection, payment_id: str, charge_id: str, now_s: float
) -> Payment | None:
    """The provider took the money: sell the units, or mark the payment for its refund.

    Told twice, it changes nothing the second time. None when no such payment exists (any more).
    """
    with Transaction(db):
        payment = read_payment(db, payment_id)
        if payment is None or payment.state != "pending":
            return payment
        sold = db.execute(_SELL, (payment.reservation_id,)).rowcount == 1
        state = "paid" if sold else "refunding"
        db.execute(_DECIDE, (state, charge_id, now_s, payment_id))
        if sold:
            reservation = read_reservation(db, payment.reservation_id)
            assert reservation is not None
            db.execute(_SELL_UNITS, (reservation.quantity, reservation.sku))
        return payment._replace(state=state, charge_id=charge_id, decided_at_s=now_s)


def settle_declined(
    db: sqlite3.Connection, payment_id: str, charge_id: str | None, now_s: float
) -> Payment | None:
    """The provider refused: the lock stays as it is."""
    return _decide(db, payment_id, "declined", charge_id, now_s)


def settle_expired(db: sqlite3.Connection, payment_id: str, now_s: float) -> Payment | None:
    """The provider never heard of the payment and its lock has lapsed meanwhile: drop it."""
    return _decide(db, payment_id, "expired", None, now_s)


def settle_refunded(db: sqlite3.Connection, payment_id: str) -> None:
    """The money is back with the buyer."""
    with Transaction(db):
        db.execute(_REFUNDED, (payment_id,))


def _decide(
    db: sqlite3.Connection, payment_id: str, state: str, charge_id: str | None, now_s: float
) -> Payment | None:
    with Transaction(db):
        db.execute(_DECIDE, (state, charge_id, now_s, payment_id))
        return read_payment(db, payment_id)
