"""What only the operator may do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from doorbuster_shop.answers import ProblemError, answer, read_body, require_token
from doorbuster_shop.bodies import ResetRequest
from doorbuster_shop.provider_client import ProviderUnavailableError
from doorbuster_shop.shop import Shop


class AdminEndpoints:
    """Everything below /admin/."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def stock(self, request: Request) -> Response:
        """Where the units of every item are."""
        require_token(request, self._shop.admin_token)
        levels = await self._shop.store.read_levels()
        return answer({"items": [level._asdict() for level in levels]})

    async def orders(self, request: Request) -> Response:
        """Every reservation and what became of it."""
        require_token(request, self._shop.admin_token)
        orders = await self._shop.store.read_orders()
        return answer({"orders": [order._asdict() for order in orders]})

    async def shipments(self, request: Request) -> Response:
        """What every warehouse has sent, and what is left in it."""
        require_token(request, self._shop.admin_token)
        store = self._shop.store
        shipments, warehouses = await store.read_shipments(), await store.read_warehouses()
        return answer(
            {
                "shipments": [shipment._asdict() for shipment in shipments],
                "warehouses": [level._asdict() for level in warehouses],
            }
        )

    async def audit(self, request: Request) -> Response:
        """What database and provider say about the sale; a silent provider leaves its part null."""
        require_token(request, self._shop.admin_token)
        shop = self._shop
        try:
            captures = await shop.provider.captures()
        except ProviderUnavailableError:
            captures = None
        account = await shop.store.audit(shop.clock(), shop.terms.release_sweep_s, captures)
        return answer(account.model_dump())

    async def reset(self, request: Request) -> Response:
        """Forget all orders, restore the stock, empty the provider's books, set the opening."""
        require_token(request, self._shop.admin_token)
        body = await read_body(request, ResetRequest)
        shop = self._shop
        # Other workers carry payments, too; the database knows all of them.
        open_count = max(shop.cashier.in_flight_count, len(await shop.store.open_payments()))
        if open_count and not body.force:
            message = f'{open_count} payments are in flight; wait for them, or send "force": true'
            raise ProblemError(409, "payments_in_flight", message)
        await shop.cashier.stop()
        await shop.store.begin_sale(shop.terms, body.opens_at_epoch_s)
        shop.restart_sweep()
        try:
            await shop.provider.reset(body.seed, body.opens_at_epoch_s)
        except ProviderUnavailableError as error:
            message = f"the shop is reset, but not its payment provider ({error}); try again"
            raise ProblemError(502, "provider_unavailable", message) from None
        told = {"opens_at_epoch_s": body.opens_at_epoch_s, "faults_port": shop.faults_port}
        return answer(told)

    async def cancel(self, request: Request) -> Response:
        """Release a lock at once, such as a scalper's; money that still comes in is refunded."""
        require_token(request, self._shop.admin_token)
        shop = self._shop
        reservation_id = request.path_params["reservation_id"]
        if await shop.store.read_reservation(reservation_id) is None:
            raise ProblemError(404, "unknown_reservation", "there is no reservation with this id")
        return answer({"released": await shop.store.cancel(reservation_id, shop.clock())})
