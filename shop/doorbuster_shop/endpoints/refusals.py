"""How each refusal of the store is told over HTTP."""

from __future__ import annotations

from starlette.responses import Response

from doorbuster_shop.answers import problem
from doorbuster_shop.limits import RETRY_AFTER_S
from doorbuster_shop.store.reservations import Refusal

TOLD_AS = {
    Refusal.UNKNOWN_ITEM: (404, "there is no such item in this sale"),
    Refusal.NOT_OPEN: (425, "the sale has not opened yet"),
    Refusal.LIMIT_REACHED: (409, "the purchase limit of this account is used up"),
    Refusal.SOLD_OUT: (409, "not enough units are available"),
    Refusal.OVERLOADED: (503, "too many buyers want this item at once; come back later"),
    Refusal.KEY_REUSED: (422, "this idempotency key belongs to another wish; choose a new one"),
    Refusal.UNKNOWN_RESERVATION: (404, "there is no reservation with this id"),
    Refusal.RESERVATION_EXPIRED: (410, "the time to pay is over; the units were released"),
    Refusal.PAYMENT_IN_PROGRESS: (409, "another payment of this reservation is in flight"),
    Refusal.ALREADY_PAID: (409, "this reservation is paid"),
    Refusal.NOT_PAID: (409, "this reservation is not paid, so there is no money to give back"),
    Refusal.NO_REFUNDS: (409, "this shop gives no money back"),
    Refusal.NO_CARTS: (409, "this shop locks no units in carts; reserve them"),
    Refusal.NEEDS_CART: (409, "this shop makes orders of carts; put the units into one"),
    Refusal.NOT_ORDERED: (409, "this is a cart, and no order yet; order it before you pay"),
}


def refuse(refusal: Refusal) -> Response:
    """The answer for a refusal; its value is the code."""
    status, message = TOLD_AS[refusal]
    headers = {"retry-after": str(RETRY_AFTER_S)} if refusal is Refusal.OVERLOADED else None
    return problem(status, refusal.value, message, headers)
