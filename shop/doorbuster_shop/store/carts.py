"""Carts: where putting units into one locks them, an order is made of it in time."""

from __future__ import annotations

from doorbuster_shop.store.reservations import Refusal, Reservation, read_reservation
from doorbuster_shop.store.session import Session

_ORDER = "UPDATE reservations SET state = 'locked' WHERE id = ? AND state = 'cart'"


async def order(session: Session, cart_id: str, now_s: float) -> Reservation | Refusal:
    """Make an order of a cart. No unit moves, and the lock lasts no longer; twice is once."""
    cart = await read_reservation(session, cart_id, is_locking=True)
    if cart is None:
        return Refusal.UNKNOWN_RESERVATION
    if cart.state in ("released", "cancelled"):
        return Refusal.RESERVATION_EXPIRED
    if cart.state != "cart":
        return cart
    if now_s >= cart.expires_at_s:
        return Refusal.RESERVATION_EXPIRED
    await session.run(_ORDER, (cart_id,))
    return cart._replace(state="locked")
