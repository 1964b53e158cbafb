"""The cashier: takes every payment to its end, however long the provider takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from doorbuster_shop.charging import Charging
from doorbuster_shop.failover import Failover
from doorbuster_shop.provider_client import (
    ChargeAnswer,
    ProviderClient,
    ProviderUnavailableError,
)
from doorbuster_shop.store.payments import Payment
from doorbuster_shop.store.session import StoreUnavailableError
from doorbuster_shop.store.store import Store

FIRST_RETRY_S, LONGEST_RETRY_S = 0.1, 2.0
PROVIDER_OUTAGE_MAX_S = 3_600.0
"""After an outage this long a payment rests, still pending, until the shop is restarted."""
QUERIES_AT_ONCE_MAX = 32
"""Of one sweep that asks the provider about late payments."""

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Cashier:
    """One task for each payment in flight. The database knows them all, the tasks only carry on.

    A payment is written down before the provider hears of it, and sent under its own id as
    idempotency key, so asking again after a lost answer never charges twice.
    """

    def __init__(
        self,
        store: Store,
        provider: ProviderClient,
        clock: Callable[[], float],
        failover: Failover,
        charging: Charging,
    ) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._failover = failover
        self._charging = charging
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, asyncio.Future[None]] = {}
        """Resolved when a notification has settled a payment that a task still carries."""
        self.waiting_count = 0
        self._owed_count = 0
        """Refunds that are not due yet."""

    @property
    def in_flight_count(self) -> int:
        """Payments on their way; a refund that is not due yet waits for nobody."""
        return len(self._tasks) - self._owed_count

    async def settle(
        self, payment: Payment, timeout_s: float, *, is_old: bool = False
    ) -> Payment | None:
        """The payment as it stands when the provider has answered, or when the time is up.

        is_old: it was begun before, perhaps in another process, and may be in flight.
        """
        if payment.state == "pending":
            task = self._tasks.get(payment.id) or self._start(payment, is_old=is_old)
            self.waiting_count += 1
            try:
                await asyncio.wait((task,), timeout=timeout_s)
            finally:
                self.waiting_count -= 1
        return await self._store.read_payment(payment.id)

    def refund(self, payment: Payment) -> None:
        """Send the money of a payment back, when it is due, however long the provider takes."""
        if payment.id not in self._tasks:
            self._start(payment, is_old=True)

    async def recover(self) -> int:
        """Take up what nobody carries, and tell how many payments that is.

        A shop that died has left them open, or a database that was gone when they were begun.
        """
        found = await self._store.open_payments()
        left_open = [payment for payment in found if payment.id not in self._tasks]
        for payment in left_open:
            self._start(payment, is_old=True)
        return len(left_open)

    async def stop(self) -> None:
        """Let go of all payments; they stay pending in the database."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._failover.stop()

    def _start(self, payment: Payment, *, is_old: bool = False) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        self._news[payment.id] = loop.create_future()
        task = loop.create_task(self._carry(payment, is_old=is_old))
        self._tasks[payment.id] = task
        task.add_done_callback(lambda _: self._forget(payment.id))
        return task

    def _forget(self, payment_id: str) -> None:
        self._tasks.pop(payment_id, None)
        self._news.pop(payment_id, None)

    async def told(self, idempotency_key: str, found: ChargeAnswer) -> None:
        """Settle by a notification; returns once the database has it. Told twice is told once."""
        payment_id = self._charging.payment_of(idempotency_key)
        if payment_id in self._tasks and self._charging.leaves_open(found):
            return
        self._spread(payment_id, await self._settle(payment_id, found))

    async def end_late(self) -> int:
        """Settle every payment whose lock is past its time, and tell how many there were.

        The provider is asked, and closes what it has not decided yet. A payment of which it tells
        nothing keeps its lock.
        """
        late = await self._store.late_payments(self._clock())
        queue = iter(late)
        await asyncio.gather(*(self._end_each(queue) for _ in range(QUERIES_AT_ONCE_MAX)))
        return len(late)

    async def _end_each(self, queue: Iterator[Payment]) -> None:
        for payment in queue:
            try:
                found = await self._provider.close_charge(payment)
            except ProviderUnavailableError as error:
                _log.warning("payment %s: %s; the next sweep asks again", payment.id, error)
            else:
                self._spread(payment.id, await self._settle(payment.id, found))

    def _spread(self, payment_id: str, settled: Payment | None) -> None:
        """Tell the task that carries a payment what was learnt without it."""
        if settled is None or settled.state == "pending":
            return
        news = self._news.get(payment_id)
        if news is None and settled.state == "refunding":
            self._start(settled, is_old=True)
        elif news is not None and not news.done():
            news.set_result(None)

    async def _carry(self, payment: Payment, *, is_old: bool) -> None:
        """Repeat until the payment is settled; what was learnt is in the database each time."""
        if payment.refund_due_at_s is not None:
            await self._until_due(payment.refund_due_at_s)
        deadline_s = self._clock() + PROVIDER_OUTAGE_MAX_S
        retry_s = FIRST_RETRY_S
        # Once it may be in flight it counts as charged, by the channel that it was sent by.
        may_switch, sent = not is_old, payment
        while self._clock() < deadline_s:
            if may_switch:
                sent = payment._replace(channel=self._failover.channel_for(payment.channel))
            try:
                await (self._take_up(sent) if is_old else self._charge(sent))
            except StoreUnavailableError as error:
                reason, wait_s, may_switch = str(error), retry_s, False
            except ProviderUnavailableError as error:
                reason, wait_s = str(error), max(retry_s, error.retry_after_s)
                may_switch = may_switch and error.is_refusal
            else:
                return
            _log.warning("payment %s: %s; asking again in %gs", payment.id, reason, wait_s)
            await self._unless_told(payment.id, asyncio.sleep(wait_s))
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)
            is_old = True  # It may have arrived all the same: from now on, ask first.
        _log.error("payment %s: unknown after %gs", payment.id, PROVIDER_OUTAGE_MAX_S)

    async def _until_due(self, due_at_s: float) -> None:
        self._owed_count += 1
        try:
            await asyncio.sleep(max(0.0, due_at_s - self._clock()))
        finally:
            self._owed_count -= 1

    async def _unless_told(self, payment_id: str, step: Awaitable[_T]) -> _T | None:
        """The result of a step; None as soon as a notification has settled the payment."""
        doing, news = asyncio.ensure_future(step), self._news[payment_id]
        try:
            await asyncio.wait((doing, news), return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            doing.cancel()
            if news.done():  # Heard; the next wait, such as one for a refund, is a real one again.
                self._news[payment_id] = asyncio.get_running_loop().create_future()

    async def _charge(self, payment: Payment) -> None:
        try:
            charging = self._charging.charge(self._provider, payment)
            found = await self._unless_told(payment.id, charging)
        except ProviderUnavailableError as error:
            if error.is_busy:
                self._failover.succeeded(payment.channel)
            else:
                self._failover.failed(payment.channel)
            raise
        self._failover.succeeded(payment.channel)
        if found is None:
            await self._take_up(payment)
        else:
            await self._enter(payment, found)

    async def _take_up(self, payment: Payment) -> None:
        """Ask before charging: the buyer of an old payment may be gone, and the lock with it."""
        known = await self._store.read_payment(payment.id)
        if known is None:
            return  # The sale was reset.
        if known.state == "refunding":
            await self._refund(known)
        if known.state != "pending":
            return
        found = await self._provider.find_charge(payment)
        if found is not None and found.status != "processing":
            await self._enter(payment, found)
        elif found is not None or await self._lock_is_live(payment):
            await self._charge(payment)
        else:
            await self._drop(payment)

    async def _drop(self, payment: Payment) -> None:
        """Let a payment go whose lock has lapsed, once the provider will never take its money.

        A demand may still be on its way there although the provider does not know it yet.
        """
        found = await self._provider.close_charge(payment)
        await self._enter(payment, found)

    async def _lock_is_live(self, payment: Payment) -> bool:
        reservation = await self._store.read_reservation(payment.reservation_id)
        return (
            reservation is not None
            and reservation.state == "locked"
            and self._clock() < reservation.expires_at_s
        )

    async def _enter(self, payment: Payment, found: ChargeAnswer) -> None:
        settled = await self._settle(payment.id, found)
        if settled is not None and settled.state == "refunding":
            await self._refund(settled)

    async def _settle(self, payment_id: str, found: ChargeAnswer) -> Payment | None:
        """Write down what became of a payment. What is neither captured nor closed was declined."""
        now_s = self._clock()
        if found.status == "closed":
            return await self._store.settle_expired(payment_id, now_s)
        if found.status == "captured" and found.charge_id is not None:
            return await self._store.settle_captured(payment_id, found.charge_id, now_s)
        return await self._store.settle_declined(payment_id, found.charge_id, now_s)

    async def _refund(self, payment: Payment) -> None:
        assert payment.charge_id is not None
        await self._provider.refund(payment.charge_id)
        await self._store.settle_refunded(payment.id)
