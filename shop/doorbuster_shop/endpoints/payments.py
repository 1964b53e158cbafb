"""Paying a reservation, and asking what became of a payment."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import answer, idempotency_key, problem, read_body
from doorbuster_shop.bodies import PaymentRequest
from doorbuster_shop.endpoints.refusals import refuse
from doorbuster_shop.limits import RETRY_AFTER_S, WAITING_PAYMENTS_MAX
from doorbuster_shop.shop import Shop
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import Refusal

STATUS_OF_STATE = {
    "pending": "pending",
    "paid": "paid",
    "declined": "declined",
    "expired": "expired",
    "refunding": "expired",
    "refunded": "expired",
}
"""What the buyer is told of each state in the database."""


def status_of(payment: Payment) -> str:
    """What the buyer is told: a payment whose order is given back has been paid all the same."""
    if payment.refund_due_at_s is not None:
        return "paid"
    return STATUS_OF_STATE[payment.state]


class PaymentEndpoints:
    """POST /reservations/{id}/payments and GET /payments/{id}."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def pay(self, request: Request) -> Response:
        """Pay a reservation; `pending` when the provider takes longer than its timeout."""
        key = idempotency_key(request)
        body = await read_body(request, PaymentRequest)
        shop = self._shop
        if body.channel not in shop.terms.channels:
            allowed = ", ".join(shop.terms.channels)
            message = f"unknown channel (got {body.channel!r}); allowed: {allowed}"
            return problem(422, "unknown_channel", message)
        if shop.cashier.waiting_count >= WAITING_PAYMENTS_MAX:
            message = f"{WAITING_PAYMENTS_MAX} payments are waiting for the provider"
            return problem(503, "overloaded", message, {"retry-after": str(RETRY_AFTER_S)})
        offer = Offer(key, request.path_params["reservation_id"], body.channel, body.means)
        now_s = shop.clock()
        payment = await shop.store.begin_payment(offer, now_s)
        if isinstance(payment, Refusal):
            return refuse(payment)
        is_old = payment.began_at_s != now_s
        timeout_s = shop.terms.payment_timeout_s
        settled = await shop.cashier.settle(payment, timeout_s, is_old=is_old)
        return _tell(settled)

    async def poll(self, request: Request) -> Response:
        """Where a payment stands now."""
        payment = await self._shop.store.read_payment(request.path_params["payment_id"])
        if payment is None:
            return problem(404, "unknown_payment", "there is no payment with this id")
        return answer(_view(payment))


def _view(payment: Payment) -> dict[str, str]:
    return {"payment_id": payment.id, "status": status_of(payment)}


def _tell(payment: Payment | None) -> Response:
    if payment is None:
        return problem(410, "reservation_expired", "the sale was reset")
    match status_of(payment):
        case "paid":
            return answer(_view(payment), 200)
        case "pending":
            return answer(_view(payment), 202)
        case "declined":
            return problem(402, "declined", "the payment provider declined; try another means")
        case _:
            message = "the lock was gone; money that was taken is given back"
            return problem(410, "reservation_expired", message)
