"""Units that no order holds, as a step function of time, counted from the orders alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from doorbuster.measures.books import ORDER_STATES, Orders
from doorbuster.measures.columns import Floats, Integers
from doorbuster.rules.lines import Taken

_REFUNDED = ORDER_STATES.index("refunded")


@dataclass(frozen=True)
class FreeUnits:
    """Steps of one item: from at_s[i] on there are units[i]; before at_s[0] the initial stock.

    An order holds its units from its reservation until they are given back, and a paid one for
    ever: units that were given back while the order was paid, or before, are owed a second time.
    One whose buyer was granted a refund was paid, and holds them until that put them back.
    """

    initial: int
    at_s: Floats
    units: Integers
    order: Integers
    """The order whose move made the step, as its place in the table."""

    @classmethod
    def of(cls, orders: Orders, sku: int, initial: int, taken: Taken | None = None) -> FreeUnits:
        """The steps of one item; at equal times units are given back before they are taken.

        taken: the lines of the orders; else each is one of what it is called.
        """
        mine, quantity = np.flatnonzero(orders.sku == sku), orders.quantity[orders.sku == sku]
        if taken is not None:
            lines = taken.item == sku
            mine, quantity = taken.order[lines], taken.units[lines]
        reserved, released, sold = (
            column[mine] for column in (orders.reserved_s, orders.released_s, orders.sold_s)
        )
        returned, asked = orders.returned_s[mine], ~np.isnan(orders.refund_asked_s[mine])
        paid = ~np.isnan(sold) & (asked | (orders.state[mine] != _REFUNDED))
        comes_back = ~np.isnan(returned)
        gives_back = ~np.isnan(released) & ~(paid & ~(released < sold))
        takes_again = gives_back & paid
        moves = (
            (reserved, np.ones(len(mine), dtype=np.bool_), -1),
            (released, gives_back, 1),
            (sold, takes_again, -1),
            (returned, comes_back, 1),
        )
        at_s = np.concatenate([moments[chosen] for moments, chosen, _ in moves])
        which = np.concatenate([mine[chosen] for _, chosen, _ in moves])
        units = np.concatenate([quantity[chosen] for _, chosen, _ in moves])
        sign = np.concatenate(
            [np.full(int(chosen.sum()), way, dtype=np.int64) for _, chosen, way in moves]
        )
        order = np.lexsort((-sign, at_s))
        moved = (sign * units)[order]
        return cls(initial, at_s[order], initial + np.cumsum(moved), which[order])

    @classmethod
    def of_sets(cls, lines: list[tuple[FreeUnits, int]]) -> FreeUnits:
        """Whole sets that could be made of what is free: (units of an item, so many a set)."""
        at_s = np.unique(np.concatenate([free.at_s for free, _ in lines]))
        levels = [
            np.append(free.initial, free.units)[np.searchsorted(free.at_s, at_s, "right")] // each
            for free, each in lines
        ]
        initial = min(free.initial // each for free, each in lines)
        sets: Integers = np.minimum.reduce(levels).astype(np.int64)
        return cls(initial, at_s, sets, np.full(len(at_s), -1))

    def less(self, from_s: Floats, until_s: Floats, units: Integers) -> FreeUnits:
        """The steps if somebody held `units` within each of these intervals besides the orders."""
        at_s = np.concatenate([self.at_s, from_s, until_s])
        own = np.diff(self.units, prepend=self.initial)
        moved = np.concatenate([own, -units, units]).astype(np.int64)
        nobody = np.full(len(units), -1)
        order = np.lexsort((-moved, at_s))
        return FreeUnits(
            self.initial,
            at_s[order],
            self.initial + np.cumsum(moved[order]),
            np.concatenate([self.order, nobody, nobody])[order],
        )

    @property
    def at_the_end(self) -> int:
        """Units that no order holds after the last move."""
        return int(self.units[-1]) if len(self.units) else self.initial

    def lowest_within(self, from_s: Floats, until_s: Floats) -> Integers:
        """The lowest level within each closed interval, (n,) and (n,) to (n,)."""
        return self._within(np.minimum, from_s, until_s)

    def highest_within(self, from_s: Floats, until_s: Floats) -> Integers:
        """The highest level within each closed interval, (n,) and (n,) to (n,)."""
        return self._within(np.maximum, from_s, until_s)

    def _within(self, extreme: np.ufunc, from_s: Floats, until_s: Floats) -> Integers:
        if not len(from_s):
            return np.empty(0, dtype=np.int64)
        # Between two moves of one moment there is no level.
        settled = np.append(self.at_s[1:] != self.at_s[:-1], True)[: len(self.at_s)]
        at_s = self.at_s[settled]
        first = np.searchsorted(at_s, from_s, side="left")
        last = np.searchsorted(at_s, until_s, side="right")
        # One more at the end, because reduceat wants each bound inside.
        levels = np.concatenate([[self.initial], self.units[settled], [0]]).astype(np.int64)
        bounds = np.column_stack([first, np.maximum(last, first) + 1]).ravel()
        found: Integers = extreme.reduceat(levels, bounds)[::2]
        return found
