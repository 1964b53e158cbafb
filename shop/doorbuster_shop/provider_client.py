"""How the shop speaks to the payment provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from doorbuster_shop.store.payments import Payment

CONNECTION_MAX = 4_096
"""Charges in flight at the provider; more wait for a connection."""
ANSWER_TIMEOUT_S = 120.0
"""After this time without an answer the connection is given up and the provider asked again."""

_JSON = {"Content-Type": "application/json"}
_OK, _DECLINED, _NOT_FOUND = 200, 402, 404
_CONFLICT, _TOO_MANY, _SERVER_ERROR = 409, 429, 500


class ProviderUnavailableError(Exception):
    """The provider could not be reached, or gave no usable answer: the outcome is unknown."""


class ChargeAnswer(NamedTuple):
    """What became of a charge: `captured`, `declined`, `processing` or `refunded`."""

    charge_id: str | None
    status: str


class ProviderClient:
    """A pool of kept-alive connections. Make it inside the event loop that uses it."""

    def __init__(self, url: str) -> None:
        self._session = aiohttp.ClientSession(
            url,
            connector=aiohttp.TCPConnector(limit=CONNECTION_MAX),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, connect=10.0),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def charge(self, payment: Payment) -> ChargeAnswer:
        """Demand the money and wait for the decision. Repeating it is safe: same key, same charge.

        Raises: ProviderUnavailableError.
        """
        content = {
            "channel": payment.channel,
            "means": payment.means,
            "amount_cents": payment.amount_cents,
            "reference": payment.reservation_id,
        }
        headers = {"Idempotency-Key": payment.id, **_JSON}
        status, reply = await self._call("POST", "/charges", content, headers=headers)
        if status in (_OK, _DECLINED):
            return ChargeAnswer(reply["charge_id"], reply["status"])
        # A demand that the provider will never accept is as good as declined.
        return ChargeAnswer(None, "declined")

    async def find_charge(self, payment: Payment) -> ChargeAnswer | None:
        """What became of an earlier demand; None if the provider never got it.

        Raises: ProviderUnavailableError.
        """
        status, reply = await self._call("GET", "/charges", params={"idempotency_key": payment.id})
        if status == _NOT_FOUND:
            return None
        return ChargeAnswer(reply["charge_id"], reply["status"])

    async def refund(self, charge_id: str) -> None:
        """Give the money of a charge back. Raises: ProviderUnavailableError."""
        status, reply = await self._call("POST", "/refunds", {"charge_id": charge_id})
        if status != _OK:
            message = f"refund of {charge_id}: {status} {reply.get('code')}"
            raise ProviderUnavailableError(message)

    async def captures(self) -> list[tuple[str, int]]:
        """Reference and cents of every charge whose money the provider still has.

        Raises: ProviderUnavailableError.
        """
        _, reply = await self._call("GET", "/captures")
        return [(reference, cents) for reference, cents in reply["captures"]]

    async def reset(self, seed: int | None) -> None:
        """Empty the provider's books. Raises: ProviderUnavailableError."""
        status, reply = await self._call("POST", "/reset", {"seed": seed})
        if status != _OK:
            message = f"reset: {status} {reply.get('code')}"
            raise ProviderUnavailableError(message)

    async def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] = _JSON,
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method, path, data=data, headers=headers, params=params
            ) as response:
                content = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            message = f"{method} {path}: {type(error).__name__}: {error}"
            raise ProviderUnavailableError(message) from error
        if response.status >= _SERVER_ERROR or response.status in (_CONFLICT, _TOO_MANY):
            message = f"{method} {path}: answered {response.status}"
            raise ProviderUnavailableError(message)
        return response.status, content

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
