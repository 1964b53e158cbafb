"""Reserving units."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import answer, idempotency_key, read_body
from doorbuster_shop.bodies import ReservationRequest
from doorbuster_shop.endpoints.carts import time_left_s
from doorbuster_shop.endpoints.refusals import refuse
from doorbuster_shop.shop import Shop
from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.terms import lock_time_s


class ReservationEndpoints:
    """POST /reservations, DELETE /reservations/{id} and POST /reservations/{id}/refund."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def reserve(self, request: Request) -> Response:
        """Lock units for a buyer, all or none."""
        key = idempotency_key(request)
        body = await read_body(request, ReservationRequest)
        wish = Wish(key, body.sku, str(body.account), body.quantity)
        now_s = self._shop.clock()
        lasts_s = lock_time_s(self._shop.terms, key)
        reservation = await self._shop.store.reserve(
            wish, now_s, lasts_s, brings_coupon=body.coupon
        )
        if isinstance(reservation, Refusal):
            return refuse(reservation)
        return answer(
            {
                "reservation_id": reservation.id,
                "amount_cents": reservation.amount_cents,
                "discount_cents": reservation.discount_cents,
                "expires_in_s": time_left_s(reservation, now_s),
            },
            201,
        )

    async def withdraw(self, request: Request) -> Response:
        """Cancel a reservation that is not paid: its units are back at once. Twice is once."""
        reservation_id = request.path_params["reservation_id"]
        refusal = await self._shop.store.withdraw(reservation_id, self._shop.clock())
        if refusal is not None:
            return refuse(refusal)
        return answer({"reservation_id": reservation_id, "status": "cancelled"})

    async def refund(self, request: Request) -> Response:
        """Give a paid order back: the money follows. Twice is once."""
        reservation_id = request.path_params["reservation_id"]
        told = await self._shop.store.refund(reservation_id, self._shop.clock())
        if isinstance(told, Refusal):
            return refuse(told)
        if told.payment is not None:
            self._shop.cashier.refund(told.payment)
        order = told.order
        content = {
            "reservation_id": order.id,
            "status": order.state,
            "amount_cents": order.amount_cents,
        }
        return answer(content)
