"""Payments: begin one, settle it by the provider's answer, never twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster_shop.store.open_orders import unlock
from doorbuster_shop.store.reservations import UNPAID, Refusal, Reservation, read_reservation
from doorbuster_shop.store.session import Session, new_id
from doorbuster_shop.store.shipments import await_split
from doorbuster_shop.store.stock import read_offered, sell_units


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
    refund_due_at_s: float | None = None


class TakeAgain(Protocol):
    """Locks the units of a released order once more, with the coupon that it carried."""

    async def hold(self, session: Session, order: Reservation) -> None:
        """Before anything is read or taken: keep out whoever must not come in between."""

    async def __call__(self, session: Session, order: Reservation) -> int | Refusal:
        """The bucket that the units came from, or why not."""


Lock = Callable[[Session, Reservation], Awaitable["Refusal | None"]]
"""Takes the units of an open order, or tells why not."""

_BY_KEY = "SELECT * FROM payments WHERE idempotency_key = ?"
_BY_ID = "SELECT * FROM payments WHERE id = ?"
_BY_ID_LOCKED = "SELECT * FROM payments WHERE id = ? FOR UPDATE"
_LIVE = "SELECT state FROM payments WHERE reservation_id = ? AND state IN ('pending', 'paid')"
_OPEN = "SELECT * FROM payments WHERE state IN ('pending', 'refunding') ORDER BY began_at_s"
_INSERT = "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DECIDE = """
UPDATE payments SET state = ?, charge_id = ?, decided_at_s = ? WHERE id = ? AND state = 'pending'
"""
_SELL = "UPDATE reservations SET state = 'sold', sold_at_s = ? WHERE id = ? AND state = 'locked'"
_SELL_UNGUARDED = "UPDATE reservations SET state = 'sold', sold_at_s = ? WHERE id = ?"
_SELL_AGAIN = """
UPDATE reservations SET state = 'sold', bucket = ?, sold_at_s = ?
WHERE id = ? AND state = 'released'
"""
_LATE = """
SELECT payments.* FROM reservations JOIN payments ON payments.reservation_id = reservations.id
WHERE reservations.state IN ('locked', 'cart') AND reservations.expires_at_s <= ?
  -- None is paid, and no cart is being paid; these are the words of the indexes.
  AND payments.state IN ('pending', 'paid')
