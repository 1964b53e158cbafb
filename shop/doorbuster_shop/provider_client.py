"""How the shop speaks to the payment provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from doorbuster_shop.store.payments import Payment

CONNECTION_MAX = 4_096
"""Charges in flight at the provider; more wait for a connection."""
ANSWER_TIMEOUT_S = 10.0
"""After this time without an answer the connection is given up, and the provider asked what became
of the charge."""
CONNECT_TIMEOUT_S = 5.0
RETRY_AFTER_MAX_S = 30.0
"""A provider that asks for more patience is asked again all the same."""

_JSON = {"Content-Type": "application/json"}
_OK, _DECLINED, _NOT_FOUND = 200, 402, 404
_CONFLICT, _TOO_MANY, _SERVER_ERROR, _UNAVAILABLE = 409, 429, 500, 503


class ProviderUnavailableError(Exception):
    """The provider could not be reached, or gave no usable answer: the outcome is unknown."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 0.0,
        is_refusal: bool = False,
        is_busy: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_refusal = is_refusal
        """Nothing was taken in: the demand is certainly not in flight."""
        self.is_busy = is_busy
        """It works, and has too much to do."""


class ChargeAnswer(NamedTuple):
    """What became of a charge: `captured`, `declined`, `processing`, `closed` or `refunded`."""

    charge_id: str | None
    status: str


class ProviderClient:
    """A pool of kept-alive connections. Make it inside the event loop that uses it."""

    def __init__(self, url: str) -> None:
        self._session = aiohttp.ClientSession(
            url,
            connector=aiohttp.TCPConnector(limit=CONNECTION_MAX),
            timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def charge(self, payment: Payment, key: str | None = None) -> ChargeAnswer:
        """Demand the money and wait for the decision. Repeating it is safe: same key, same charge.

        key: default the payment's id. Raises: ProviderUnavailableError.
        """
        key = payment.id if key is None else key
        content = {
            "channel": payment.channel,
            "means": payment.means,
            "amount_cents": payment.amount_cents,
            "reference": payment.reservation_id,
        }
        headers = {"Idempotency-Key": key, **_JSON}
        status, reply = await self._call("POST", "/charges", content, headers=headers)
        if status in (_OK, _DECLINED):
            return ChargeAnswer(reply["charge_id"], reply["status"])
        if reply.get("code") == "idempotency_key_reused":
            # By another channel it was taken in before: ask what became of that.
            message = f"charge {key}: the key is used"
            raise ProviderUnavailableError(message)
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

    async def close_charge(self, payment: Payment) -> ChargeAnswer:
        """See to it that the provider takes no money for a payment; what became of it if it has.

        Raises: ProviderUnavailableError.
        """
        body = {"idempotency_key": payment.id}
        status, reply = await self._call("POST", "/charges/close", body, may_conflict=True)
        if status not in (_OK, _CONFLICT):
            message = f"close: {status} {reply.get('code')}"
            raise ProviderUnavailableError(message)
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

    async def channels_out(self) -> list[str]:
        """Channels that are out of order. Raises: ProviderUnavailableError."""
        _, reply = await self._call("GET", "/healthz")
        out: list[str] = reply["out"]
        return out

    async def ledger(self) -> list[dict[str, Any]]:
        """Every charge that the provider knows. Raises: ProviderUnavailableError."""
        _, reply = await self._call("GET", "/ledger")
        charges: list[dict[str, Any]] = reply["charges"]
        return charges

    async def reset(self, seed: int | None, opens_at_s: float) -> None:
        """Empty the provider's books and move its clock. Raises: ProviderUnavailableError."""
        body = {"seed": seed, "opens_at_s": opens_at_s}
        status, reply = await self._call("POST", "/reset", body)
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
        *,
        may_conflict: bool = False,
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method, path, data=data, headers=headers, params=params
            ) as response:
                content = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError) as error:
            message = f"{method} {path}: {type(error).__name__}: {error}"
            never_sent = isinstance(error, aiohttp.ClientConnectorError)
            raise ProviderUnavailableError(message, is_refusal=never_sent) from error
        conflicts = response.status == _CONFLICT and not may_conflict
        if response.status >= _SERVER_ERROR or response.status == _TOO_MANY or conflicts:
            message = f"{method} {path}: answered {response.status}"
            retry_after_s = _seconds(response.headers.get("Retry-After", ""))
            raise ProviderUnavailableError(
                message,
                retry_after_s=retry_after_s,
                is_refusal=response.status in (_TOO_MANY, _UNAVAILABLE),
                is_busy=response.status == _TOO_MANY,
            )
        return response.status, content

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _seconds(retry_after: str) -> float:
    """The header in seconds, bounded; a date counts as nothing said."""
    return min(float(retry_after), RETRY_AFTER_MAX_S) if retry_after.isdecimal() else 0.0
