"""Bundles: sets made of other items' units, which are taken and given back all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorbuster_sim.simpy_engine.stock import ItemStock


@dataclass
class BundleStock:
    """Looks like the stock of one item, counts in sets, and has no units of its own.

    lines: its items with the units that a set takes of each, in key order. Nothing happens between
    the look at the first line and the move of the last: the live shop has a transaction for that.
    """

    sku: str
    limit: int
    lines: list[tuple[ItemStock, int]]
    initial: int = 0
    locked: int = 0
    sold: int = 0
    orders: int = 0
    sets_sold: int = 0
    refunds: int = 0
    unreturned: int = 0

    @property
    def available(self) -> int:
        """Sets that are there: as many as the scarcest line allows."""
        return min(stock.available // units for stock, units in self.lines)

    @property
    def version(self) -> int:
        """Changes whenever a line does, for each of them only counts up."""
        return sum(stock.version for stock, _ in self.lines)

    @property
    def counter(self) -> int:
        """Sets that the counters in front of the lines allow."""
        return min(stock.counter // units for stock, units in self.lines)

    def count(self, sets: int) -> None:
        """So many sets more at the counters."""
        for stock, units in self.lines:
            stock.count(sets * units)

    def move(self, *, available: int = 0, locked: int = 0, sold: int = 0) -> None:
        """Change the counts of every line."""
        for stock, units in self.lines:
            stock.move(available=available * units, locked=locked * units, sold=sold * units)

    def keep_away(self, sets: int) -> None:
        """So many sets were sent and are paid by nobody any more."""
        for stock, units in self.lines:
            stock.keep_away(sets * units)

    def note_orders(self, orders: int, sets: int) -> None:
        """So many paid orders more, with so many sets."""
        self.orders += orders
        self.sets_sold += sets
