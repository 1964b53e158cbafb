"""The provider's counter: takes demands, decides, and writes down before it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorbuster.provider import provider_of
from doorbuster.scenario.payments import Payments, Webhooks
from doorbuster_shop.provider.charges import (
    Books,
    Charge,
    Demand,
    charge_fields,
    closed,
    refunded,
)
from doorbuster_shop.provider.decisions import decide
from doorbuster_shop.provider.door import Closed, Door
from doorbuster_shop.provider.journal import Journal
from doorbuster_shop.provider.webhooks import Event, Mailbox, Notifier, events_of


@dataclass(frozen=True)
class Terms:
    """How a provider is run. Times in seconds since the epoch."""

    seed: int
    opens_at_s: float
    journal_path: Path | None = None
    is_forced: bool = False
    """Whether every line of the journal is forced to the disk."""
    mailbox: Mailbox | None = None
    notifies_all: bool = False
    """Whether channels without `webhooks` in the scenario notify, too."""


class Counter:
    """All that the provider knows. What it has told anybody stands in its journal.

    Open and close it inside the event loop that uses it.
    """

    def __init__(self, payments: Payments, terms: Terms, clock: Callable[[], float]) -> None:
        self._terms = terms
        self._clock = clock
        self.channels = {channel.name: channel for channel in payments.channels}
        self._payments = payments
        self._journal: Journal | None = None
        self.notifier: Notifier | None = None
        self._acknowledged: set[str] = set()
        self._begin(terms.seed, terms.opens_at_s)

    def _begin(self, seed: int, opens_at_s: float) -> None:
        self.seed, self.opens_at_s = seed, opens_at_s
        self.books = Books()
        self._acknowledged.clear()
        self._provider = provider_of(self._payments, seed)
        self.doors = {n: Door(channel, opens_at_s) for n, channel in self.channels.items()}
        self._total_outage: Closed | None = None

    def begin_outage(self, duration_s: float, *, hangs: bool) -> None:
        """No channel takes anything for this long, or until `end_outage`."""
        self._total_outage = Closed(self._clock() + duration_s, hangs)

    def end_outage(self) -> None:
        """The channels are as the scenario has them."""
        self._total_outage = None

    def outage(self, channel: str) -> Closed | None:
        """Whether a channel is out at this moment."""
        return self.total_outage() or self.doors[channel].outage(self._clock())

    def total_outage(self) -> Closed | None:
        """Whether all channels are out at this moment."""
        total = self._total_outage
        return total if total is not None and self._clock() < total.until_s else None

    def open(self) -> None:
        """Read the journal, and go on with the notifications that nobody has acknowledged."""
        if self._terms.journal_path is not None:
            self._journal = Journal(self._terms.journal_path, is_forced=self._terms.is_forced)
            for entry in self._journal.entries():
                self._replay(entry)
        self._start_notifier()
        for charge in self.books.charges.values():
            for event in events_of(charge):
                if event.id not in self._acknowledged:
                    self._announce(event, is_old=True)

    async def close(self) -> None:
        """Close the journal; what was not acknowledged is sent after the next start."""
        if self.notifier is not None:
            await self.notifier.close()
        if self._journal is not None:
            self._journal.close()

    def _replay(self, entry: Mapping[str, Any]) -> None:
        match entry:
            case {"seed": seed, "opens_at_s": opens_at_s}:
                self._begin(seed, opens_at_s)
            case {"charge": fields}:
                self.books.enter(Charge(**fields))
            case {"closed_key": key}:
                self.books.closed_keys.add(key)
            case {"acknowledged": event_id}:
                self._acknowledged.add(event_id)

    def _note(self, entry: dict[str, Any]) -> None:
        if self._journal is not None:
            self._journal.append(entry)

    def _enter(self, charge: Charge) -> None:
        self._note({"charge": charge_fields(charge)})
        self.books.enter(charge)

    def charge(self, demand: Demand) -> Charge:
        """Decide a new demand. Who comes through the door is told later, but it is decided now."""
        now_s = self._clock()
        channel, door = self.channels[demand.channel], self.doors[demand.channel]
        door.enter(now_s)
        attempt = self.books.attempt(demand.means)
        index = list(self.channels).index(demand.channel)
        decision = decide(self._provider, channel, index, attempt, door.load_per_s(now_s))
        charge = self.books.new(demand, attempt, decision, now_s)
        self._enter(charge)
        for event in events_of(charge):
            self._announce(event)
        return charge

    def refund(self, charge: Charge) -> Charge | None:
        """Give the whole amount back; None when nothing was captured. Twice is once."""
        changed = refunded(charge, self._clock())
        if changed is not None and changed is not charge:
            self._enter(changed)
            self._announce(events_of(changed)[-1])
        return changed

    def close_key(self, key: str) -> Charge | None:
        """See to it that no money is taken under a key any more; its charge, if there is one.

        Raises: CapturedError.
        """
        charge = self.books.by_key(key)
        if charge is None:
            if key not in self.books.closed_keys:
                self._note({"closed_key": key})
                self.books.closed_keys.add(key)
            return None
        changed = closed(charge, self._clock())
        if changed is not charge:
            self._enter(changed)
        return changed

    async def reset(self, seed: int | None, opens_at_s: float | None) -> None:
        """Empty books, and another seed or opening if one is given."""
        # Nothing may come in between the old books and the new ones: first all that waits for no
        # one. Cancelled, the old notifications write nothing into the new journal.
        old = self.notifier
        self._begin(
            self.seed if seed is None else seed,
            self.opens_at_s if opens_at_s is None else opens_at_s,
        )
        if self._journal is not None:
            self._journal.clear()
        self._note({"seed": self.seed, "opens_at_s": self.opens_at_s})
        self._start_notifier()
        if old is not None:
            await old.close()

    def _start_notifier(self) -> None:
        mailbox = self._terms.mailbox
        if mailbox is None:
            return
        manners = {name: channel.webhooks for name, channel in self.channels.items()}
        default = Webhooks() if self._terms.notifies_all else None
        notifying = {name: way or default for name, way in manners.items()}
        self.notifier = Notifier(
            mailbox,
            {name: way for name, way in notifying.items() if way is not None},
            self.seed,
            self._clock,
            self._is_current,
            lambda event_id: self._note({"acknowledged": event_id}),
        )

    def _announce(self, event: Event, *, is_old: bool = False) -> None:
        if self.notifier is not None:
            self.notifier.announce(event, is_old=is_old)

    def _is_current(self, event: Event) -> bool:
        """Whether the event came true: a charge that was closed meanwhile is not decided."""
        charge = self.books.charges.get(event.charge.id)
        return charge is not None and charge.closed_at_s is None
