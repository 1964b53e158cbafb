"""Values of one whole sale by their names: what replications are averaged over.

A name is a kind, and after a colon what it is of: `conversion`, `conversion:bot`,
`response-p95:browse`. docs/measures.md defines the kinds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from doorbuster.documents import suggestion
from doorbuster.measures.books import NO_CHARGES, NO_ORDERS, Charges, Orders
from doorbuster.measures.columns import STEPS, Requests, Visits, take
from doorbuster.measures.latency import finished, response_s
from doorbuster.measures.outcomes import conversion, failed_share
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.refunds import Refunds, refund_quantile_s, refunds_of
from doorbuster.measures.sales import (
    gmv_cents,
    sell_out_s,
    sold_units,
    stock_shares,
    whole_sell_out_s,
)
from doorbuster.measures.shipments import NO_SHIPMENTS, Shipments, split_share
from doorbuster.rules.lines import Lines
from doorbuster.scenario.model import Scenario

Unit = Literal["count", "fraction", "s", "cents"]
_QUANTILE = re.compile(r"(response|refund)-p(\d{1,2}(?:\.\d{1,3})?)")
OF_BOOKS = ("refund", "open-refunds", "split-orders")
"""Kinds that the books tell, not the visitors."""


class MeasureError(Exception):
    """A name that no measure has; says which there are."""


class Sale(NamedTuple):
    """The records of one sale; times in seconds from T0."""

    scenario: Scenario
    visits: Visits
    requests: Requests
    orders: Orders = NO_ORDERS
    charges: Charges = NO_CHARGES
    shipments: Shipments = NO_SHIPMENTS


@dataclass(frozen=True)
class SaleMeasure:
    """One value a sale.

    of: a persona, an item or a step, depending on the kind. Only visitors who arrive in
    [start_s, end_s), and what was intended then, count.
    """

    name: str
    kind: str
    of: str | None = None
    fraction: float = 0.95
    """For `response` and `refund`: which quantile."""
    start_s: float = -np.inf
    end_s: float = np.inf

    @property
    def unit(self) -> Unit:
        """The unit of the value."""
        return _KINDS[self.kind].unit

    def value(self, sale: Sale) -> float:
        """The value in this sale; NaN where it has none, as a sell-out time without sell-out."""
        return _KINDS[self.kind].value(self, sale)

    def within(self, start_s: float, end_s: float) -> SaleMeasure:
        """The same, of a stretch of the sale."""
        return replace(self, start_s=start_s, end_s=end_s)


def measure_named(name: str, scenario: Scenario) -> SaleMeasure:
    """The measure of this name. Raises: MeasureError with the names there are."""
    word, colon, of = name.partition(":")
    quantile_of = _QUANTILE.fullmatch(word)
    kind = quantile_of[1] if quantile_of else word
    if kind not in _KINDS or (kind in _OF_QUANTILES and quantile_of is None):
        message = f"{name}: no such measure; allowed: {', '.join(MEASURE_NAMES)}"
        raise MeasureError(message + suggestion(word, [n.partition("[")[0] for n in MEASURE_NAMES]))
    allowed = _KINDS[kind].of(scenario)
    if colon and of not in allowed:
        message = f"{name}: {of!r} is none of its kind; allowed: {', '.join(allowed) or 'nothing'}"
        raise MeasureError(message)
    if kind == "stock-share" and not colon:
        message = f"{name}: of whom? write stock-share:PERSONA, one of {', '.join(allowed)}"
        raise MeasureError(message)
    fraction = float(quantile_of[2]) / 100 if quantile_of else 0.95
    if not 0 < fraction < 1:
        message = f"{name}: there is no such percentile; allowed: above p0 and below p100"
        raise MeasureError(message)
    return SaleMeasure(name, kind, of or None, fraction)


def standard_measures(scenario: Scenario) -> list[SaleMeasure]:
    """What is told of every simulated run."""
    names = ["units-sold", "gmv", "conversion", "sell-out", "failed-requests", "response-p95"]
    if scenario.shop.refund is not None:
        names += ["refund-p50", "refund-p99", "open-refunds"]
    if scenario.shop.has_warehouses:
        names.append("split-orders")
    return [measure_named(name, scenario) for name in names]


MEASURE_NAMES = (
    "units-sold[:SKU]",
    "gmv",
    "conversion[:PERSONA]",
    "stock-share:PERSONA",
    "sell-out[:SKU]",
    "failed-requests[:STEP]",
    "response-pNN[:STEP]",
    "refund-pNN",
    "open-refunds",
    "split-orders",
)
"""The names for people; square brackets may be left out, NN is a percentile."""


# --- the kinds ---


def _visits(measure: SaleMeasure, sale: Sale) -> Visits:
    arrival_s = sale.visits.arrival_s
    if measure.start_s == -np.inf and measure.end_s == np.inf:
        return sale.visits
    return take(sale.visits, (arrival_s >= measure.start_s) & (arrival_s < measure.end_s))


def _requests(measure: SaleMeasure, sale: Sale) -> Requests:
    intended_s = sale.requests.intended_s
    chosen = (intended_s >= measure.start_s) & (intended_s < measure.end_s)
    if measure.of is not None:
        chosen &= sale.requests.step == STEPS.index(measure.of)
    return sale.requests if chosen.all() else take(sale.requests, chosen)


def _units_sold(measure: SaleMeasure, sale: Sale) -> float:
    units = sold_units(_visits(measure, sale), len(sale.scenario.skus))
    chosen = units if measure.of is None else units[sale.scenario.skus.index(measure.of)]
    return float(chosen.sum())


def _gmv(measure: SaleMeasure, sale: Sale) -> float:
    return float(gmv_cents(_visits(measure, sale)))


def _conversion(measure: SaleMeasure, sale: Sale) -> float:
    names = sale.scenario.persona_names
    return conversion(
        _visits(measure, sale), None if measure.of is None else names.index(measure.of)
    )


def _stock_share(measure: SaleMeasure, sale: Sale) -> float:
    names = sale.scenario.persona_names
    assert measure.of is not None
    shares = stock_shares(_visits(measure, sale), len(names), _lines(sale))
    return float(shares[names.index(measure.of)])


def _lines(sale: Sale) -> Lines:
    return Lines.of(sale.scenario.shop.items)


def _sell_out(measure: SaleMeasure, sale: Sale) -> float:
    stock_units = tuple(item.stock for item in sale.scenario.shop.items)
    if measure.of is None:
        return whole_sell_out_s(sale.visits, stock_units, _lines(sale))
    item = sale.scenario.skus.index(measure.of)
    return sell_out_s(sale.visits, item, stock_units[item], _lines(sale))


def _failed_requests(measure: SaleMeasure, sale: Sale) -> float:
    return failed_share(_requests(measure, sale))


def _response(measure: SaleMeasure, sale: Sale) -> float:
    requests = _requests(measure, sale)
    return quantile(response_s(requests)[finished(requests)], measure.fraction)


def _refunds(measure: SaleMeasure, sale: Sale) -> Refunds:
    refunds = refunds_of(sale.orders, sale.charges)
    chosen = (refunds.asked_s >= measure.start_s) & (refunds.asked_s < measure.end_s)
    return refunds.chosen(chosen)


def _refund(measure: SaleMeasure, sale: Sale) -> float:
    return refund_quantile_s(_refunds(measure, sale), measure.fraction)


def _open_refunds(measure: SaleMeasure, sale: Sale) -> float:
    return float(_refunds(measure, sale).is_open.sum())


def _split_orders(measure: SaleMeasure, sale: Sale) -> float:
    sent_s = sale.shipments.sent_s
    chosen = (sent_s >= measure.start_s) & (sent_s < measure.end_s)
    return split_share(take(sale.shipments, chosen))


class _Kind(NamedTuple):
    unit: Unit
    of: Callable[[Scenario], list[str]]
    value: Callable[[SaleMeasure, Sale], float]


def _items(scenario: Scenario) -> list[str]:
    return list(scenario.skus)


def _personas(scenario: Scenario) -> list[str]:
    return list(scenario.persona_names)


def _steps(_: Scenario) -> list[str]:
    return list(STEPS)


def _nothing(_: Scenario) -> list[str]:
    return []


_KINDS: dict[str, _Kind] = {
    "units-sold": _Kind("count", _items, _units_sold),
    "gmv": _Kind("cents", _nothing, _gmv),
    "conversion": _Kind("fraction", _personas, _conversion),
    "stock-share": _Kind("fraction", _personas, _stock_share),
    "sell-out": _Kind("s", _items, _sell_out),
    "failed-requests": _Kind("fraction", _steps, _failed_requests),
    "response": _Kind("s", _steps, _response),
    "refund": _Kind("s", _nothing, _refund),
    "open-refunds": _Kind("count", _nothing, _open_refunds),
    "split-orders": _Kind("fraction", _nothing, _split_orders),
}
_OF_QUANTILES = ("response", "refund")
