"""Notifications: sent to the shop until it acknowledges; some twice, late or out of order.

What is drawn: the seed, the visitor, the purpose and `4 x attempt + event` name each draw, so that
the same charge is notified in the same manner in every run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp
import orjson

from doorbuster.draws.philox import draw
from doorbuster.draws.purposes import Purpose
from doorbuster.draws.quantiles import DistributionTables, sample_named
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.payments import Webhooks
from doorbuster_shop.provider.charges import Charge
from doorbuster_shop.provider.schedules import (
    ANSWER_TIMEOUT_S,
    DUPLICATE_AFTER_S,
    GAPS_S,
    remaining_gaps_s,
)
from doorbuster_shop.provider.signature import HEADER, sign
from doorbuster_shop.provider.views import view

DELIVERIES_MAX = 64
"""Notifications on their way at once; more wait for their turn."""
HELD_BACK_MAX_S = 5.0
"""A notification held back goes out after this time even if no other overtakes it."""
STATUSES = ("captured", "declined", "refunded")
"""What is notified. Closing is not: who closed knows it."""

_ACKNOWLEDGED = range(200, 300)
_log = logging.getLogger(__name__)


class Mailbox(NamedTuple):
    """Where notifications go: address, shared secret, and a factor on the schedules' intervals."""

    url: str
    secret: str
    time_scale: float


class Event(NamedTuple):
    """A change of a charge that the shop is to hear of."""

    charge: Charge
    status: str
    at_s: float

    @property
    def id(self) -> str:
        """The same for every delivery, so that the shop can tell copies."""
        return f"ev_{self.charge.id}_{self.status}"


@dataclass
class Notifier:
    """One task for each notification that is not acknowledged yet.

    `is_current` tells whether an event has come true: a charge may be closed before its decision.
    `note` is told the id of each event that is done with.
    """

    mailbox: Mailbox
    manners: Mapping[str, Webhooks]
    seed: int
    clock: Callable[[], float]
    is_current: Callable[[Event], bool]
    note: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._turns = asyncio.Semaphore(DELIVERIES_MAX)
        book = DistributionBook()
        self._late_rows = {name: book.add(way.late_by) for name, way in self.manners.items()}
        self._tables: DistributionTables = book.tables()
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)

    @property
    def waiting_count(self) -> int:
        """Notifications that are not acknowledged yet."""
        return len(self._tasks)

    def announce(self, event: Event, *, is_old: bool = False) -> None:
        """Tell the shop when the time of the event has come; is_old: a dead provider has begun."""
        if event.charge.channel in self.manners:
            task = asyncio.get_running_loop().create_task(self._carry(event, is_old=is_old))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def forget(self) -> None:
        """Give up all that is on its way: the books were reset."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """Let go; what was not acknowledged is sent after the next start."""
        await self.forget()
        await self._session.close()

    async def _carry(self, event: Event, *, is_old: bool) -> None:
        """From the event to its acknowledgement, or to the end of the schedule."""
        manners = self.manners[event.charge.channel]
        gaps_s = tuple(gap * self.mailbox.time_scale for gap in GAPS_S[manners.schedule])
        start_s = event.at_s
        if self._chance(event, Purpose.WEBHOOK_LATE) < manners.late_fraction:
            start_s += self._late_by_s(event)
        elapsed_s = self.clock() - start_s
        await asyncio.sleep(max(0.0, -elapsed_s))
        if not self.is_current(event):
            return
        if self._chance(event, Purpose.WEBHOOK_REORDER) < manners.reordered_fraction:
            await self._hold_back(event.charge.channel)
        waits_s = remaining_gaps_s(gaps_s, max(0.0, elapsed_s)) if is_old else (0.0, *gaps_s)
        is_acknowledged = await self._send_until_acknowledged(event, waits_s)
        self.counts["acknowledged" if is_acknowledged else "given_up"] += 1
        self.note(event.id)
        if not is_acknowledged:
            _log.warning("%s: not acknowledged to the end of its schedule", event.id)
        elif self._chance(event, Purpose.WEBHOOK_DUPLICATE) < manners.duplicate_fraction:
            await asyncio.sleep(DUPLICATE_AFTER_S)
            await self._deliver(event, 0)

    async def _send_until_acknowledged(self, event: Event, waits_s: tuple[float, ...]) -> bool:
        for number, wait_s in enumerate(waits_s):
            await asyncio.sleep(wait_s)
            if await self._deliver(event, number):
                return True
        return False

    async def _deliver(self, event: Event, number: int) -> bool:
        """Whether the shop has acknowledged this delivery."""
        body = orjson.dumps(_content(event))
        async with self._turns:
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "Doorbuster-Provider",
                HEADER: sign(self.mailbox.secret, body, self.clock()),
                "Doorbuster-Delivery": str(number + 1),
            }
            self.counts["deliveries"] += 1
            # Not those that are held back while this one is under way: it overtakes none of them.
            overtaken = self._held.pop(event.charge.channel, [])
            try:
                async with self._session.post(
                    self.mailbox.url, data=body, headers=headers, allow_redirects=False
                ) as reply:
                    is_acknowledged = reply.status in _ACKNOWLEDGED
            except (aiohttp.ClientError, TimeoutError, OSError):
                is_acknowledged = False
        for held in overtaken:
            if not held.done():
                held.set_result(None)
        return is_acknowledged

    async def _hold_back(self, channel: str) -> None:
        """Wait until another notification of the channel has gone out."""
        overtaken = asyncio.get_running_loop().create_future()
        self._held[channel].append(overtaken)
        self.counts["held_back"] += 1
        await asyncio.wait((overtaken,), timeout=HELD_BACK_MAX_S)

    def _chance(self, event: Event, purpose: Purpose) -> float:
        return draw(self.seed, event.charge.visitor, int(purpose), _number(event))

    def _late_by_s(self, event: Event) -> float:
        row, purpose = self._late_rows[event.charge.channel], int(Purpose.WEBHOOK_LATE_BY)
        visitor, number = event.charge.visitor, _number(event)
        return float(sample_named(self._tables, row, self.seed, visitor, purpose, number))


def _number(event: Event) -> int:
    return 4 * event.charge.attempt + STATUSES.index(event.status)


def _content(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": f"charge.{event.status}",
        "at_s": event.at_s,
        "charge": view(event.charge, event.status),
    }


def events_of(charge: Charge) -> list[Event]:
    """All events of a charge that have happened or will, as far as is known now."""
    events = []
    if charge.closed_at_s is None:
        decided = "captured" if charge.approved else "declined"
        events.append(Event(charge, decided, charge.decides_at_s))
    if charge.refunded_at_s is not None:
        events.append(Event(charge, "refunded", charge.refunded_at_s))
    return events
