"""Refunds: an order that is paid is given back, once, and its money is on its way."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster_shop.store.payments import Payment
from doorbuster_shop.store.reservations import UNPAID, Refusal, Reservation, read_reservation
from doorbuster_shop.store.session import Session
from doorbuster_shop.store.stock import Units, take_back
from doorbuster_shop.terms import RefundTerms


class Refunded(NamedTuple):
    """What a refund has set going: nothing of either where it was granted before."""

    order: Reservation
    payment: Payment | None = None
    """Whose money is to be sent back."""
    returned: Units | None = None


# Of a sold order it is paid; these are the words of the index.
_PAID = """
SELECT * FROM payments WHERE reservation_id = ? AND state IN ('pending', 'paid') FOR UPDATE
"""
_SEND_BACK = """
UPDATE payments SET state = 'refunding', refund_due_at_s = ? WHERE id = ? AND state = 'paid'
"""
_GIVE_BACK = """
UPDATE reservations SET state = ?, refund_asked_at_s = ?, returned_at_s = ?
WHERE id = ? AND state = 'sold'
"""


async def refund(
    session: Session, reservation_id: str, terms: RefundTerms, now_s: float
) -> Refunded | Refusal:
    """Grant a refund on behalf of the buyer, or tell why not. Asked twice is once.

    The row of the order is held, so nobody else changes it meanwhile: it was either sold or not.
    What was not sent is on the shelf at once; the money follows, and is written down before the
    provider hears of it. A shop that only marks the order leaves the payment as it is.
    """
    order = await read_reservation(session, reservation_id, is_locking=True)
    if order is None:
        return Refusal.UNKNOWN_RESERVATION
    if order.refund_asked_at_s is not None:
        return Refunded(order)
    if order.state in UNPAID:
        return Refusal.NOT_PAID
    if order.state != "sold":
        return Refusal.RESERVATION_EXPIRED
    row = await session.one(_PAID, (order.id,))
    assert row is not None, "a sold order has its payment"
    payment: Payment | None = Payment._make(row)
    # The row may have been waited for; a sale is never later than its refund.
    at_s = max(session.time_s(now_s), order.sold_at_s or now_s)
    state = "refunded" if terms.is_marked_only else "refunding"
    returned_at_s = at_s if terms.returns_stock else None
    await session.run(_GIVE_BACK, (state, at_s, returned_at_s, order.id))
    if terms.is_marked_only:
        payment = None
    else:
        assert payment is not None
        due_at_s = at_s + terms.delay_s(order.idempotency_key)
        await session.run(_SEND_BACK, (due_at_s, payment.id))
        payment = payment._replace(state="refunding", refund_due_at_s=due_at_s)
    order = order._replace(state=state, refund_asked_at_s=at_s, returned_at_s=returned_at_s)
    if not terms.returns_stock:
        return Refunded(order, payment)
    await take_back(session, order.sku, order.bucket, order.quantity)
    return Refunded(order, payment, (order.sku, order.bucket, order.quantity))
