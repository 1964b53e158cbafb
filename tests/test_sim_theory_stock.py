"""Stock and locks on the compiled engine against theory, and the arrivals that both stand on.

As in `tests/test_sim_theory.py`: equivalence within 1 % (3 % for tails), error rates of 1e-4 for
each value. A Poisson stream whose visitors each want one of many items at random is one independent
Poisson stream for each item, so one sale of many items is as many experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tests.equivalence import FIRST_SEED, PILOT_RUNS, TAIL, Theory, assert_equivalent, compare
from tests.queue_theory import LOOKER, erlang_b, run, sale

from doorbuster.plan import Timetable, build_plan
from doorbuster.vocabulary import Action, Outcome, Reply

BUYER: dict[str, Any] = {
    "share": 1,
    "buy_fraction": 1.0,
    "unpaid_fraction": 0.0,
    "think_time": {"kind": "constant", "value": 0},
    "payment_time": {"kind": "constant", "value": 0},
    "refresh_limit": 0,
    "restock_refresh_limit": 0,
    "retry_limit": 0,
}
"""Looks, reserves and pays in the nanosecond of the arrival, or finds nothing left and goes."""


def many(items: int, stock: int, **shop: Any) -> dict[str, Any]:
    """A shop of equal items."""
    goods = [{"sku": f"item-{n}", "stock": stock, "price": 1} for n in range(items)]
    return {"lock_time": "100d", "release_sweep": "100d", "items": goods, **shop}


def by_item(items: NDArray[Any], count: int) -> NDArray[np.float64]:
    """How often each item occurs."""
    return np.bincount(items, minlength=count).astype(float)


def test_a_fixed_stock_against_poisson_demand() -> None:
    """E[min(D, Q)] = sum of P(D > k) over k < Q; P(sold out) = P(D >= Q)."""
    items, stock, demand = 2000, 20, 20.0
    scenario = sale(items * demand, 1.0, BUYER, shop=many(items, stock))

    def measured(seed: int) -> Mapping[str, float]:
        sold = np.array([item.sold_units for item in run(scenario, seed)[1].audit().items])
        return {"sold": float(sold.mean()), "sold out": float((sold == stock).mean())}

    demands = stats.poisson(demand)
    theories = {
        "sold": Theory(float(demands.sf(np.arange(stock)).sum())),
        "sold out": Theory(float(demands.sf(stock - 1)), TAIL),
    }
    assert_equivalent(measured, theories)
    one_more = sale(items * demand, 1.0, BUYER, shop=many(items, stock + 1))

    def altered(seed: int) -> Mapping[str, float]:
        sold = [item.sold_units for item in run(one_more, seed)[1].audit().items]
        return {"sold": float(np.mean(sold))}

    sold_only = {"sold": theories["sold"]}
    assert compare(altered, sold_only, most_runs=PILOT_RUNS)["sold"].is_different


def test_a_stock_is_sold_out_after_a_gamma_time() -> None:
    """The Q-th buyer comes after Gamma(Q, lambda), on average after Q / lambda."""
    items, stock = 500, 50
    # Three times as many come as there are units: that an item stays is less likely than 1e-16.
    scenario = sale(items * stock * 3.0, 1.0, BUYER, shop=many(items, stock))
    mean_s = 1 / 3.0

    def measured(seed: int) -> Mapping[str, float]:
        visits = run(scenario, seed)[0].all_visits()
        sold = visits[visits["outcome"] == Outcome.SOLD]
        last_ns = np.zeros(items)
        np.maximum.at(last_ns, sold["item"], sold["paid_ns"])
        assert len(sold) == items * stock
        return {"mean": float(last_ns.mean()) * 1e-9}

    assert_equivalent(measured, {"mean": Theory(mean_s)})


def test_locks_that_nobody_pays_are_erlang_b_in_the_stock() -> None:
    """Stock Q as Q servers, lock time as holding time; insensitive, so a fixed time is exact.

    A unit comes back at the first sweep after its lock time: on average half a sweep later. The
    lock time is a multiple of the sweep, so how much later depends on the moment of the lock
    within a sweep alone, and is as good as uniform where a sweep is a thousandth of a lock.
    """
    items, stock, per_lock, warm_up_s, measured_s = 200, 10, 12.0, 20.0, 30.0
    holder = {**BUYER, "unpaid_fraction": 1.0}
    shop = many(items, stock, lock_time="1s", release_sweep="1ms")
    scenario = sale(items * per_lock, warm_up_s + measured_s, holder, shop=shop)

    def measured(seed: int) -> Mapping[str, float]:
        visits = run(scenario, seed)[0].all_visits()
        visits = visits[visits["started_ns"] >= warm_up_s * 1e9]
        refused = visits["outcome"] == Outcome.SOLD_OUT
        more = len(visits) / (items * per_lock * measured_s) - 1
        return {"refused": float(refused.mean()), "more came": more}

    theories = {"refused": Theory(erlang_b(per_lock * 1.0005, stock))}
    assert_equivalent(measured, theories, controls=("more came",))


def test_locks_until_a_unit_is_sold_are_geometric() -> None:
    """Who holds a unit pays with probability p, else it comes back: 1 / p locks on average."""
    items, paid = 4000, 0.7
    # Two visitors a lock time and item. That 36 lock times are not enough is less likely than
    # 1e-9 for one item; it would fail the test and not be passed over.
    holder = {**BUYER, "unpaid_fraction": 1 - paid}
    shop = many(items, 1, lock_time="100ms", release_sweep="1ms")
    scenario = sale(items * 20.0, 3.6, holder, shop=shop)

    def measured(seed: int) -> Mapping[str, float]:
        rows, sold = run(scenario, seed)
        requests, visits = rows.all_requests(), rows.all_visits()
        assert all(item.sold_units == 1 for item in sold.audit().items)
        is_lock = (requests["step"] == Action.RESERVE) & (requests["reply"] == Reply.OK)
        item_of = np.zeros(len(visits), int)
        item_of[visits["visitor"]] = visits["item"]
        locks = by_item(item_of[requests["visitor"][is_lock]], items)
        return {"mean": float(locks.mean()), "more than one": float((locks > 1).mean())}

    assert_equivalent(measured, {"mean": Theory(1 / paid), "more than one": Theory(1 - paid, TAIL)})


def zero_hour(expected_visitors: float) -> Timetable:
    """A rate that jumps at the opening and falls from there."""
    shape = {"kind": "zero_hour", "peak": 50, "half_life": "100s", "floor": 1}
    scenario = sale(1.0, 1000.0, LOOKER, shape=shape)
    factor = expected_visitors / Timetable.of(scenario).expected_visitors
    return Timetable.of(scenario, load_factor=factor)


def test_arrivals_are_poisson_at_the_rate_of_the_timetable() -> None:
    """Counts in bins of equal expectation: mean, variance, and no word from bin to bin.

    The bins are no multiples of the cells in which a plan is drawn.
    """
    bins, per_bin = 10_000, 20.0
    timetable = zero_hour(bins * per_bin)
    scenario = sale(1.0, 1000.0, LOOKER)

    def measured(seed: int) -> Mapping[str, float]:
        plan = build_plan(scenario, seed, timetable)
        areas = timetable.area(plan.arrival_s)
        counts = by_item((areas / per_bin).astype(int), bins)
        near = float(np.mean((counts[1:] - per_bin) * (counts[:-1] - per_bin)))
        return {
            "mean": float(counts.mean()),
            "variance": float(np.mean((counts - per_bin) ** 2)),
            "one more than a neighbour": near / per_bin + 1,
        }

    one = Theory(1.0)
    theories = {"mean": Theory(per_bin), "variance": Theory(per_bin, TAIL)}
    assert_equivalent(measured, theories | {"one more than a neighbour": one})
    areas = timetable.area(build_plan(scenario, FIRST_SEED, timetable).arrival_s)
    test = stats.kstest(areas / timetable.expected_visitors, "uniform")
    assert test.pvalue > 1e-4
