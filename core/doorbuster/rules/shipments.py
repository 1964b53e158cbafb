"""Which warehouses send an order: in one parcel where that can be, else in few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Sent(NamedTuple):
    """Units of one line of an order that one warehouse sends."""

    warehouse: str
    sku: str
    units: int


def split(
    wanted: Mapping[str, int], free: Mapping[str, Mapping[str, int]]
) -> tuple[Sent, ...] | None:
    """The shipments of an order, parcel by parcel; None where the warehouses have too little.

    wanted: the units of each line, in key order. free: for each of their skus the units in its
    warehouses, the preferred one first; an order of several lines goes by its first line's.

    The warehouse that has most of what is left sends it, of several the preferred one, until
    nothing is left. So the first that has all sends all, and whoever has sent something is empty
    of what is left. Not always the fewest parcels that could be: that is a set cover.
    Source: the wiki of Magento's inventory, Source Selection Algorithms: a source is chosen when an
    order is sent, by priority; fewest parcels before priority is ours.
    """
    left = dict(wanted)
    others = list(dict.fromkeys(name for sku in wanted for name in free[sku]))
    shipments: list[Sent] = []
    while left:
        most, best = 0, ""
        for name in others:
            units = sum(min(free[sku].get(name, 0), units) for sku, units in left.items())
            if units > most:  # Of those that have as much, the first.
                most, best = units, name
        if not most:
            return None
        others.remove(best)
        given = {sku: min(free[sku].get(best, 0), units) for sku, units in left.items()}
        shipments += [Sent(best, sku, units) for sku, units in given.items() if units]
        left = {sku: units - given[sku] for sku, units in left.items() if units > given[sku]}
    return tuple(shipments)