ORDER BY reservations.expires_at_s, payments.id
"""
_REFUNDED = "UPDATE payments SET state = 'refunded' WHERE id = ? AND state = 'refunding'"
_ORDER_REFUNDED = """
UPDATE reservations SET state = 'refunded'
WHERE id = (SELECT reservation_id FROM payments WHERE id = ?) AND state = 'refunding'
"""


async def begin_payment(
    session: Session, offer: Offer, now_s: float, lock: Lock
) -> Payment | Refusal:
    """Write down that a payment is on its way, before the provider hears of it.

    From now on the lock holds until the payment is settled; that of an open order begins now, in
    this transaction: a shop that dies after it finds the payment, and with it the units. A key that
    was seen before gives the payment begun then, in the state it has now.
    """
    reservation = await read_reservation(session, offer.reservation_id, is_locking=True)
    known = await session.one(_BY_KEY, (offer.idempotency_key,))
    if known is not None:
        return _replayed(Payment._make(known), offer)
    if reservation is None:
        return Refusal.UNKNOWN_RESERVATION
    live = await session.one(_LIVE, (reservation.id,))
    if live is not None:
        return Refusal.ALREADY_PAID if live[0] == "paid" else Refusal.PAYMENT_IN_PROGRESS
    if reservation.state == "cart" and now_s < reservation.expires_at_s:
        return Refusal.NOT_ORDERED
    if reservation.state not in UNPAID or now_s >= reservation.expires_at_s:
        return Refusal.RESERVATION_EXPIRED
    if reservation.state == "open":
        refusal = await lock(session, reservation)
        if refusal is not None:
            return refusal
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
    await session.run(_INSERT, payment)
    return payment


def _replayed(known: Payment, offer: Offer) -> Payment | Refusal:
    asked = (offer.reservation_id, offer.channel, offer.means)
    same = (known.reservation_id, known.channel, known.means) == asked
    return known if same else Refusal.KEY_REUSED


async def read_payment(
    session: Session, payment_id: str, *, is_locking: bool = False
) -> Payment | None:
    """One payment, or None if there is none with this id."""
    row = await session.one(_BY_ID_LOCKED if is_locking else _BY_ID, (payment_id,))
    return None if row is None else Payment._make(row)


async def open_payments(session: Session) -> list[Payment]:
    """Payments whose outcome or refund is not known yet, oldest first."""
    return [Payment._make(row) for row in await session.all(_OPEN)]


async def late_payments(session: Session, now_s: float) -> list[Payment]:
    """Payments in flight whose locks are past their time."""
    return [Payment._make(row) for row in await session.all(_LATE, (now_s,))]


async def settle_captured(
    session: Session,
    payment_id: str,
    charge_id: str,
    now_s: float,
    *,
    is_guarded: bool = True,
    take_again: TakeAgain | None = None,
    is_forgotten: bool = False,
    is_sent: bool = False,
) -> Payment | None:
    """The provider took the money: sell the units, or mark the payment for its refund.

    Told twice, it changes nothing the second time. None when no such payment exists (any more).
    is_guarded=False sells whatever became of the lock meanwhile. take_again locks the units of an
    order that was released meanwhile once more. is_forgotten drops money for an order that is gone,
    as if nothing had come. is_sent puts a sold order in the line of those that warehouses send.
    """
    payment = await read_payment(session, payment_id, is_locking=True)
    if payment is None or payment.state != "pending":
        return payment
    sell = _SELL if is_guarded else _SELL_UNGUARDED
    sold = await session.run(sell, (now_s, payment.reservation_id)) == 1
    if not sold and take_again is not None:
        sold = await _sell_again(session, payment.reservation_id, now_s, take_again)
    gone = "expired" if is_forgotten else "refunding"
    state = "paid" if sold else gone
    await session.run(_DECIDE, (state, charge_id, now_s, payment_id))
    if sold:
        reservation = await read_reservation(session, payment.reservation_id)
        assert reservation is not None
        await sell_units(session, reservation.sku, reservation.bucket, reservation.quantity)
        if is_sent:
            await await_split(session, reservation)
    return payment._replace(state=state, charge_id=charge_id, decided_at_s=now_s)


async def _sell_again(session: Session, reservation_id: str, now_s: float, take: TakeAgain) -> bool:
    """Lock the units of a released order once more, if the account may have them and they are free.

    An order that was cancelled stays cancelled.
    """
    order = await read_reservation(session, reservation_id, is_locking=True)
    if order is None or order.state != "released" or order.released_at_s is None:
        return False
    await take.hold(session, order)
    offered = await read_offered(session, order.sku, order.account, order.idempotency_key)
    assert offered is not None
    if not within_purchase_limit(offered.held_units, order.quantity, offered.per_account_limit):
        return False
    bucket = await take(session, order)
    if isinstance(bucket, Refusal):
        return False
    # The moment of the decision was noted before it; the release may have come in between.
    sold_at_s = max(now_s, order.released_at_s)
    return await session.run(_SELL_AGAIN, (bucket, sold_at_s, order.id)) == 1


async def settle_unpaid(
    session: Session,
    payment_id: str,
    state: str,
    charge_id: str | None,
    now_s: float,
    *,
    is_unlocking: bool = False,
) -> Payment | None:
    """The provider refused (`declined`) or never heard of it (`expired`).

    The lock stays, unless it was made for this payment alone.
    """
    is_news = await session.run(_DECIDE, (state, charge_id, now_s, payment_id)) == 1
    payment = await read_payment(session, payment_id)
    if is_news and is_unlocking and payment is not None:
        order = await read_reservation(session, payment.reservation_id, is_locking=True)
        assert order is not None
        await unlock(session, order)
    return payment


async def settle_refunded(session: Session, payment_id: str) -> None:
    """The money is back with the buyer."""
    await session.run(_REFUNDED, (payment_id,))
    await session.run(_ORDER_REFUNDED, (payment_id,))
