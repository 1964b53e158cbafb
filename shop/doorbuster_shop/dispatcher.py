"""The dispatcher: splits paid orders by warehouse, beside everything that buyers wait for."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable

from doorbuster_shop.store.session import StoreError, StoreUnavailableError
from doorbuster_shop.store.store import Store

DISPATCH_EVERY_S = 0.25
"""How long a paid order waits at the most until somebody looks at it, in a shop that keeps up."""

_log = logging.getLogger(__name__)


class Dispatcher:
    """Looks through the line of unsent orders again and again. Several shops may do so at once."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look; not in a shop without warehouses."""
        if self._store.has_warehouses:
            self._task = asyncio.get_running_loop().create_task(self._dispatch_forever())

    def stop(self) -> None:
        """Look no more; what is not split stays in the line."""
        if self._task is not None:
            self._task.cancel()

    async def _dispatch_forever(self) -> None:
        while True:
            try:
                await self._store.dispatch_all(self._clock)
            except StoreUnavailableError as error:
                _log.warning("orders were not split by warehouse (%s); it is made up for", error)
            except (StoreError, sqlite3.Error):
                _log.exception("orders were not split by warehouse; the next round will try again")
            await asyncio.sleep(DISPATCH_EVERY_S)
