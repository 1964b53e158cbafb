"""What warehouses must have sent: every paid order, whole, out of units that were there.

The judge is the target's books: its orders beside its shipments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from doorbuster.detectors.oversell import steps_below_zero
from doorbuster.detectors.sale import EVIDENCE_MAX, Evidence, SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.columns import Integers
from doorbuster.measures.fault_times import STOPS_DATABASE, STOPS_SHOP, stopped_s
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.shipments import Shipments
from doorbuster.report.numbers import count
from doorbuster.verdict.checks import Check, Status
from doorbuster.verdict.failures import SHOWN_MAX, books_of, told

DISPATCH_WITHIN_S = 2.0
"""So long after its payment an order may wait, live, until it is split, times aside in which shop
or database are down or slow. Assumed: eight rounds of the reference shop's dispatcher. Simulated,
an order is split when it is paid for."""
_STOPS_DISPATCH = (*STOPS_SHOP, *STOPS_DATABASE, "slow_database")

_ID = "invariant.shipments"


def shipment_checks(records: RunRecords) -> list[Check]:
    """The row, with single offences as evidence; none where nothing lies in warehouses."""
    if not records.scenario.shop.has_warehouses:
        return []
    if records.shipments is None:
        return [Check(_ID, "invariant", "not_applicable", f"check.{_ID}.not_told")]
    several = len(records.replications) > 1
    offences: list[Evidence] = []
    for replication in records.replications:
        sale, shipments = books_of(records, replication), records.shipments_in(replication)
        within_s = DISPATCH_WITHIN_S if records.world == "live" else 0.0
        found = offences_of(sale, shipments, within_s=within_s)
        offences += [{"replication": replication, **one} if several else one for one in found]
    shown = "; ".join(told(offence) for offence in offences[:SHOWN_MAX])
    more = len(offences) - SHOWN_MAX
    facts = {
        "count": count(len(offences)),
        "evidence": f"{shown} (+{count(more)})" if more > 0 else shown,
        "orders": count(_order_count(records.shipments)),
        "units": count(int(records.shipments.units.sum())),
    }
    status: Status = "fail" if offences else "pass"
    return [
        Check(
            _ID,
            "invariant",
            status,
            f"check.{_ID}.{status}",
            facts,
            len(offences),
            0,
            "equal",
            proves_alone=True,
            evidence=tuple(offences[:EVIDENCE_MAX]),
        )
    ]


def _order_count(shipments: Shipments) -> int:
    return len(set(zip(shipments.replication.tolist(), shipments.order_id, strict=True)))


def offences_of(sale: SaleBooks, shipments: Shipments, *, within_s: float) -> list[Evidence]:
    """Everything that is wrong with the shipments of one sale.

    within_s: how long a paid order may wait for its split.
    """
    return [
        *_not_what_was_ordered(sale, shipments, within_s),
        *_not_to_be_sent(sale, shipments),
        *_more_than_there_was(sale, shipments),
    ]


def _not_what_was_ordered(
    sale: SaleBooks, shipments: Shipments, within_s: float
) -> Iterator[Evidence]:
    """Lines of paid orders of which too little or too much is sent.

    Nothing has to be sent yet of an order that was paid a moment ago, nor of one whose units came
    back before it was split.
    """
    orders, skus = sale.orders, sale.scenario.skus
    parts: defaultdict[tuple[str, int], int] = defaultdict(int)
    for order_id, item, units in zip(
        shipments.order_id, shipments.sku.tolist(), shipments.units.tolist(), strict=True
    ):
        parts[order_id, item] += units
    sent = {order_id for order_id, _ in parts}
    due_s = orders.sold_s + within_s
    due_s += stopped_s(sale.faults, _STOPS_DISPATCH, orders.sold_s) if within_s else 0.0
    is_due = (due_s < sale.end_s) & np.isnan(orders.returned_s)
    is_due |= np.array([order_id in sent for order_id in orders.order_id], np.bool_)
    is_due &= ~np.isnan(orders.sold_s)
    for order, item, units in zip(*(column.tolist() for column in sale.taken), strict=True):
        order_id = orders.order_id[order]
        found = parts.pop((order_id, item), 0)
        if is_due[order] and found != units:
            yield {
                "order_id": order_id,
                "sku": skus[item],
                "ordered_units": units,
                "sent_units": found,
                "sold_s": float(orders.sold_s[order]),
            }
    known = set(orders.order_id[~np.isnan(orders.sold_s)])
    for (order_id, item), units in parts.items():
        if order_id in known:
            yield {
                "order_id": order_id,
                "sku": skus[item],
                "ordered_units": 0,
                "sent_units": units,
            }


def _not_to_be_sent(sale: SaleBooks, shipments: Shipments) -> Iterator[Evidence]:
    """Shipments of orders that were not paid for by then, and units back without their order."""
    orders = sale.orders
    place = {order_id: number for number, order_id in enumerate(orders.order_id)}
    for number, order_id in enumerate(shipments.order_id):
        order = place.get(order_id)
        sold_s = float("nan") if order is None else float(orders.sold_s[order])
        sent_s, back_s = float(shipments.sent_s[number]), float(shipments.returned_s[number])
        evidence = {
            "order_id": order_id,
            "sku": sale.scenario.skus[shipments.sku[number]],
            "warehouse": shipments.warehouse[number],
            "units": int(shipments.units[number]),
            "sent_s": sent_s,
        }
        if order is None or np.isnan(sold_s):
            yield evidence | {"state": "never paid"}
        elif not sold_s <= sent_s + sale.slack_s:
            yield evidence | {"sold_s": sold_s}
        elif not _same(float(orders.returned_s[order]), back_s, sale.slack_s):
            yield evidence | {
                "order_returned_s": _seconds(float(orders.returned_s[order])),
                "returned_s": _seconds(back_s),
            }


def _more_than_there_was(sale: SaleBooks, shipments: Shipments) -> Iterator[Evidence]:
    """Shipments that took units which their warehouse did not have."""
    places = sorted(set(zip(shipments.warehouse, shipments.sku.tolist(), strict=True)))
    for warehouse, item in places:
        mine = np.flatnonzero((shipments.warehouse == warehouse) & (shipments.sku == item))
        held = sale.scenario.shop.items[item].warehouses or {}
        level = _level(shipments, mine, held.get(warehouse, 0))
        for step in steps_below_zero(level, sale.slack_s):
            yield {
                "order_id": shipments.order_id[level.order[step]],
                "sku": sale.scenario.skus[item],
                "warehouse": warehouse,
                "at_s": float(level.at_s[step]),
                "units_below_zero": int(-level.units[step]),
            }


def _level(shipments: Shipments, mine: Integers, initial: int) -> FreeUnits:
    """Units of one item in one warehouse over time; at equal times units come back first."""
    back = mine[~np.isnan(shipments.returned_s[mine])]
    at_s = np.concatenate([shipments.sent_s[mine], shipments.returned_s[back]])
    moved = np.concatenate([-shipments.units[mine], shipments.units[back]])
    order = np.lexsort((-moved, at_s))
    units = initial + np.cumsum(moved[order])
    return FreeUnits(initial, at_s[order], units, np.concatenate([mine, back])[order])


def _same(one_s: float, other_s: float, slack_s: float) -> bool:
    if np.isnan(one_s) or np.isnan(other_s):
        return bool(np.isnan(one_s) and np.isnan(other_s))
    return abs(one_s - other_s) <= slack_s


def _seconds(time_s: float) -> float | None:
    return None if np.isnan(time_s) else time_s
