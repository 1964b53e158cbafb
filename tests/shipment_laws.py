"""Laws of what warehouses send in a simulated sale, recounted from the scenario file and records.

A law that a shop which oversells must break is asked of all others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from tests.whole_scenarios import Whole

from doorbuster_sim import SimulatedSale

Row = dict[str, Any]


def warehouses_of(whole: Whole) -> dict[str, dict[str, int]]:
    """Units by item and warehouse, as the file says; empty where nothing lies in one."""
    items = whole.file["shop"]["items"]
    return {item["sku"]: item["warehouses"] for item in items if "warehouses" in item}


def shipment_laws(whole: Whole, sale: SimulatedSale) -> Iterator[str]:
    """Parts sum to the order, no warehouse sends what it has not, and one sends all if it can."""
    rows, held = sale.shipments.to_pylist(), warehouses_of(whole)
    if not held:
        if rows:
            yield f"shipments from nowhere: {rows[0]}"
        return
    yield from _sums(whole, sale, rows)
    yield from _levels(held, rows)
    yield from _choices(held, rows)


def _sums(whole: Whole, sale: SimulatedSale, rows: list[Row]) -> Iterator[str]:
    """Each order that was paid for is sent whole, at that moment, and comes back as a whole."""
    bundles = {item["sku"]: item.get("bundle") for item in whole.file["shop"]["items"]}
    sent: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        sent[row["order_id"]][row["sku"]] += row["units"]
    can_lack = whole.scenario.shop.strategy == "check_then_write"
    orders = {order["order_id"]: order for order in sale.orders.to_pylist()}
    for name, order in orders.items():
        each = bundles[order["sku"]] or {order["sku"]: 1}
        due = {sku: units * order["quantity"] for sku, units in each.items()}
        expected = due if order["sold_s"] is not None else {}
        if sent[name] != expected and not (can_lack and not sent[name]):
            yield f"{dict(sent[name])} is sent of {expected}: {order}"
    for row in rows:
        order = orders[row["order_id"]]
        if (row["sent_s"], row["returned_s"]) != (order["sold_s"], order["returned_s"]):
            yield f"sent or back at another moment: {row} {order}"
        if row["units"] <= 0:
            yield f"nothing is sent: {row}"


def _levels(held: dict[str, dict[str, int]], rows: list[Row]) -> Iterator[str]:
    """At every moment each warehouse has what it sends; at one moment units come back first."""
    moves: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for row in rows:
        place = row["sku"], row["warehouse"]
        if row["returned_s"] != row["sent_s"]:
            moves[place].append((row["sent_s"], -row["units"]))
            if row["returned_s"] is not None:
                moves[place].append((row["returned_s"], row["units"]))
    for (sku, warehouse), steps in moves.items():
        level = held[sku].get(warehouse, 0)
        for at_s, units in sorted(steps, key=lambda step: (step[0], -step[1])):
            level += units
            if level < 0:
                yield f"{warehouse} has {level} of {sku} at {at_s}"


def _choices(held: dict[str, dict[str, int]], rows: list[Row]) -> Iterator[str]:
    """The first warehouse that has everything sends it; else the first with the most begins."""
    for at, (name, group) in enumerate(groupby(rows, key=lambda row: row["order_id"])):
        parts = list(group)
        wanted: Counter[str] = Counter()
        for part in parts:
            wanted[part["sku"]] += part["units"]
        before = rows[: rows.index(parts[0])]
        names = list(dict.fromkeys(n for sku in sorted(wanted) for n in held[sku]))
        offers = {}
        for warehouse in names:
            there = {
                sku: held[sku].get(warehouse, 0) - _away(before, sku, warehouse, parts[0]["sent_s"])
                for sku in wanted
            }
            offers[warehouse] = sum(min(there[sku], wanted[sku]) for sku in wanted)
        most = max(offers.values())
        first = next(n for n in names if offers[n] == most)
        senders = list(dict.fromkeys(part["warehouse"] for part in parts))
        if senders[0] != first or (most == wanted.total()) != (len(senders) == 1):
            yield f"{senders} send order {at}, {name}, of {offers}"


def _away(before: list[Row], sku: str, warehouse: str, now_s: float) -> int:
    """Units of earlier rows that are not back by now."""
    return sum(
        row["units"]
        for row in before
        if (row["sku"], row["warehouse"]) == (sku, warehouse)
        and (row["returned_s"] is None or row["returned_s"] > now_s)
    )
