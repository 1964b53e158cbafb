"""The provider's books, in the shop's time."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import ProblemError, answer, require_token
from doorbuster_shop.provider_client import ProviderUnavailableError
from doorbuster_shop.shop import Shop


class BookEndpoints:
    """GET /admin/charges."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def charges(self, request: Request) -> Response:
        """Every charge that the provider knows; times in seconds from the opening."""
        require_token(request, self._shop.admin_token)
        try:
            ledger = await self._shop.provider.ledger()
        except ProviderUnavailableError as error:
            message = f"the payment provider does not answer ({error}); try again"
            raise ProblemError(502, "provider_unavailable", message) from None
        opens_at_s = await self._shop.store.opening_s()
        return answer({"charges": [_row(charge, opens_at_s) for charge in ledger]})


def _row(charge: dict[str, Any], opens_at_s: float) -> dict[str, Any]:
    """A row of the CHARGES table; a charge that was closed took no money, like a declined one."""
    row = {name: charge[name] for name in ("charge_id", "channel", "amount_cents")}
    state = "declined" if charge["status"] == "closed" else charge["status"]
    times = {
        f"{event}_s": None if (at_s := charge[f"{event}_at_s"]) is None else at_s - opens_at_s
        for event in ("asked", "decided", "captured", "refunded")
    }
    return {**row, "order_id": charge["reference"], "state": state, **times}
