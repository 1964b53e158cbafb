"""Reservations: lock stock, release what was not paid in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster_shop.store.coupons import Redeem, give_back
from doorbuster_shop.store.session import Session, new_id
from doorbuster_shop.store.stock import Offered, Units, read_offered, return_units

RELEASE_BATCH_MAX = 500
"""Locks released in one transaction: thousands that lapse at once must not stop the shop."""


UNPAID = ("locked", "open")
"""States of an order that can be paid. An open one holds no units."""


class Refusal(Enum):
    """Why nothing was reserved or paid. A refusal leaves nothing behind in the database."""

    UNKNOWN_ITEM = "unknown_item"
    NOT_OPEN = "not_open"
    LIMIT_REACHED = "limit_reached"
    SOLD_OUT = "sold_out"
    OVERLOADED = "overloaded"
    KEY_REUSED = "idempotency_key_reused"
    UNKNOWN_RESERVATION = "unknown_reservation"
    RESERVATION_EXPIRED = "reservation_expired"
    PAYMENT_IN_PROGRESS = "payment_in_progress"
    ALREADY_PAID = "already_paid"
    NOT_PAID = "not_paid"
    NO_REFUNDS = "no_refunds"


class Wish(NamedTuple):
    """What a buyer asks for, under which idempotency key."""

    idempotency_key: str
    sku: str
    account: str
    quantity: int
    redeem: Redeem | None = None
    """How its coupon is redeemed; None for a wish without one."""


class Reservation(NamedTuple):
    """A row of the table."""

    id: str
    idempotency_key: str
    sku: str
    bucket: int
    account: str
    quantity: int
    amount_cents: int
    discount_cents: int
    state: str
    reserved_at_s: float
    expires_at_s: float
    released_at_s: float | None = None
    sold_at_s: float | None = None
    refund_asked_at_s: float | None = None
    returned_at_s: float | None = None


Take = Callable[[Session, Wish], Awaitable["int | Refusal"]]
"""Locks the units of a wish: the bucket that they came from, or why not."""

_BY_KEY = "SELECT * FROM reservations WHERE idempotency_key = ?"
_BY_ID = "SELECT * FROM reservations WHERE id = ?"
_BY_ID_LOCKED = "SELECT * FROM reservations WHERE id = ? FOR UPDATE"
_INSERT = "INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_RELEASE = """
UPDATE reservations SET state = 'released', released_at_s = ? WHERE id = ? AND state = 'locked'
"""
_CANCEL = "UPDATE reservations SET state = 'cancelled', released_at_s = ? WHERE id = ?"
_PENDING = "SELECT id FROM payments WHERE reservation_id = ? AND state IN ('pending', 'paid')"
_LAPSED = """
SELECT id, sku, bucket, quantity, discount_cents FROM reservations
WHERE state = 'locked' AND expires_at_s <= ? AND NOT EXISTS (
    SELECT 1 FROM payments
    WHERE payments.reservation_id = reservations.id AND payments.state IN ('pending', 'paid')
)
ORDER BY expires_at_s LIMIT ? FOR UPDATE SKIP LOCKED
"""
_PAST_THEIR_TIME = """
SELECT id, sku, bucket, quantity, discount_cents FROM reservations
WHERE state = 'locked' AND expires_at_s <= ?
ORDER BY expires_at_s LIMIT ? FOR UPDATE SKIP LOCKED
"""


async def reserve(
    session: Session,
    wish: Wish,
    now_s: float,
    lock_time_s: float,
    take: Take,
    *,
    state: str = "locked",
) -> Reservation | Refusal:
    """Lock units for a buyer, all or none.

    The stock is taken and the coupon redeemed in the same transaction as the reservation is
    written, and nobody reserves for the same account meanwhile. A key that was seen before gives
    the reservation made then.
    """
    await session.hold(f"{wish.sku} for {wish.account}")
    if wish.redeem is not None:
        await wish.redeem.hold(session, wish.account)
    offered = await judge(session, wish, now_s)
    if not isinstance(offered, Offered):
        return offered
    bucket = await take(session, wish)
    if isinstance(bucket, Refusal):
        return bucket
    discount_cents = 0 if wish.redeem is None else await wish.redeem(session, wish.account)
    # The rows may have been waited for; before, units and coupon may have been another's.
    taken_at_s = session.time_s(now_s)
    reservation = Reservation(
        id=new_id("res", taken_at_s),
        idempotency_key=wish.idempotency_key,
        sku=wish.sku,
        bucket=bucket,
        account=wish.account,
        quantity=wish.quantity,
        amount_cents=offered.price_cents * wish.quantity - discount_cents,
        discount_cents=discount_cents,
        state=state,
        reserved_at_s=taken_at_s,
        expires_at_s=taken_at_s + lock_time_s,
    )
    await session.run(_INSERT, reservation)
    return reservation


async def judge(session: Session, wish: Wish, now_s: float) -> Offered | Reservation | Refusal:
    """All that is asked before the stock: the item's terms if the wish may have units of it."""
    offered = await read_offered(session, wish.sku, wish.account, wish.idempotency_key)
    if offered is None or offered.is_known_key:
        known = await session.one(_BY_KEY, (wish.idempotency_key,))
        if known is not None:
            return _replayed(Reservation._make(known), wish)
    if offered is None:
        return Refusal.UNKNOWN_ITEM
    if now_s < offered.opens_at_s:
        return Refusal.NOT_OPEN
    limit = offered.per_account_limit
    if not within_purchase_limit(offered.held_units, wish.quantity, limit):
        return Refusal.LIMIT_REACHED
    return offered


