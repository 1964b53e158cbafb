"""What a detector looks at: one sale, and the finding that it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from doorbuster.detectors.holders import paying_holders
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.books import Charges, Orders
from doorbuster.measures.columns import (
    STEPS,
    Floats,
    Integers,
    Mask,
    Requests,
    Stock,
    Visits,
    at_places,
)
from doorbuster.measures.fault_times import STOPS_CHARGES, STOPS_SHOP, FaultTime
from doorbuster.records.audit import Audit
from doorbuster.rules.lines import Lines, Taken
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Reply

LIVE_SLACK_S = 0.25
"""Live, the moments of the books are the shop's and those of the requests the load generator's,
taken before and after a transaction: so much they may be apart. Assumed; the simulated world needs
none."""

LEARNS_S = 2.5
"""So long it may take, live, until the shop knows what its provider has decided: answers are lost,
and it asks again every two seconds."""

EVIDENCE_MAX = 20
"""So many pieces of evidence are kept of one finding; all are counted."""

Evidence = Mapping[str, Any]
"""One offence: the names and times of the tables that prove it."""


@dataclass(frozen=True)
class SaleBooks:
    """One replication of a sale: what visitors saw, what the target says, what the provider says.

    end_s: when the target was asked, seconds from T0. slack_s: how far clocks may be apart.
    faults: what was broken meanwhile, by its beginning.
    """

    scenario: Scenario
    orders: Orders
    charges: Charges
    visits: Visits
    requests: Requests
    stock: Stock
    audit: Audit | None
    end_s: float
    slack_s: float
    faults: tuple[FaultTime, ...] = ()

    @cached_property
    def lines(self) -> Lines:
        """What one unit of each item takes from the shelf."""
        return Lines.of(self.scenario.shop.items)

    @cached_property
    def taken(self) -> Taken:
        """The lines of all orders."""
        return self.lines.explode(self.orders.sku, self.orders.quantity)

    @cached_property
    def shelf(self) -> list[int]:
        """The items that have a stock, which no bundle has."""
        return [n for n, item in enumerate(self.scenario.shop.items) if item.bundle is None]

    @cached_property
    def holders(self) -> Orders:
        """What holds units, an entry each: the orders, or where payments lock, their charges."""
        if self.scenario.shop.lock_point == "order":
            return self.orders
        return paying_holders(self.orders, self.charges, self.end_s)

    @cached_property
    def _held(self) -> Taken:
        """The lines of all holders."""
        return self.lines.explode(self.holders.sku, self.holders.quantity)

    @cached_property
    def free_units(self) -> list[FreeUnits]:
        """By item: units that no order holds, over time; of a bundle, the sets they make."""
        items = self.scenario.shop.items
        return self._with_sets(
            {
                code: FreeUnits.of(self.holders, code, items[code].stock, self._held)
                for code in self.shelf
            }
        )

    @cached_property
    def surely_free_units(self) -> list[FreeUnits]:
        """Likewise, without those that a payment may hold unknown to the provider or to the shop.

        In a fault the provider may not have heard of a charge, and live the shop not of its end.
        """
        if self.holders is self.orders:
            return self.free_units
        known = {}
        for code in self.shelf:
            free = self.free_units[code]
            for held in (self._unheard_by_provider(code), *self._unheard_by_shop(code)):
                free = free.less(*held)
            known[code] = free
        return self._with_sets(known)

    def _unheard_by_provider(self, code: int) -> tuple[Floats, Floats, Integers]:
        """What orders that were alive in a fault may have held in it: from, until, units."""
        lines = self.taken.item == code
        orders = at_places(self.orders, self.taken.order[lines])
        units = self.taken.units[lines]
        ended_s = np.where(np.isnan(orders.released_s), orders.sold_s, orders.released_s)
        ended_s = np.where(np.isnan(ended_s), np.inf, ended_s)
        learns_s = LEARNS_S if self.slack_s else 0.0
        spans = [
            (
                np.maximum(orders.reserved_s, fault.begun_s - self.slack_s),
                np.minimum(ended_s, fault.ended_s + learns_s),
                units,
            )
            for fault in self.faults
            if fault.kind in STOPS_SHOP + STOPS_CHARGES
        ]
        from_s = np.concatenate([np.empty(0), *(span[0] for span in spans)])
        until_s = np.concatenate([np.empty(0), *(span[1] for span in spans)])
        held = np.concatenate([units[:0], *(span[2] for span in spans)])
        alive = from_s < until_s
        return from_s[alive], until_s[alive], held[alive]

    def _unheard_by_shop(self, code: int) -> Iterator[tuple[Floats, Floats, Integers]]:
        """What it may hold, live, though the provider has decided: from, until, units."""
        if self.slack_s:
            lines = self._held.item == code
            ended_s = self.holders.released_s[self._held.order[lines]]
            is_over = ~np.isnan(ended_s)
            from_s = ended_s[is_over]
            yield from_s, from_s + LEARNS_S, self._held.units[lines][is_over]

    def _with_sets(self, free: dict[int, FreeUnits]) -> list[FreeUnits]:
        """By item, from the steps of those that have a stock."""
        return [
            free[code] if code in free else FreeUnits.of_sets([(free[c], n) for c, n in lines])
            for code, lines in enumerate(self.lines)
        ]

    @cached_property
    def request_items(self) -> Integers:
        """The item of each request, -1 where the visitor is not in the records."""
        visits = self._request_visits
        return (
            np.where(visits >= 0, self.visits.sku[visits], -1) if len(self.visits.sku) else visits
        )

    @cached_property
    def request_quantities(self) -> Integers:
        """Units that the visitor of each request wants; of no meaning where the item is -1."""
        visits = self._request_visits
        return self.visits.quantity[visits] if len(self.visits.quantity) else visits

    @cached_property
    def _request_visits(self) -> Integers:
        """The place of each request's visitor among the visits, -1 where there is none."""
        order = np.argsort(self.visits.visitor, kind="stable")
        names = self.visits.visitor[order]
        if not len(names):
            return np.full(len(self.requests.visitor), -1)
        place = np.minimum(np.searchsorted(names, self.requests.visitor), len(names) - 1)
        return np.where(names[place] == self.requests.visitor, order[place], -1)

    def reserving(self, *replies: Reply) -> Mask:
        """Answered requests to reserve with one of these replies."""
        step = self.requests.step == STEPS.index("reserve")
        answered = ~np.isnan(self.requests.done_s)
        wanted: Mask = np.isin(self.requests.reply, [int(reply) for reply in replies])
        found: Mask = step & answered & wanted
        return found

    @cached_property
    def refused_in_vain(self) -> Mask:
        """Requests told `sold out` although units enough were free all the while.

        A request under way counts as if it held what it asks for, unless it is told sold out, too:
        a shop may take units from a counter before it looks at the purchase limit. One that was
        never answered does so to the end.
        """
        found = np.zeros(len(self.requests.visitor), dtype=np.bool_)
        refused = self.reserving(Reply.SOLD_OUT)
        others = self.reserving(*(reply for reply in Reply if reply is not Reply.SOLD_OUT))
        unanswered = np.isnan(self.requests.done_s)
        others |= unanswered & (self.requests.step == STEPS.index("reserve"))
        until_s = np.where(unanswered, np.inf, self.requests.done_s)
        asking = np.flatnonzero(others & (self.request_items >= 0))
        held = self.lines.explode(self.request_items[asking], self.request_quantities[asking])
        left_over = {}
        for code in self.shelf:
            mine = held.item == code
            who = asking[held.order[mine]]
            left_over[code] = self.surely_free_units[code].less(
                self.requests.sent_s[who], until_s[who], held.units[mine]
            )
        for code, left in enumerate(self._with_sets(left_over)):
            mine = np.flatnonzero(refused & (self.request_items == code))
            lowest = left.lowest_within(
                self.requests.sent_s[mine] - self.slack_s,
                self.requests.done_s[mine] + self.slack_s,
            )
            found[mine] = lowest >= self.request_quantities[mine]
        return found


@dataclass(frozen=True)
class Finding:
    """What a detector found in one sale.

    count: offences, 0 when there are none; evidence: the first of them. applies: false where the
    sale holds nothing that could show this failure.
    """

    count: int = 0
    evidence: tuple[Evidence, ...] = ()
    applies: bool = True

    @classmethod
    def of(cls, offences: list[Evidence]) -> Finding:
        """All offences, of which the first are kept."""
        return cls(len(offences), tuple(offences[:EVIDENCE_MAX]))


NOTHING_TO_JUDGE = Finding(applies=False)
