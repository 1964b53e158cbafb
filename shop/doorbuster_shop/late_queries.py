"""`query_before_cancel`: the provider is asked before a lock with a payment in flight goes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable

from doorbuster_shop.cashier import Cashier
from doorbuster_shop.store.session import StoreError, StoreUnavailableError

RETRY_S = 1.0
"""After a round that the database did not let through, the next try."""

_log = logging.getLogger(__name__)


class LateQueries:
    """One round of questions at a time, beside the sweep: no provider that hangs may stop it."""

    def __init__(self, cashier: Cashier, release: Callable[[], Awaitable[None]]) -> None:
        self._cashier = cashier
        self._release = release
        """Releases what has lapsed."""
        self._round: asyncio.Task[None] | None = None

    def start_round(self) -> None:
        """Ask about all payments that are late by now, unless the last round is still under way."""
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_task(self._ask())

    def stop(self) -> None:
        """Ask no more; what was not asked keeps its lock until the next sweep."""
        if self._round is not None:
            self._round.cancel()

    async def _ask(self) -> None:
        try:
            while not await self._is_through():
                await asyncio.sleep(RETRY_S)
        except (StoreError, sqlite3.Error):
            _log.exception("late payments were not settled; the next sweep will try again")

    async def _is_through(self) -> bool:
        try:
            if await self._cashier.end_late():
                await self._release()
        except StoreUnavailableError as error:
            _log.warning("late payments were not settled (%s); it is made up for", error)
            return False
        return True
