"""Open orders: where only payments lock units, an order holds none before and between them."""

from __future__ import annotations

from doorbuster_shop.store.coupons import give_back
from doorbuster_shop.store.reservations import Refusal, Reservation, Take, Wish
from doorbuster_shop.store.session import Session
from doorbuster_shop.store.stock import read_item, return_units

_LOCK = "UPDATE reservations SET state = 'locked', bucket = ? WHERE id = ? AND state = 'open'"
_UNLOCK = "UPDATE reservations SET state = 'open' WHERE id = ? AND state = 'locked'"
_END = """
UPDATE reservations SET state = 'released', released_at_s = ? WHERE id = ? AND state = 'open'
"""
_LAPSED = """
SELECT id, discount_cents FROM reservations WHERE state = 'open' AND expires_at_s <= ?
ORDER BY expires_at_s LIMIT ? FOR UPDATE SKIP LOCKED
"""


async def look(session: Session, wish: Wish) -> int | Refusal:
    """Take nothing; refuse a wish for more than is there."""
    item = await read_item(session, wish.sku)
    assert item is not None
    return 0 if item.available_units >= wish.quantity else Refusal.SOLD_OUT


async def try_to_lock(session: Session, order: Reservation, take: Take) -> Refusal | None:
    """Take the units of an open order, for the payment that is begun in this transaction."""
    wish = Wish(order.idempotency_key, order.sku, order.account, order.quantity)
    bucket = await take(session, wish)
    if isinstance(bucket, Refusal):
        return bucket
    await session.run(_LOCK, (bucket, order.id))
    return None


async def lock_or_end(
    session: Session, order: Reservation, take: Take, now_s: float
) -> Refusal | None:
    """Likewise; an order for which there are too few ends here, and gives its coupon back."""
    refusal = await try_to_lock(session, order, take)
    if refusal is Refusal.SOLD_OUT:
        await session.run(_END, (session.time_s(now_s), order.id))
        await give_back(session, int(order.discount_cents > 0))
    return refusal


async def unlock(session: Session, order: Reservation) -> None:
    """The payment has failed: what it has locked is for sale again. The caller holds the row."""
    if await session.run(_UNLOCK, (order.id,)) == 1:
        await return_units(session, [(order.sku, order.bucket, order.quantity)])


async def release_lapsed(session: Session, now_s: float, batch_max: int) -> int:
    """End at most batch_max open orders whose time is over, and tell how many; no unit moves.

    One whose payment begins in this very moment is locked by it, and passed over.
    """
    lapsed = await session.all(_LAPSED, (now_s, batch_max))
    if lapsed:
        await give_back(session, sum(discount_cents > 0 for _, discount_cents in lapsed))
        released_at_s = session.time_s(now_s)
        await session.run_many(_END, [(released_at_s, row[0]) for row in lapsed])
    return len(lapsed)
