"""What the warehouses of a simulated shop send: each order is split when it is paid for.

A shop sells from one shelf, so warehouses change nothing in a sale, and neither engine knows of
them. Which units an order gets depends on what was sold and came back before it, and that the table
of orders tells.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan

import numpy as np
import pyarrow as pa

from doorbuster.measures.books import Orders, orders_of
from doorbuster.records.tables import SHIPMENTS
from doorbuster.rules.lines import Lines
from doorbuster.rules.shipments import Sent, split
from doorbuster.scenario.model import Scenario
from doorbuster_sim.tables import filled, words

_RETURN, _SALE_THAT_RETURNS, _SALE = range(3)
"""In this order at one moment. What comes back at the moment of its sale goes before what stays
away: after that all units may be gone."""


def shipments_table(scenario: Scenario, orders: pa.Table, replication: int) -> pa.Table:
    """The shipments of all orders by the moment of sending, as far as warehouses have the units.

    At one moment units come back before others leave, and orders follow their table.
    """
    columns = orders_of(orders, skus=scenario.skus)
    rows = list(_rows(scenario, columns))
    order = np.array([number for number, _ in rows], np.int64)
    returned_s = columns.returned_s[order]
    place = {sku: number for number, sku in enumerate(scenario.skus)}
    return filled(
        SHIPMENTS,
        {
            "replication": np.full(len(rows), replication, dtype=np.int16),
            "order_id": pa.array(columns.order_id[order], pa.string()),
            "sku": words(np.array([place[sent.sku] for _, sent in rows], np.int64), scenario.skus),
            "warehouse": pa.array([sent.warehouse for _, sent in rows], pa.string()),
            "units": np.array([sent.units for _, sent in rows], np.int64),
            "sent_s": columns.sold_s[order],
            "returned_s": pa.array(returned_s, mask=np.isnan(returned_s)),
        },
    )


def _rows(scenario: Scenario, orders: Orders) -> Iterator[tuple[int, Sent]]:
    """Each shipment with the place of its order in the table."""
    items, skus = scenario.shop.items, scenario.skus
    lines = [[(skus[part], units) for part, units in parts] for parts in Lines.of(items)]
    free = {item.sku: dict(item.warehouses) for item in items if item.warehouses is not None}
    sku, quantity = orders.sku.tolist(), orders.quantity.tolist()
    away: dict[int, tuple[Sent, ...]] = {}
    for _, kind, order in _moves(orders):
        if kind == _RETURN:
            _move(free, away.pop(order, ()), 1)
            continue
        wanted = {part: units * quantity[order] for part, units in lines[sku[order]]}
        shipments = split(wanted, free) or ()
        yield from ((order, sent) for sent in shipments)
        if kind == _SALE:
            _move(free, shipments, -1)
            away[order] = shipments


def _moves(orders: Orders) -> list[tuple[float, int, int]]:
    """Moment, kind and order of everything that leaves a warehouse or comes back, in order."""
    found = []
    sold_s, returned_s = orders.sold_s.tolist(), orders.returned_s.tolist()
    for order in np.flatnonzero(~np.isnan(orders.sold_s)).tolist():
        if returned_s[order] == sold_s[order]:
            found.append((sold_s[order], _SALE_THAT_RETURNS, order))
            continue
        found.append((sold_s[order], _SALE, order))
        if not isnan(returned_s[order]):
            found.append((returned_s[order], _RETURN, order))
    return sorted(found)


def _move(free: dict[str, dict[str, int]], shipments: tuple[Sent, ...], way: int) -> None:
    for sent in shipments:
        free[sent.sku][sent.warehouse] += way * sent.units
