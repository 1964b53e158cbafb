"""What objectives are judged by: counts and values, from the records or from tallies."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from doorbuster.measures.columns import STEPS, Floats, Integers, Mask, Visits, take
from doorbuster.measures.histogram import pooled
from doorbuster.measures.intervals import slices_in_time
from doorbuster.measures.latency import failed, finished, response_s, too_late
from doorbuster.measures.objective_values import measure_of, request_count_of
from doorbuster.measures.outcomes import conversion
from doorbuster.measures.quantiles import quantile
from doorbuster.measures.refunds import refunds_of
from doorbuster.measures.refunds import too_late as refunded_too_late
from doorbuster.measures.run_records import RunRecords
from doorbuster.measures.sales import (
    sell_out_s,
    sold_stock_units,
    stock_shares,
    whole_sell_out_s,
)
from doorbuster.measures.tally import Span
from doorbuster.scenario.objectives import (
    Conversion,
    FailedRequests,
    RefundTime,
    ResponseTime,
    SellOut,
    StockShare,
    UnitsSold,
)

Scope = tuple[float, float]
"""Start and end of what an objective speaks about, seconds from T0."""
ValueObjective = Conversion | StockShare | UnitsSold


class RequestEvidence(NamedTuple):
    """Requests counted. Slices are replications where there are several, else cut in time.

    trials, events: shape (slices,). quantile_s: of a response-time objective, a failed request
    waits for ever; NaN otherwise.
    """

    trials: Integers
    events: Integers
    sale_count: int
    quantile_s: float


def request_evidence(
    records: RunRecords, objective: ResponseTime | FailedRequests, scope: Scope
) -> RequestEvidence | None:
    """What is known of the objective's requests; None if there are none."""
    if records.tallies:
        return _tallied_requests(records, objective, scope)
    requests = records.requests
    chosen = (requests.intended_s >= scope[0]) & (requests.intended_s < scope[1])
    if objective.step is not None:
        chosen &= requests.step == STEPS.index(objective.step)
    requests = take(requests, chosen)
    quantile_s = float("nan")
    if isinstance(objective, ResponseTime):
        counts, bad = too_late(requests, objective.at_most, records.end_s)
        waited = np.where(failed(requests) | ~finished(requests), np.inf, response_s(requests))
        quantile_s = quantile(waited[counts], objective.fraction)
    else:
        counts, bad = finished(requests), failed(requests)
    if not counts.any():
        return None
    return _sliced(requests.replication, requests.intended_s, counts, bad, quantile_s)


def refund_evidence(
    records: RunRecords, objective: RefundTime, scope: Scope, limit_s: float
) -> RequestEvidence | None:
    """What the books tell of the refunds of an objective; None if there are none."""
    refunds = refunds_of(records.orders, records.charges)
    inside = (refunds.asked_s >= scope[0]) & (refunds.asked_s < scope[1])
    counts, bad = refunded_too_late(refunds, limit_s, records.end_s)
    counts, bad = counts & inside, bad & inside
    if not counts.any():
        return None
    took_s = np.where(refunds.is_open, np.inf, refunds.took_s)
    quantile_s = quantile(took_s[counts], objective.fraction)
    return _sliced(refunds.replication, refunds.asked_s, counts, bad, quantile_s)


def _sliced(
    replication: Integers, at_s: Floats, counts: Mask, bad: Mask, quantile_s: float
) -> RequestEvidence:
    slices, sale_count = _slices(replication[counts], at_s[counts])
    trials = np.bincount(slices)
    events = np.bincount(slices[bad[counts]], minlength=len(trials))
    return RequestEvidence(trials, events, sale_count, quantile_s)


def _slices(replications: Integers, at_s: Floats) -> tuple[Integers, int]:
    """The slice of everything that counts, and how many sales they are from."""
    numbers = np.unique(replications)
    if len(numbers) > 1:
        return np.searchsorted(numbers, replications), len(numbers)
    return slices_in_time(at_s), 1


def _tallied_requests(
    records: RunRecords, objective: ResponseTime | FailedRequests, scope: Scope
) -> RequestEvidence | None:
    count = request_count_of(objective, Span(*scope))
    found = [t for tally in records.tallies if (t := tally.requests_of(count)).trials.any()]
    if not found:
        return None
    trials, events = found[0].trials, found[0].events
    if len(found) > 1:
        trials = np.array([int(tally.trials.sum()) for tally in found])
        events = np.array([int(tally.events.sum()) for tally in found])
    quantile_s = float("nan")
    if isinstance(objective, ResponseTime):
        quantile_s = pooled([t.response for t in found]).quantile_s(objective.fraction)
    return RequestEvidence(trials, events, len(found), quantile_s)


def sale_values(records: RunRecords, objective: ValueObjective, scope: Scope) -> Floats:
    """The objective's value in each replication, NaN where it has none."""
    if records.tallies:
        return _tallied_values(records, objective, scope)
    return np.array(
        [
            _sale_value(records, objective, _arrived(records.visits_in(replication), scope))
            for replication in records.replications
        ]
    )


def _tallied_values(
    records: RunRecords, objective: ValueObjective | SellOut, scope: Scope
) -> Floats:
    measure = measure_of(objective).within(*scope)
    if isinstance(objective, UnitsSold):
        mine = _items(records, objective)
        span = Span(measure.start_s, measure.end_s)
        ordered = [tally.visits_in(span).item_units for tally in records.tallies]
        sold = np.array([records.lines.on_the_shelf(units)[mine].sum() for units in ordered])
        stock = np.array(records.stock_units)[mine].sum()
        return sold / stock if stock else np.full(len(sold), np.nan)
    return np.array([tally.value(measure, records.scenario) for tally in records.tallies])


def _arrived(visits: Visits, scope: Scope) -> Visits:
    return take(visits, (visits.arrival_s >= scope[0]) & (visits.arrival_s < scope[1]))


def _sale_value(records: RunRecords, objective: ValueObjective, visits: Visits) -> float:
    personas = records.scenario.persona_names
    if isinstance(objective, Conversion):
        chosen = objective.persona
        return conversion(visits, None if chosen is None else personas.index(chosen))
    if isinstance(objective, StockShare):
        shares = stock_shares(visits, len(personas), records.lines)
        return float(shares[personas.index(objective.persona)])
    units = sold_stock_units(visits, records.lines)
    stock = np.array(records.stock_units)
    mine = _items(records, objective)
    return float(units[mine].sum() / stock[mine].sum()) if stock[mine].sum() else float("nan")


def _items(records: RunRecords, objective: UnitsSold | SellOut) -> list[int]:
    skus = records.scenario.skus
    return list(range(len(skus))) if objective.sku is None else [skus.index(objective.sku)]


def sold_out_at(records: RunRecords, objective: SellOut) -> Floats:
    """When the last unit was paid in each replication, seconds from T0; infinite if never."""
    if records.tallies:
        found = _tallied_values(records, objective, (-np.inf, np.inf))
    else:
        found = np.array([_sold_out_s(records, objective, n) for n in records.replications])
    return np.where(np.isfinite(found), found, np.inf)


def _sold_out_s(records: RunRecords, objective: SellOut, replication: int) -> float:
    visits = records.visits_in(replication)
    if objective.sku is None:
        return whole_sell_out_s(visits, records.stock_units, records.lines)
    item = records.scenario.skus.index(objective.sku)
    return sell_out_s(visits, item, records.stock_units[item], records.lines)
