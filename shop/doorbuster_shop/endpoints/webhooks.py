"""What the payment provider tells the shop by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import ProblemError, answer, parsed, read_bytes
from doorbuster_shop.provider.signature import HEADER, mistake
from doorbuster_shop.provider_client import ChargeAnswer
from doorbuster_shop.shop import Shop


class ChargeTold(BaseModel):
    """The part of a notification's charge that the shop uses."""

    charge_id: str
    idempotency_key: str
    status: Literal["captured", "declined", "refunded"]


class Notification(BaseModel):
    """Body of POST /webhooks/provider; what is not named here is ignored."""

    id: str
    charge: ChargeTold


class WebhookEndpoints:
    """POST /webhooks/provider."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def receive(self, request: Request) -> Response:
        """Settle a payment by a notification; 200 only once the database has it.

        A copy, or news that the shop has by another way, changes nothing and is acknowledged.
        """
        shop = self._shop
        if not shop.webhook_secret:
            raise ProblemError(404, "not_found", "this shop takes no notifications")
        body = await read_bytes(request)
        wrong = mistake(shop.webhook_secret, body, request.headers.get(HEADER, ""), shop.clock())
        if wrong is not None:
            raise ProblemError(401, "bad_signature", wrong)
        told = parsed(body, Notification)
        found = ChargeAnswer(told.charge.charge_id, told.charge.status)
        await shop.cashier.told(told.charge.idempotency_key, found)
        return answer({"id": told.id})
