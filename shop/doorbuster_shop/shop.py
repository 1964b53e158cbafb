"""What the endpoints share: the store, the terms, the cashier, the clock, the sweep."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections.abc import Awaitable, Callable

from doorbuster_shop.cashier import Cashier
from doorbuster_shop.charging import charging_of
from doorbuster_shop.dispatcher import Dispatcher
from doorbuster_shop.failover import Failover
from doorbuster_shop.late_queries import LateQueries
from doorbuster_shop.provider_client import ProviderClient
from doorbuster_shop.store.reservations import RELEASE_BATCH_MAX
from doorbuster_shop.store.session import StoreError, StoreUnavailableError
from doorbuster_shop.store.store import Store
from doorbuster_shop.terms import Terms

DATABASE_RETRY_S = 0.1
"""How often a database that is away is asked at the start."""
MISSED_SWEEP_S = 1.0
"""After a sweep that failed, the next try; sooner if sweeps are more often."""
_TIMER_GRAIN_PERIODS = 1e-3

_log = logging.getLogger(__name__)


class Shop:
    """One running shop. Everything that must outlast it is in the database."""

    def __init__(
        self,
        open_store: Callable[[], Awaitable[Store]],
        terms: Terms,
        clock: Callable[[], float],
        admin_token: str,
    ) -> None:
        self._open_store = open_store
        self.terms = terms
        self.clock = clock
        self.admin_token = admin_token
        self.webhook_secret = ""
        """Shared with the payment provider; empty, its notifications are refused."""
        self.faults_port: int | None = None
        """Port of this machine where faults of this shop can be asked for."""
        self.store: Store
        self.provider: ProviderClient
        self.cashier: Cashier
        self._late_queries: LateQueries
        self._dispatcher: Dispatcher
        self._sweep: asyncio.Task[None] | None = None

    async def open(self, provider_url: str) -> None:
        """Go on with the sale in the database, payments in flight included."""
        self.store = await self._open_store()
        self.store.clock = self.clock
        self.provider = ProviderClient(provider_url)
        failover = Failover(self.provider, dict(self.terms.failover))
        charging = charging_of(self.terms.unanswered_charge, self.terms.payment_timeout_s)
        self.cashier = Cashier(self.store, self.provider, self.clock, failover, charging)
        while not await self._has_recovered():
            await asyncio.sleep(DATABASE_RETRY_S)
        self.store.on_return = self.cashier.recover
        self._late_queries = LateQueries(self.cashier, self._release_lapsed)
        self._dispatcher = Dispatcher(self.store, self.clock)
        self._dispatcher.start()
        self.restart_sweep()

    async def _has_recovered(self) -> bool:
        try:
            await self.cashier.recover()
        except StoreUnavailableError as error:
            _log.warning("payments in flight cannot be read yet (%s)", error)
            return False
        return True

    async def close(self) -> None:
        """Stop all tasks; what is in flight is taken up at the next start."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._late_queries.stop()
        self._dispatcher.stop()
        await self.cashier.stop()
        await self.provider.close()
        await self.store.close()

    def restart_sweep(self) -> None:
        """Sweep in step with the opening that the database now holds."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._late_queries.stop()
        self._sweep = asyncio.get_running_loop().create_task(self._sweep_forever())

    async def _sweep_forever(self) -> None:
        """Release lapsed locks every release_sweep, at whole multiples of it from the opening."""
        is_missed = False
        while True:
            try:
                wait_s = MISSED_SWEEP_S if is_missed else await self._until_next_sweep_s()
                await asyncio.sleep(min(wait_s, self.terms.release_sweep_s))
                await self._release_lapsed()
                await self.store.end_sweep(self.clock())
                if self.terms.late_payment == "query_before_cancel":
                    self._late_queries.start_round()
                is_missed = False
            except StoreUnavailableError as error:
                _log.warning("the sweep failed (%s); it is made up for", error)
                is_missed = True
            except (StoreError, sqlite3.Error):
                _log.exception("the sweep failed; the next one will try again")
                is_missed = True

    async def _release_lapsed(self) -> None:
        while await self.store.release_lapsed(self.clock()) == RELEASE_BATCH_MAX:
            await asyncio.sleep(0)  # Let buyers in between two batches.

    async def _until_next_sweep_s(self) -> float:
        period_s = self.terms.release_sweep_s
        since_opening_s = self.clock() - await self.store.opening_s()
        # A timer may fire a grain early: that sweep is done, the next one is a period later.
        periods = math.floor(since_opening_s / period_s + _TIMER_GRAIN_PERIODS) + 1
        return periods * period_s - since_opening_s
