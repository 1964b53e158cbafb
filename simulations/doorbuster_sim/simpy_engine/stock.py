"""The units of each item: available, locked or sold, at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from doorbuster.compiling import plain
from doorbuster.rules.lines import Lines
from doorbuster.scenario.shop import Item
from doorbuster_sim.simpy_engine.bundles import BundleStock
from doorbuster_sim.strategies.buckets import BUCKET_COUNT, share


@dataclass
class ItemStock:
    """One item's units. Conservation is asserted after every change, unless they may leak."""

    sku: str
    initial: int
    limit: int
    is_guarded: bool = True
    """Whether the three counts must add up; some broken strategies lose or invent units."""
    available: int = field(init=False)
    locked: int = 0
    sold: int = 0
    orders: int = 0
    refunds: int = 0
    unreturned: int = 0
    """Of the units sold, those whose buyer has the goods and the money."""
    version: int = 0
    """Counts the changes."""
    counter: int = field(init=False)
    """Of `prededuct`: units that the crowd may still ask the database for."""
    buckets: list[int] = field(init=False)
    """Of `buckets`: where the available units lie."""
    is_flagged: bool = False
    """Of `stuck_sold_out`: somebody has found too few units."""

    def __post_init__(self) -> None:
        self.available = self.counter = self.initial
        self.buckets = [plain(share)(self.initial, bucket) for bucket in range(BUCKET_COUNT)]

    def move(self, *, available: int = 0, locked: int = 0, sold: int = 0) -> None:
        """Change the three counts at once; they keep adding up to the initial stock."""
        self.available += available
        self.locked += locked
        self.sold += sold
        self.version += 1
        if self.is_guarded:
            assert self.available + self.locked + self.sold == self.initial
            assert min(self.available, self.locked, self.sold) >= 0

    def count(self, units: int) -> None:
        """So many units more at the counter of `prededuct`."""
        self.counter += units

    def keep_away(self, units: int) -> None:
        """So many units were sent and are paid by nobody any more."""
        self.unreturned += units

    def note_orders(self, orders: int, units: int) -> None:
        """So many paid orders more."""
        del units
        self.orders += orders


Stock = ItemStock | BundleStock
"""What an order takes."""


def stocks_of(items: Sequence[Item], lines: Lines, *, is_guarded: bool) -> list[Stock]:
    """All items as they are before the sale."""
    own = {
        number: ItemStock(item.sku, item.stock, item.per_account_limit, is_guarded=is_guarded)
        for number, item in enumerate(items)
        if item.bundle is None
    }
    return [
        own[number]
        if number in own
        else BundleStock(
            item.sku, item.per_account_limit, [(own[part], units) for part, units in lines[number]]
        )
        for number, item in enumerate(items)
    ]
