"""What was sold, to whom, when, and for how much."""

from __future__ import annotations

from typing import cast

import numpy as np

from doorbuster.measures.columns import Floats, Integers, Stock, Visits
from doorbuster.rules.lines import Lines
from doorbuster.vocabulary import Outcome


def sold_units(visits: Visits, item_count: int) -> Integers:
    """Units of paid orders by the item that was ordered, sets of bundles, as visitors were told."""
    return _units_by(visits.sku, visits.quantity, visits, item_count)


def sold_stock_units(visits: Visits, lines: Lines) -> Integers:
    """Units of paid orders by item of the shelf, those in bundles among them."""
    return lines.on_the_shelf(sold_units(visits, len(lines.sizes)))


def units_by_persona(visits: Visits, persona_count: int, lines: Lines) -> Integers:
    """Units of the shelf in paid orders by persona: who got the stock."""
    return _units_by(
        visits.persona, visits.quantity * lines.sizes[visits.sku], visits, persona_count
    )


def stock_shares(visits: Visits, persona_count: int, lines: Lines) -> Floats:
    """Share of the sold units by persona; NaN when nothing was sold."""
    units = units_by_persona(visits, persona_count, lines)
    total = int(units.sum())
    return units / total if total else np.full(persona_count, np.nan)


def gmv_cents(visits: Visits) -> int:
    """Gross merchandise value: the amounts of all paid orders, in hundredths of the currency."""
    paid = np.isin(visits.outcome, (int(Outcome.SOLD), int(Outcome.REFUNDED)))
    return int(visits.price_paid_cents[paid].sum())


def sell_out_s(visits: Visits, item: int, stock_units: int, lines: Lines) -> float:
    """Time from the opening until the last unit of an item is paid; NaN if that never happens.

    It is the moment at which the payment was confirmed to the visitor. Units in bundles count.
    """
    sold = np.flatnonzero(visits.outcome == Outcome.SOLD)
    taken = lines.explode(visits.sku[sold], visits.quantity[sold])
    mine = taken.item == item
    paid_s, units = visits.paid_s[sold[taken.order[mine]]], taken.units[mine]
    order = np.argsort(paid_s, kind="stable")
    reached = np.flatnonzero(np.cumsum(units[order]) >= stock_units)
    return float(paid_s[order][reached[0]]) if len(reached) and stock_units else float("nan")


def whole_sell_out_s(visits: Visits, stock_units: tuple[int, ...], lines: Lines) -> float:
    """Time from the opening until the last unit of the last item is paid; NaN if never."""
    times = [
        sell_out_s(visits, item, units, lines) for item, units in enumerate(stock_units) if units
    ]
    return max(times) if times and not np.isnan(times).any() else float("nan")


def first_gone_s(stock: Stock, item: int) -> float:
    """First reading that finds nothing left to reserve, seconds from T0; NaN if none does.

    Lapsed reservations may bring units back later. As exact as the readings are dense.
    """
    gone = (stock.sku == item) & (stock.available <= 0)
    return float(stock.at_s[gone].min()) if gone.any() else float("nan")


def goodput_per_s(visits: Visits, end_s: float, *, start_s: float = 0.0) -> float:
    """Paid orders a second from the start to the last paid order, or to end_s without one.

    start_s: first planned arrival of a run that begins after the opening; else the opening counts.
    """
    paid_s = visits.paid_s[visits.outcome == Outcome.SOLD]
    last_s = float(paid_s.max()) if len(paid_s) else end_s
    span_s = last_s - max(0.0, start_s)
    return len(paid_s) / span_s if span_s > 0 else float("nan")


def _units_by(codes: Integers, units: Integers, visits: Visits, count: int) -> Integers:
    paid = visits.outcome == Outcome.SOLD
    weights = units[paid].astype(np.float64)
    return cast("Integers", np.bincount(codes[paid], weights, minlength=count).astype(np.int64))
