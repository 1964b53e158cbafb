"""What is compared: outcome shares, and measures of the sale and of the requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from doorbuster.comparison.estimates import (
    Estimate,
    difference_interval,
    number,
    over_replications,
    with_borrowed_interval,
)
from doorbuster.measures.columns import OUTCOMES, STEPS, Floats, Requests, take
from doorbuster.measures.intervals import Interval, quantile_interval
from doorbuster.measures.latency import response_s, service_s
from doorbuster.measures.outcomes import conversion, declined_share, failed_share, outcome_shares
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.refunds import Refunds, refund_quantile_s, refunds_of
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.sales import (
    first_gone_s,
    gmv_cents,
    goodput_per_s,
    sold_stock_units,
    whole_sell_out_s,
)
from doorbuster.measures.shipments import split_share

Unit = Literal["count", "fraction", "s", "cents", "per_s"]

SMALL_SHARE_FROM = 0.01
SMALL_SHARE_APART = 0.25
"""Outcomes of at least 1 % that differ by more than a quarter are flagged, too, where the
replications do not explain it: 2 % against 4 % is within three points, and yet twice as many."""
MEASURE_APART = 0.10
"""Measures of the sale further apart than a tenth are flagged where sales do not vary so much."""
SLOWER = 1.5
"""Times of requests apart by more than this factor are named."""
SLOWER_BY_S = 0.001
"""And by at least this much: a factor between two times below a millisecond matters to nobody."""
ORDER_STATISTICS = ("stock_gone", "sell_out", "goodput")
"""Extremes of one sale: the spread of simulated ones says too little about a live one's to be
borrowed."""
_JUDGED_MEASURES = ("requests", "sold_units", "gmv", "refunds", "refund_p50", *ORDER_STATISTICS)


@dataclass(frozen=True)
class Row:
    """One compared number. difference = b - a; the twins are the replications 0 of both sides.

    With the same plan the twins had the same crowd and the same draws, so their difference holds
    no luck of the crowd, only the difference of the two worlds.
    """

    id: str
    unit: Unit
    a: Estimate
    b: Estimate
    twin_a: float
    twin_b: float
    interval: Interval | None
    flagged: bool = False

    @property
    def difference(self) -> float:
        """Mean of B minus mean of A, in the unit of the row."""
        return self.b.value - self.a.value

    @property
    def twin_difference(self) -> float:
        """Replication 0 of B minus replication 0 of A."""
        return self.twin_b - self.twin_a

    @property
    def ratio(self) -> float:
        """B over A; NaN where A is 0."""
        return self.b.value / self.a.value if self.a.value else float("nan")

    def to_json(self) -> dict[str, Any]:
        """The row for `--json`."""
        return {
            "id": self.id,
            "unit": self.unit,
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "twin_a": number(self.twin_a),
            "twin_b": number(self.twin_b),
            "difference": number(self.difference),
            "difference_low": number(self.interval.low) if self.interval else None,
            "difference_high": number(self.interval.high) if self.interval else None,
            "twin_difference": number(self.twin_difference),
            "ratio": number(self.ratio),
            "flagged": self.flagged,
        }


def share_rows(a: RunRecords, b: RunRecords, *, beyond: float) -> tuple[Row, ...]:
    """One row an outcome that occurs on either side; flagged where the means are further apart."""
    rows = []
    for code, outcome in enumerate(OUTCOMES):

        def share(records: RunRecords, replication: int, code: int = code) -> float:
            return float(outcome_shares(records.visits_in(replication))[code])

        row = _row(outcome, "fraction", a, b, share)
        if max(row.a.values, default=0) > 0 or max(row.b.values, default=0) > 0:
            rows.append(_flagged(row, beyond))
    return tuple(rows)


def measure_rows(a: RunRecords, b: RunRecords) -> tuple[Row, ...]:
    """One row a measure that exists on at least one side."""
    rows = [_measure(_row(name, unit, a, b, value)) for name, unit, value in _sale_measures()]
    rows += [_latency(_latency_row(latency, a, b)) for latency in _latencies()]
    return tuple(row for row in rows if len(row.a.values) or len(row.b.values))


def _flagged(row: Row, beyond: float) -> Row:
    shares = row.a.value, row.b.value
    small = max(shares) >= SMALL_SHARE_FROM
    small &= abs(row.difference) > SMALL_SHARE_APART * min(shares)
    apart = abs(row.difference) > beyond or (small and _beyond_luck(row, alone=False))
    return replace(row, flagged=bool(apart))


def _measure(row: Row) -> Row:
    """Flagged where one side has no value, or beyond a tenth and beyond what sales vary by."""
    if row.id not in _JUDGED_MEASURES:
        return row
    if bool(len(row.a.values)) != bool(len(row.b.values)):
        return replace(row, flagged=True)
    larger = max(abs(row.a.value), abs(row.b.value))
    apart = abs(row.difference) > MEASURE_APART * larger and _beyond_luck(row, alone=True)
    return replace(row, flagged=bool(apart))


def _latency(row: Row) -> Row:
    """Flagged where both the factor and the time between the two matter."""
    if not (row.a.value > 0 and row.b.value > 0):
        return row
    factor = max(row.ratio, 1 / row.ratio)
    return replace(row, flagged=factor > SLOWER and abs(row.difference) > SLOWER_BY_S)


def _beyond_luck(row: Row, *, alone: bool) -> bool:
    """Whether the interval of the difference leaves 0 out; `alone` is for two single sales."""
    if row.interval is None:
        return alone
    return not row.interval.low <= 0 <= row.interval.high


def _row(
    name: str,
    unit: Unit,
    a: RunRecords,
    b: RunRecords,
    value: Callable[[RunRecords, int], float],
) -> Row:
    side_a, side_b = over_replications(a, value), over_replications(b, value)
    lends = name not in ORDER_STATISTICS
    return Row(
        name,
        unit,
        with_borrowed_interval(side_a, side_b) if lends else side_a,
        with_borrowed_interval(side_b, side_a) if lends else side_b,
        value(a, 0),
        value(b, 0),
        difference_interval(side_a, side_b),
    )


Measure = tuple[str, Unit, Callable[[RunRecords, int], float]]


def _sale_measures() -> Iterator[Measure]:
    yield "visitors", "count", lambda r, n: float(len(r.visits_in(n).visitor))
    yield "requests", "count", lambda r, n: float(len(r.requests_in(n).visitor)) or float("nan")
    yield "sold_units", "count", lambda r, n: float(_sold(r, n))
    yield "gmv", "cents", lambda r, n: float(gmv_cents(r.visits_in(n)))
    yield "stock_gone", "s", all_gone_s
    yield "sell_out", "s", lambda r, n: whole_sell_out_s(r.visits_in(n), r.stock_units, r.lines)
    yield (
        "goodput",
        "per_s",
        lambda r, n: goodput_per_s(r.visits_in(n), r.end_s, start_s=r.start_s),
    )
    yield "refunds", "count", lambda r, n: float(len(_refunds(r, n).order)) or float("nan")
    yield "refund_p50", "s", lambda r, n: refund_quantile_s(_refunds(r, n), 0.50)
    yield "refund_p95", "s", lambda r, n: refund_quantile_s(_refunds(r, n), 0.95)
    yield "split_orders", "fraction", lambda r, n: split_share(r.shipments_in(n))
    yield "conversion", "fraction", lambda r, n: conversion(r.visits_in(n))
    yield "failed_requests", "fraction", lambda r, n: failed_share(r.requests_in(n))
    yield "declined_payments", "fraction", lambda r, n: declined_share(r.requests_in(n))


def _refunds(records: RunRecords, replication: int) -> Refunds:
    return refunds_of(records.orders_in(replication), records.charges_in(replication))


def _sold(records: RunRecords, replication: int) -> int:
    return int(sold_stock_units(records.visits_in(replication), records.lines).sum())


def all_gone_s(records: RunRecords, replication: int) -> float:
    """First moment at which every item had run out at least once, seconds; NaN if one never did."""
    stock = records.stock_in(replication)
    items = (i for i, units in enumerate(records.stock_units) if units)
    times = [first_gone_s(stock, item) for item in items]
    return max(times) if times and not np.isnan(times).any() else float("nan")


class _Latency(NamedTuple):
    """One quantile of one latency of one step."""

    name: str
    step: int
    fraction: float
    of: Callable[[Requests], Floats]

    def values(self, records: RunRecords, replication: int) -> tuple[Floats, Floats]:
        """The latencies and the moments of their requests."""
        requests = records.requests_in(replication)
        requests = take(requests, requests.step == self.step)
        latencies = self.of(requests)
        known = ~np.isnan(latencies)
        return latencies[known], requests.intended_s[known]

    def value(self, records: RunRecords, replication: int) -> float:
        """The quantile of one replication, seconds."""
        return quantile(self.values(records, replication)[0], self.fraction)


def _latencies() -> Iterator[_Latency]:
    for code, step in enumerate(STEPS):
        yield _Latency(f"response_p50.{step}", code, 0.50, response_s)
        yield _Latency(f"response_p95.{step}", code, 0.95, response_s)
        yield _Latency(f"service_p50.{step}", code, 0.50, service_s)


def _latency_row(latency: _Latency, a: RunRecords, b: RunRecords) -> Row:
    side_a, side_b = (_of_requests(latency, records) for records in (a, b))
    return Row(
        latency.name,
        "s",
        side_a,
        side_b,
        latency.value(a, 0),
        latency.value(b, 0),
        difference_interval(side_a, side_b),
    )


def _of_requests(latency: _Latency, records: RunRecords) -> Estimate:
    """A single run has many requests: its interval is its own, by sectioning, not borrowed."""
    side = over_replications(records, latency.value)
    if len(records.replications) > 1:
        return side
    own = quantile_interval(*latency.values(records, 0), latency.fraction)
    return replace(side, interval=own)
