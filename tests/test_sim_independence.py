"""Draws that must have nothing to do with each other, seen in the records of a sale.

A stream that two purposes share leaves every mean as it is and shows in variances and
correlations. Fixed seeds, so nothing here fails by chance; a bound is five standard errors of the
estimate, which a right model passes with any one seed but once in a million.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import SimulatedSale, simulate_sale
from doorbuster_sim.engines import Engine

Build = Callable[..., Scenario]
Floats = np.ndarray[Any, Any]

UNIFORM = {"kind": "uniform", "low": 0, "high": "100ms"}
VARIANCE = 0.1**2 / 12
"""Of UNIFORM, in seconds squared."""


@pytest.fixture(scope="module", params=["simpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def held(scenario: Scenario, engine: Engine) -> SimulatedSale:
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 1, timetable)
    return simulate_sale(scenario, plan, timetable, seed=1, engine=engine)


def crowd(rate: float, **persona: Any) -> dict[str, Any]:
    phase = {"start": 0, "duration": "100s", "shape": {"kind": "constant", "level": 1}}
    return {
        "normal_load_per_s": rate,
        "load_factor": 1,
        "phases": [{"name": "open", **phase}],
        "personas": {"fan": {"share": 1, "request_timeout": "1h", "patience": "1h", **persona}},
        "drain": "100s",
    }


def assert_independent(one: Floats, other: Floats) -> None:
    """The correlation of n independent pairs has the standard error 1 / sqrt n."""
    assert len(one) == len(other) > 1000
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / sqrt(len(one))


@pytest.fixture(scope="module")
def response_s(small_scenario: Build, engine: Engine) -> tuple[Floats, Floats]:
    """Response times of two requests each of 3,000 visitors: network, then two stations."""
    passages = [{"station": "web", "time": UNIFORM}] * 2
    sale = held(
        small_scenario(
            shop={"items": [{"sku": "a", "stock": 10_000, "price": 1}], "lock_time": "1h"},
            crowd=crowd(30, unpaid_fraction=1.0, think_time="1s"),
            service={
                "network": UNIFORM,
                "stations": [{"name": "web", "servers": 10_000}],
                "browse": passages,
                "reserve": passages,
            },
        ),
        engine,
    )
    requests = sale.requests
    visitor = requests["visitor"].to_numpy()
    step = np.array(requests["step"].to_pylist())
    times = requests["done_s"].to_numpy() - requests["sent_s"].to_numpy()
    order = np.argsort(visitor, kind="stable")
    step, times = step[order], times[order]
    return times[step == "browse"], times[step == "reserve"]


def test_network_and_service_times_are_drawn_apart(response_s: tuple[Floats, Floats]) -> None:
    """The variance of a sum of three is the sum of their variances only if they are independent.

    The excess kurtosis of such a sum is -1.2 / 3, so an estimate of its variance from n values
    has the standard error sqrt((2 - 0.4) / n) of it.
    """
    for times in response_s:
        theory = 3 * VARIANCE
        assert abs(times.var(ddof=1) - theory) < 5 * sqrt(1.6 / len(times)) * theory


def test_each_request_is_drawn_apart(response_s: tuple[Floats, Floats]) -> None:
    assert_independent(*response_s)


def test_each_decision_of_the_provider_is_drawn_apart(
    small_scenario: Build, engine: Engine
) -> None:
    """Declines of half of all attempts, one after the other: all three fail for an eighth.

    A late answer, for half of the attempts as well, says nothing about the decision in it.
    """
    channel = {"latency": "1ms", "late_by": "100ms", "late_fraction": 0.5, "decline_fraction": 0.5}
    sale = held(
        small_scenario(
            shop={"items": [{"sku": "a", "stock": 10_000, "price": 1}], "lock_time": "1h"},
            crowd=crowd(
                30,
                unpaid_fraction=0.0,
                payment_time="1s",
                payment_attempt_limit=3,
                retry_same_fraction=1.0,
                retry_other_fraction=0.0,
            ),
            payments={"channels": [{"name": "card", "share": 1, **channel}]},
            service={"stations": [{"name": "web", "servers": 10_000}]},
        ),
        engine,
    )
    told = [row["outcome"] for row in sale.visits.to_pylist()]
    count, declined = len(told), told.count("declined")
    assert set(told) == {"sold", "declined"}
    assert abs(declined / count - 1 / 8) < 5 * sqrt(1 / 8 * 7 / 8 / count)
    pays = [row for row in sale.requests.to_pylist() if row["step"] == "pay"]
    late = np.array([row["done_s"] - row["sent_s"] > 0.1 for row in pays], float)
    refused = np.array([row["reply"] == "declined" for row in pays], float)
    assert abs(late.mean() - 0.5) < 5 * sqrt(0.25 / len(late))
    assert_independent(late, refused)
    first, second = (
        {row["visitor"]: late[n] for n, row in enumerate(pays) if row["attempt"] == attempt}
        for attempt in (0, 1)
    )
    both = sorted(second)
    assert_independent(np.array([first[v] for v in both]), np.array([second[v] for v in both]))


def test_times_of_repeated_steps_are_drawn_anew(small_scenario: Build, engine: Engine) -> None:
    """Nothing is for sale: everybody looks three times, after two waits of the visitor's own."""
    sale = held(
        small_scenario(
            shop={"items": [{"sku": "a", "stock": 0, "price": 1}]},
            crowd=crowd(30, restock_refresh_limit=2, refresh_gap=UNIFORM),
            service={"stations": [{"name": "web", "servers": 10_000}]},
        ),
        engine,
    )
    sent: dict[int, list[float]] = {}
    for row in sale.requests.to_pylist():
        if row["step"] == "browse":
            sent.setdefault(row["visitor"], []).append(row["sent_s"])
    gaps = np.array([np.diff(sorted(moments)) for moments in sent.values()])
    assert gaps.shape[1] == 2
    assert_independent(gaps[:, 0], gaps[:, 1])


def test_who_thinks_long_pays_no_later(small_scenario: Build, engine: Engine) -> None:
    """Thinking, paying and the provider's latency are purposes of their own."""
    sale = held(
        small_scenario(
            shop={"items": [{"sku": "a", "stock": 10_000, "price": 1}], "lock_time": "1h"},
            crowd=crowd(30, unpaid_fraction=0.0, think_time=UNIFORM, payment_time=UNIFORM),
            payments={
                "channels": [
                    {
                        "name": "card",
                        "share": 1,
                        "latency": UNIFORM,
                        "decline_fraction": 0,
                        "late_fraction": 0,
                    }
                ]
            },
            service={"stations": [{"name": "web", "servers": 10_000}]},
        ),
        engine,
    )
    rows = {(row["visitor"], row["step"]): row for row in sale.requests.to_pylist()}
    visitors = sale.visits["visitor"].to_pylist()

    def between(step: str, before: str) -> Floats:
        return np.array([rows[v, step]["sent_s"] - rows[v, before]["done_s"] for v in visitors])

    thought, waited = between("reserve", "browse"), between("pay", "reserve")
    latency = np.array([rows[v, "pay"]["done_s"] - rows[v, "pay"]["sent_s"] for v in visitors])
    assert_independent(thought, waited)
    assert_independent(thought, latency)
    assert_independent(waited, latency)