def _replayed(known: Reservation, wish: Wish) -> Reservation | Refusal:
    same = (known.sku, known.account, known.quantity) == (wish.sku, wish.account, wish.quantity)
    return known if same else Refusal.KEY_REUSED


async def read_reservation(
    session: Session, reservation_id: str, *, is_locking: bool = False
) -> Reservation | None:
    """One reservation, or None if there is none with this id."""
    row = await session.one(_BY_ID_LOCKED if is_locking else _BY_ID, (reservation_id,))
    return None if row is None else Reservation._make(row)


async def release_lapsed(
    session: Session, now_s: float, batch_max: int, *, are_locks_extended: bool = True
) -> list[Units]:
    """Give at most batch_max lapsed locks back to the stock.

    Where locks are extended, a payment in flight holds its lock beyond its time. It may have begun
    between our look at the payments and our hold on the row, so whoever still has none is asked for
    once more.
    """
    lapsed_sql = _LAPSED if are_locks_extended else _PAST_THEIR_TIME
    held = {row[0] for row in await session.all(lapsed_sql, (now_s, batch_max))}
    if not held:
        return []
    again = await session.all(lapsed_sql, (now_s, batch_max))
    lapsed = [row for row in again if row[0] in held]
    returned: list[Units] = [(sku, bucket, quantity) for _, sku, bucket, quantity, _ in lapsed]
    await return_units(session, returned)
    await give_back(session, sum(discount_cents > 0 for *_, discount_cents in lapsed))
    # Not before they could be taken again: the row of the stock may have been waited for.
    released_at_s = session.time_s(now_s)
    await session.run_many(_RELEASE, [(released_at_s, row[0]) for row in lapsed])
    return returned


async def cancel(session: Session, reservation_id: str, now_s: float) -> Units | None:
    """Release a lock at once, on behalf of the operator; None when it is not locked (any more).

    A payment in flight does not prevent it: when the provider takes the money, it is refunded. An
    open order has no units to give back.
    """
    reservation = await read_reservation(session, reservation_id, is_locking=True)
    if reservation is None or reservation.state not in UNPAID:
        return None
    await session.run(_CANCEL, (now_s, reservation_id))
    returned = (reservation.sku, reservation.bucket, reservation.quantity)
    if reservation.state == "open":
        returned = (reservation.sku, reservation.bucket, 0)
    else:
        await return_units(session, [returned])
    await give_back(session, int(reservation.discount_cents > 0))
    return returned


async def withdraw(session: Session, reservation_id: str, now_s: float) -> Units | Refusal | None:
    """Release a lock at once, on behalf of its buyer: the units, or why not.

    None when it is cancelled already. Nothing is withdrawn that is paid or about to be.
    """
    reservation = await read_reservation(session, reservation_id, is_locking=True)
    if reservation is None:
        return Refusal.UNKNOWN_RESERVATION
    if reservation.state == "cancelled":
        return None
    if reservation.state == "released":
        return Refusal.RESERVATION_EXPIRED
    if reservation.state not in UNPAID:
        return Refusal.ALREADY_PAID
    if await session.one(_PENDING, (reservation_id,)) is not None:
        return Refusal.PAYMENT_IN_PROGRESS
    return await cancel(session, reservation_id, now_s)
