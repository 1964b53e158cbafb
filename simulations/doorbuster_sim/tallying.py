"""Counts the rows of a sale as they come, and keeps none of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable, inlined, plain
from doorbuster.measures.columns import OUTCOMES, REPLIES, STEPS, Integers
from doorbuster.measures.histogram import BUCKET_COUNT, Histogram, bucket_of
from doorbuster.measures.intervals import SLICE_COUNT
from doorbuster.measures.tally import (
    SLICE_BINS,
    RequestTally,
    SaleTally,
    TallyPlan,
    VisitTally,
    slices,
    step_code,
)
from doorbuster.plan import Timetable
from doorbuster.rules.lines import Lines
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import FAILED_REPLIES, Outcome
from doorbuster_sim import clock
from doorbuster_sim.clock import NANOSECONDS
from doorbuster_sim.tables import ABSENT_NS

to_ns, to_s = plain(clock.to_ns), plain(clock.to_s)

Rows = NDArray[np.void]

_SOLD, _REFUNDED = int(Outcome.SOLD), int(Outcome.REFUNDED)
_UNSURE = tuple(int(o) for o in (Outcome.CUT_OFF, Outcome.GAVE_UP, Outcome.FAILED))
_OVERLOADED, _ERROR, _TIMEOUT = (int(reply) for reply in FAILED_REPLIES)


class _RequestCounts(NamedTuple):
    """Every request count as arrays; n of them. limit_s: NaN where failures are counted."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    step: Integers
    limit_s: NDArray[np.float64]
    bins: Integers  # shape (n, 2, SLICE_BINS): trials and events
    buckets: Integers  # shape (n, BUCKET_COUNT)
    never: Integers
    replies: Integers  # shape (steps, replies)


