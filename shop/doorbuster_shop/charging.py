"""`shop.unanswered_charge`: what the shop does when the provider does not answer in time."""

from __future__ import annotations

import asyncio
from typing import Protocol

from doorbuster_shop.provider_client import (
    ChargeAnswer,
    ProviderClient,
    ProviderUnavailableError,
)
from doorbuster_shop.store.payments import Payment

_AGAIN = "-again"


class Charging(Protocol):
    """How a payment is charged."""

    async def charge(self, provider: ProviderClient, payment: Payment) -> ChargeAnswer:
        """What became of it, however long that takes. Raises: ProviderUnavailableError."""

    def payment_of(self, idempotency_key: str) -> str:
        """The payment that a charge under this key was sent for."""

    def leaves_open(self, found: ChargeAnswer) -> bool:
        """Whether one more charge may still pay what was told not to be paid by this one."""


class Wait:
    """`wait`: one charge under the payment's own key, which can never take money twice."""

    async def charge(self, provider: ProviderClient, payment: Payment) -> ChargeAnswer:
        """Demand the money."""
        return await provider.charge(payment)

    def payment_of(self, idempotency_key: str) -> str:
        """The key is its id."""
        return idempotency_key

    def leaves_open(self, found: ChargeAnswer) -> bool:
        """Never."""
        del found
        return False


class ChargeAgain:
    """`charge_again`, broken on purpose: silence is taken for failure.

    A second charge goes out under a new key, so that for the provider it is another one. The first
    that is captured pays the order; nobody asks what became of the other.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s

    async def charge(self, provider: ProviderClient, payment: Payment) -> ChargeAnswer:
        """Demand the money, once more when the patience ends; the first capture, or the last word.

        Both calls end with this one: whoever has not answered by then is forgotten.
        """
        calls = [asyncio.create_task(provider.charge(payment))]
        try:
            answered, _ = await asyncio.wait(calls, timeout=self._patience_s)
            if not answered:
                again = provider.charge(payment, f"{payment.id}{_AGAIN}")
                calls.append(asyncio.create_task(again))
            return await _first_capture(calls)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    def payment_of(self, idempotency_key: str) -> str:
        """The key without what makes it new."""
        return idempotency_key.removesuffix(_AGAIN)

    def leaves_open(self, found: ChargeAnswer) -> bool:
        """Where no money came, the other charge may bring it."""
        return found.status == "declined"


async def _first_capture(calls: list[asyncio.Task[ChargeAnswer]]) -> ChargeAnswer:
    """The first that is captured; if none is, an outage before a refusal."""
    outage, refusal = None, None
    for call in asyncio.as_completed(calls):
        try:
            found = await call
        except ProviderUnavailableError as error:
            outage = error
        else:
            if found.status == "captured":
                return found
            refusal = found
    if outage is not None:
        raise outage
    assert refusal is not None
    return refusal


def charging_of(unanswered_charge: str, timeout_s: float) -> Charging:
    """The way that the terms of a sale name. timeout_s: of its payments."""
    return ChargeAgain(timeout_s) if unanswered_charge == "charge_again" else Wait()
