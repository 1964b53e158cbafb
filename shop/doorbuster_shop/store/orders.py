"""The shop's book of orders, as the detectors read it."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster_shop.store.session import Session

_ORDERS = """
SELECT reservations.id, account, sku, quantity, amount_cents, discount_cents, state,
       reserved_at_s - opens_at_s, expires_at_s - opens_at_s, released_at_s - opens_at_s,
       sold_at_s - opens_at_s, refund_asked_at_s - opens_at_s, returned_at_s - opens_at_s
FROM reservations, sale ORDER BY reserved_at_s, reservations.id
"""


class Order(NamedTuple):
    """A reservation and what became of it. Times in seconds from the opening."""

    order_id: str
    account: str
    sku: str
    quantity: int
    amount_cents: int
    discount_cents: int
    state: str
    reserved_s: float
    expires_s: float
    released_s: float | None
    sold_s: float | None
    refund_asked_s: float | None
    returned_s: float | None


async def read_orders(session: Session) -> list[Order]:
    """All of them, in the order in which they were made."""
    return [Order._make(row) for row in await session.all(_ORDERS)]