class _VisitCounts(NamedTuple):
    """Every span as arrays; n of them, and what is counted of the whole sale."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    visitors: Integers  # this and the following: shape (n, personas)
    sold: Integers
    units: Integers
    item_units: Integers  # shape (n, items)
    paid_cents: Integers
    outcomes: Integers  # shape (personas, outcomes)
    told: Integers  # this and the following: shape (items,)
    unsure: Integers
    wrong_price: Integers
    sizes: Integers  # units of the shelf in one that is ordered
    units_left: Integers
    sell_out_s: NDArray[np.float64]
    last_paid_s: NDArray[np.float64]
    first_line: Integers  # as in `Lines`
    line_items: Integers
    line_units: Integers


class Tallying:
    """A sink of a sale: give it the rows, then ask for the `tally`."""

    def __init__(self, scenario: Scenario, timetable: Timetable, plan: TallyPlan) -> None:
        self._plan = plan
        self._requests_told = self._requests_found = 0
        self._start_s, self._end_s = timetable.start_s, timetable.end_s
        self._last_moment_s = to_s(to_ns(timetable.end_s))
        items = scenario.shop.items
        lines = Lines.of(items)
        persona_count, item_count = len(scenario.persona_names), len(items)
        self._prices = np.array([item.price_cents for item in items], dtype=np.int64)
        coupon = scenario.shop.coupon
        self._off_cents = 0 if coupon is None else coupon.off_cents
        counts, spans = plan.requests, plan.spans
        self._requests = _RequestCounts(
            start_s=np.array([count.span.start_s for count in counts], dtype=np.float64),
            end_s=np.array([count.span.end_s for count in counts], dtype=np.float64),
            step=np.array([step_code(count.step) for count in counts], dtype=np.int64),
            limit_s=np.array(
                [np.nan if c.limit_s is None else c.limit_s for c in counts], dtype=np.float64
            ),
            bins=_zeros(len(counts), 2, SLICE_BINS),
            buckets=_zeros(len(counts), BUCKET_COUNT),
            never=_zeros(len(counts)),
            replies=_zeros(len(STEPS), len(REPLIES)),
        )
        self._visits = _VisitCounts(
            start_s=np.array([span.start_s for span in spans], dtype=np.float64),
            end_s=np.array([span.end_s for span in spans], dtype=np.float64),
            visitors=_zeros(len(spans), persona_count),
            sold=_zeros(len(spans), persona_count),
            units=_zeros(len(spans), persona_count),
            item_units=_zeros(len(spans), item_count),
            paid_cents=_zeros(len(spans)),
            outcomes=_zeros(persona_count, len(OUTCOMES)),
            told=_zeros(item_count),
            unsure=_zeros(item_count),
            wrong_price=_zeros(item_count),
            sizes=lines.sizes,
            first_line=lines.first,
            line_items=lines.item,
            line_units=lines.units,
            units_left=np.array([item.stock for item in items], dtype=np.int64),
            sell_out_s=np.full(item_count, np.nan),
            last_paid_s=np.full(item_count, -np.inf),
        )

    def requests(self, rows: Rows) -> None:
        """Requests in any order; rows of `REQUEST_ROW`."""
        self._requests_found += len(rows)
        _count_requests(self._requests, rows, self._start_s, self._end_s)

    def visits(self, rows: Rows) -> None:
        """Visits in the order in which they end; rows of `VISIT_ROW`."""
        self._requests_told += int(rows["request_count"].sum())
        _count_visits(self._visits, rows, self._prices, self._off_cents, self._last_moment_s)

    def orders(self, rows: Rows) -> None:
        """The books are not counted."""

    def charges(self, rows: Rows) -> None:
        """Nor is this half of them."""

    def tally(self, planned: int) -> SaleTally:
        """What was counted so far. planned: visitors of the plan."""
        requests, visits = self._requests, self._visits
        return SaleTally(
            plan=self._plan,
            visits=tuple(
                VisitTally(
                    visitors=visits.visitors[n].copy(),
                    sold=visits.sold[n].copy(),
                    units=visits.units[n].copy(),
                    item_units=visits.item_units[n].copy(),
                    paid_cents=int(visits.paid_cents[n]),
                )
                for n in range(len(self._plan.spans))
            ),
            requests=tuple(self._request_tally(n) for n in range(len(self._plan.requests))),
            outcomes=visits.outcomes.copy(),
            replies=requests.replies.copy(),
            told=visits.told.copy(),
            unsure=visits.unsure.copy(),
            wrong_price=visits.wrong_price.copy(),
            sell_out_s=visits.sell_out_s.copy(),
            planned=planned,
            requests_told=self._requests_told,
            requests_found=self._requests_found,
        )

    def _request_tally(self, n: int) -> RequestTally:
        counts = self._requests
        trials, events = slices(counts.bins[n], SLICE_COUNT)
        return RequestTally(trials, events, Histogram.of(counts.buckets[n], int(counts.never[n])))


def _zeros(*shape: int) -> Integers:
    return np.zeros(shape, dtype=np.int64)


@compilable
def _count_requests(counts: _RequestCounts, rows: Rows, start_s: float, end_s: float) -> None:
    """Add requests to every count that they belong to.

    start_s, end_s: of the sale. Moments are compared as the seconds that records hold.
    """
    bins_per_s = SLICE_BINS / (end_s - start_s)
    for place in range(len(rows)):
        row = rows[place]
        step, reply = row["step"] - 1, row["reply"]
        has_end = row["done_ns"] != ABSENT_NS
        has_failed = reply == _OVERLOADED or reply == _ERROR or reply == _TIMEOUT  # noqa: PLR1714
        sent_s = row["sent_ns"] / NANOSECONDS
        waited_s = end_s - sent_s
        bucket = 0
        if has_end:
            counts.replies[step, reply] += 1
            waited_s = row["done_ns"] / NANOSECONDS - sent_s
            bucket = bucket_of(row["done_ns"] - row["sent_ns"])
        time_bin = min(max(int((sent_s - start_s) * bins_per_s), 0), SLICE_BINS - 1)
        for n in range(len(counts.step)):
            if counts.step[n] >= 0 and counts.step[n] != step:
                continue
            if sent_s < counts.start_s[n] or sent_s >= counts.end_s[n]:
                continue
            if np.isnan(counts.limit_s[n]):
                is_counted, is_event, ends = has_end, has_failed, has_end
            else:
                is_event = (has_end and has_failed) or waited_s > counts.limit_s[n]
                is_counted, ends = has_end or is_event, has_end and not has_failed
            if not is_counted:
                continue
            counts.bins[n, 0, time_bin] += 1
            counts.bins[n, 1, time_bin] += 1 if is_event else 0
            if ends:
                counts.buckets[n, bucket] += 1
            else:
                counts.never[n] += 1


@compilable
def _count_visits(
    counts: _VisitCounts, rows: Rows, prices: Integers, off_cents: int, end_s: float
) -> None:
    """Add visits to every span that they arrived in.

    off_cents: what a coupon may take off. end_s: of the sale, on its clock.
    """
    for place in range(len(rows)):
        row = rows[place]
        outcome, persona, item = row["outcome"], row["persona"], row["item"]
        units, cents = row["quantity"], row["price_paid_cents"]
        is_sold = outcome == _SOLD
        # Only the end of the sale keeps a visitor from coming, who arrives at that moment then.
        arrival_s = end_s
        if row["started_ns"] != ABSENT_NS:
            arrival_s = row["started_ns"] / NANOSECONDS
        counts.outcomes[persona, outcome] += 1
        for n in range(len(counts.start_s)):
            if arrival_s < counts.start_s[n] or arrival_s >= counts.end_s[n]:
                continue
            counts.visitors[n, persona] += 1
            if is_sold:
                counts.sold[n, persona] += 1
                counts.units[n, persona] += units * counts.sizes[item]
                counts.item_units[n, item] += units
            if is_sold or outcome == _REFUNDED:
                counts.paid_cents[n] += cents
        if is_sold or outcome == _REFUNDED:
            counts.told[item] += 1
            less_cents = prices[item] * units - cents
            counts.wrong_price[item] += 1 if less_cents not in (0, off_cents) else 0
        if is_sold:
            paid_s = row["paid_ns"] / NANOSECONDS
            for line in range(counts.first_line[item], counts.first_line[item + 1]):
                _take_line(counts, line, units, paid_s)
        if row["reserved_ns"] != ABSENT_NS and outcome in _UNSURE:
            counts.unsure[item] += 1


@inlined
def _take_line(counts: _VisitCounts, line: int, quantity: int, paid_s: float) -> None:
    """One line of a sold order less on the shelf."""
    item, units = counts.line_items[line], counts.line_units[line] * quantity
    # Who asks for the money in vain ends later than others who have paid after.
    last_s = max(paid_s, counts.last_paid_s[item])
    counts.last_paid_s[item] = last_s
    left = counts.units_left[item]
    counts.units_left[item] = left - units
    if left > 0 and left <= units:
        counts.sell_out_s[item] = last_s


__all__ = ["Rows", "Tallying"]
