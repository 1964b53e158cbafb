"""The shop's process: `python -m doorbuster_shop.shop_process`, started by `running`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from starlette.types import ASGIApp

from doorbuster_shop.app import shop_app
from doorbuster_shop.child import LOAD_POSTGRESQL
from doorbuster_shop.clock import now_s
from doorbuster_shop.serving import read_settings, serve
from doorbuster_shop.shop import DATABASE_RETRY_S, Shop
from doorbuster_shop.store.opening import open_store
from doorbuster_shop.store.session import DatabaseError, StoreError, StoreUnavailableError
from doorbuster_shop.store.store import Store
from doorbuster_shop.terms import Terms, terms_from_json


def main() -> None:
    """Serve the shop until the parent goes."""
    if LOAD_POSTGRESQL in sys.argv:  # While the settings are waited for; they may take long.
        import doorbuster_shop.store.postgresql  # noqa: F401, PLC0415
    settings = read_settings()
    terms = terms_from_json(settings["terms"])

    async def open_resumed() -> Store:
        if settings.get("is_back"):
            return await _open_patiently(settings, terms)
        return await _open_resumed(settings, terms)

    try:
        if not settings.get("is_back"):
            # Once for a clear sentence if it fails; the server opens it anew in its own loop.
            asyncio.run(_try_out(settings, terms))
    except DatabaseError as error:
        sys.exit(str(error))
    shop = Shop(open_resumed, terms, now_s, settings["admin_token"])
    shop.webhook_secret = settings["webhook_secret"]
    shop.faults_port = settings["faults_port"]

    def make_app(accepted_count: Callable[[], int]) -> ASGIApp:
        return shop_app(shop, settings["provider_url"], accepted_count, settings["queue_max"])

    def obey(order: Mapping[str, Any]) -> None:
        shop.store.extra_s = order["database_extra_s"]

    serve(make_app, settings["listening_fd"], obey)


async def _open_patiently(settings: dict[str, Any], terms: Terms) -> Store:
    """A shop that comes back while its database is away waits for it."""
    while True:
        try:
            return await _open_resumed(settings, terms)
        except (DatabaseError, StoreUnavailableError) as error:
            logging.getLogger(__name__).warning("%s", error)
            await asyncio.sleep(DATABASE_RETRY_S)


async def _open_resumed(settings: dict[str, Any], terms: Terms) -> Store:
    store = await open_store(settings["store"], terms.strategy, settings["redis"])
    store.extra_s = settings.get("database_extra_s", 0.0)
    try:
        await store.resume_sale(terms, settings["opens_at_s"])
    except (DatabaseError, StoreError):
        await store.close()
        raise
    return store


async def _try_out(settings: dict[str, Any], terms: Terms) -> None:
    await (await _open_resumed(settings, terms)).close()


if __name__ == "__main__":
    main()
