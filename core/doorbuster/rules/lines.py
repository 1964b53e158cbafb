"""What an order takes from the shelf: one line an item of its own, several for a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from doorbuster.scenario.shop import Item

Integers = NDArray[np.int64]


class Taken(NamedTuple):
    """The lines of many orders, (n,) each: which order, which item of the shelf, how many units."""

    order: Integers
    item: Integers
    units: Integers


@dataclass(frozen=True)
class Lines:
    """The lines of one unit of every item, in key order: sorted by the component's sku.

    Those of item i stand at first[i] up to first[i + 1]; an item with a stock of its own has one.
    Whoever takes several lines takes them in this order, so that no two bundles wait for each
    other.
    """

    first: Integers
    item: Integers
    units: Integers

    @classmethod
    def of(cls, items: Sequence[Item]) -> Lines:
        """Of all items of a shop; each component is one of them."""
        place = {item.sku: number for number, item in enumerate(items)}
        rows: list[tuple[int, int]] = []
        first = [0]
        for number, item in enumerate(items):
            parts = {item.sku: 1} if item.bundle is None else item.bundle
            own = {number: 1} if item.bundle is None else None
            rows += (own or {place[sku]: parts[sku] for sku in sorted(parts)}).items()
            first.append(len(rows))
        item_column, units = np.array(rows, np.int64).reshape(-1, 2).T
        return cls(np.array(first, np.int64), item_column, units)

    def __getitem__(self, item: int) -> list[tuple[int, int]]:
        """The lines of one unit of an item: (item of the shelf, units)."""
        mine = slice(int(self.first[item]), int(self.first[item + 1]))
        return list(zip(self.item[mine].tolist(), self.units[mine].tolist(), strict=True))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Item by item."""
        return (self[item] for item in range(len(self.first) - 1))

    @property
    def sizes(self) -> Integers:
        """Units of the shelf in one unit of each item."""
        totals = np.concatenate([[0], np.cumsum(self.units)])
        found: Integers = totals[self.first[1:]] - totals[self.first[:-1]]
        return found

    def explode(self, items: Integers, quantities: Integers) -> Taken:
        """Every line of orders, (n,) and (n,): by order, then in key order."""
        counts = np.diff(self.first)[items]
        order = np.repeat(np.arange(len(items)), counts)
        within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        line = self.first[items][order] + within
        return Taken(order, self.item[line], self.units[line] * quantities[order])

    def on_the_shelf(self, ordered: Integers) -> Integers:
        """Units of each item that so many ordered ones take, (items,) to (items,)."""
        taken = self.explode(np.arange(len(ordered)), ordered)
        found: Integers = np.bincount(
            taken.item, taken.units.astype(np.float64), len(ordered)
        ).astype(np.int64)
        return found

    def ordered(self, taken: Integers, sets: Integers) -> Integers:
        """The other way, given the bundles' own: units that were ordered as what they are."""
        return taken - self.on_the_shelf(sets) + sets
