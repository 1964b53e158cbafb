"""Putting units into a cart, where that locks them, and ordering it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import answer, idempotency_key, read_body
from doorbuster_shop.bodies import CartRequest
from doorbuster_shop.endpoints.refusals import refuse
from doorbuster_shop.shop import Shop
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.terms import lock_time_s


class CartEndpoints:
    """POST /carts and POST /carts/{id}/order."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def fill(self, request: Request) -> Response:
        """Lock units for a buyer, all or none."""
        key = idempotency_key(request)
        body = await read_body(request, CartRequest)
        wish = Wish(key, body.sku, str(body.account), body.quantity)
        now_s = self._shop.clock()
        cart = await self._shop.store.fill_cart(wish, now_s, lock_time_s(self._shop.terms, key))
        if isinstance(cart, Refusal):
            return refuse(cart)
        content = {
            "cart_id": cart.id,
            "amount_cents": cart.amount_cents,
            "expires_in_s": time_left_s(cart, now_s),
        }
        return answer(content, 201)

    async def order(self, request: Request) -> Response:
        """Make an order of a cart, which keeps its lock and its id. Twice is once."""
        now_s = self._shop.clock()
        order = await self._shop.store.order_cart(request.path_params["cart_id"], now_s)
        if isinstance(order, Refusal):
            return refuse(order)
        content = {
            "reservation_id": order.id,
            "amount_cents": order.amount_cents,
            "discount_cents": order.discount_cents,
            "expires_in_s": time_left_s(order, now_s),
        }
        return answer(content)


def time_left_s(reservation: Reservation, now_s: float) -> float:
    """How long its lock lasts, for who has asked at a moment."""
    from_s = max(now_s, reservation.reserved_at_s)  # A new one may have waited for its units.
    return max(0.0, reservation.expires_at_s - from_s)
