"""Curves over the sale: counts a second, quantiles over time, stock levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from doorbuster.measures.columns import (
    OUTCOMES,
    REPLIES,
    Floats,
    Integers,
    Mask,
    Requests,
    Stock,
    Visits,
)
from doorbuster.measures.latency import finished, response_s
from doorbuster.measures.outcomes import crossed
from doorbuster.measures.quantiles import quantiles_by_group

BIN_COUNT_MAX = 600
"""More bins than a chart has pixels tell nothing."""
_WIDTHS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_BINS_WANTED = 40
"""A short sale gets narrower bins than a second, so that its curve still has a shape."""


class Bins(NamedTuple):
    """Equal bins over the sale, aligned so that T0 is an edge."""

    start_s: float
    width_s: float
    bin_count: int

    @property
    def edges_s(self) -> Floats:
        """All edges, one more than bins."""
        return np.linspace(
            self.start_s, self.start_s + self.width_s * self.bin_count, self.bin_count + 1
        )

    @property
    def starts_s(self) -> Floats:
        """Left edge of each bin."""
        return self.edges_s[:-1]

    def numbers(self, times_s: Floats) -> tuple[Integers, Mask]:
        """Bin of each time that falls into one, and the mask of those that do."""
        with np.errstate(invalid="ignore"):
            number = np.floor((times_s - self.start_s) / self.width_s)
            inside = (number >= 0) & (number < self.bin_count)
        return number[inside].astype(np.int64), inside

    def rate_per_s(self, times_s: Floats, weights: Floats | None = None) -> Floats:
        """Events a second in each bin; NaN times are no events."""
        numbers, inside = self.numbers(times_s)
        chosen = None if weights is None else weights[inside]
        return np.bincount(numbers, chosen, minlength=self.bin_count) / self.width_s


def bins_over(start_s: float, end_s: float) -> Bins:
    """One-second bins where the sale allows it, wider for a long sale, narrower for a short one."""
    length_s = max(end_s - start_s, 0.1)
    fitting = [w for w in _WIDTHS_S if length_s / w <= BIN_COUNT_MAX] or [length_s / BIN_COUNT_MAX]
    width_s = next((w for w in reversed(fitting) if w <= 1 and length_s / w >= _BINS_WANTED), None)
    width_s = width_s or fitting[0]
    first = np.floor(start_s / width_s + 1e-9)
    last = np.ceil(end_s / width_s - 1e-9)
    return Bins(float(first * width_s), width_s, max(int(last - first), 1))


def arrivals_per_s(visits: Visits, bins: Bins) -> Floats:
    """Planned arrivals a second: the offered load, which no answer of the shop can change."""
    return bins.rate_per_s(visits.arrival_s)


def reservations_per_s(visits: Visits, bins: Bins) -> Floats:
    """Reservations confirmed a second: the admitted load."""
    return bins.rate_per_s(visits.reserved_s)


def orders_per_s(visits: Visits, bins: Bins) -> Floats:
    """Paid orders a second: the goodput."""
    return bins.rate_per_s(visits.paid_s)


def requests_per_s(requests: Requests, bins: Bins) -> Floats:
    """Requests sent a second."""
    return bins.rate_per_s(requests.sent_s)


def replies_per_s(requests: Requests, bins: Bins) -> Floats:
    """Answers a second as a table of bin x reply."""
    numbers, inside = bins.numbers(requests.done_s)
    return crossed(numbers, requests.reply[inside], bins.bin_count, len(REPLIES)) / bins.width_s


def outcomes_per_s(visits: Visits, bins: Bins) -> Floats:
    """Visitors that leave a second as a table of bin x outcome."""
    numbers, inside = bins.numbers(visits.left_s)
    return crossed(numbers, visits.outcome[inside], bins.bin_count, len(OUTCOMES)) / bins.width_s


def response_quantiles_s(requests: Requests, bins: Bins, fractions: Sequence[float]) -> Floats:
    """Quantiles of the response time of what was intended in each bin, shape (fractions, bins).

    NaN for an empty bin.
    """
    ended = finished(requests)
    numbers, inside = bins.numbers(requests.intended_s[ended])
    responses = response_s(requests)[ended][inside]
    return quantiles_by_group(responses, numbers, bins.bin_count, fractions)


def stock_level(stock: Stock, column: str, item: int, at_s: Floats, initial_units: int) -> Floats:
    """Level of one item at each moment, on straight lines between the readings.

    Before the first reading: all units available, none locked or sold. After the last one it
    stays. Range: column is available, locked or sold.
    """
    mine = stock.sku == item
    order = np.argsort(stock.at_s[mine], kind="stable")
    times_s = stock.at_s[mine][order]
    before = float(initial_units) if column == "available" else 0.0
    if not len(times_s):
        return np.full(len(at_s), before)
    levels = getattr(stock, column)[mine][order].astype(np.float64)
    found: Floats = np.interp(at_s, times_s, levels, left=before)
    return found
