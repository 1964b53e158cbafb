"""Looking at an item."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import answer, problem
from doorbuster_shop.shop import Shop


class ItemEndpoints:
    """GET /items/{sku}."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def browse(self, request: Request) -> Response:
        """Price, available units and whether the item can be bought now."""
        item = await self._shop.store.read_item(request.path_params["sku"])
        if item is None:
            return problem(404, "unknown_item", "there is no such item in this sale")
        if self._shop.clock() < item.opens_at_s:
            status = "not_open"
        elif item.available_units <= 0:
            status = "sold_out"
        else:
            status = "on_sale"
        return answer(
            {
                "sku": item.sku,
                "price_cents": item.price_cents,
                "available": max(0, item.available_units),
                "status": status,
            }
        )
