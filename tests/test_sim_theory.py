"""The simulated world against queueing theory: fixed seeds, so nothing here fails by chance.

Each estimate comes with its standard error over independent replications; a test passes when the
theoretical value lies within 4 of them *and* they are below 3 % of it, so that a blunt experiment
cannot pass. The chance that a right model was given unlucky seeds is 4 % over the six anchors
(Student's t with 5 to 8 degrees of freedom at 4 standard errors); the seeds are fixed since.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import SimulatedSale, simulate_sale

Build = Callable[..., Scenario]

LOOKER: dict[str, Any] = {
    "share": 1,
    "buy_fraction": 0.0,
    "retry_limit": 0,
    "request_timeout": "1h",
}
"""Sends one page request and leaves: a customer of a queue."""


def queue(build: Build, *, rate: float, servers: int, service: Any, **station: Any) -> Scenario:
    """A sale that is nothing but one queue with Poisson arrivals, open from the start."""
    shape = {"kind": "constant", "level": 1}
    return build(
        crowd={
            "normal_load_per_s": rate,
            "load_factor": 1,
            "phases": [{"name": "open", "start": 0, "duration": "1000s", "shape": shape}],
            "personas": {"looker": LOOKER},
            "drain": "1000s",
        },
        service={
            "network": {"kind": "constant", "value": 0},
            "stations": [{"name": "web", "servers": servers, **station}],
            "browse": [{"station": "web", "time": service}],
        },
    )


def sales(scenario: Scenario, count: int) -> list[SimulatedSale]:
    timetable = Timetable.of(scenario)
    return [
        simulate_sale(scenario, build_plan(scenario, seed, timetable), timetable, seed=seed)
        for seed in range(count)
    ]


def responses(sale: SimulatedSale, *, warm_up: int = 300) -> np.ndarray[Any, Any]:
    """Response times without the first customers, who find the queue emptier than it will be."""
    order = np.argsort(sale.requests["sent_s"].to_numpy())
    times: np.ndarray[Any, Any] = (
        sale.requests["done_s"].to_numpy() - sale.requests["sent_s"].to_numpy()
    )
    later: np.ndarray[Any, Any] = times[order][warm_up:]
    return later


def agrees(estimates: Sequence[float], theory: float, *, precision: float = 0.03) -> None:
    error = np.std(estimates, ddof=1) / math.sqrt(len(estimates))
    assert error < precision * theory, "the experiment is too blunt to judge"
    assert abs(np.mean(estimates) - theory) < 4 * error


def erlang_b(load: float, servers: int) -> float:
    """A. K. Erlang 1917: B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1))."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(load: float, servers: int) -> float:
    """Probability of waiting in M/M/c: B / (1 - rho (1 - B))."""
    b, rho = erlang_b(load, servers), load / servers
    return b / (1 - rho * (1 - b))


def test_erlang_c_the_mean_response_of_a_pool_with_a_queue(small_scenario: Build) -> None:
    rate, mean, servers = 7.0, 0.4, 4
    scenario = queue(
        small_scenario, rate=rate, servers=servers, service={"kind": "exponential", "mean": "400ms"}
    )
    waiting = erlang_c(rate * mean, servers) / (servers / mean - rate)
    agrees([responses(s).mean() for s in sales(scenario, 8)], waiting + mean)


@pytest.mark.parametrize(
    "service",
    [
        {"kind": "exponential", "mean": "500ms"},
        {"kind": "uniform", "low": "100ms", "high": "900ms"},
    ],
    ids=["exponential", "uniform"],
)
def test_erlang_b_refusals_without_a_queue_whatever_the_distribution(
    small_scenario: Build, service: dict[str, str]
) -> None:
    scenario = queue(small_scenario, rate=8, servers=5, service=service, queue_limit=0)
    refused = [
        np.mean(s.requests["reply"].to_numpy(zero_copy_only=False) == "overloaded")
        for s in sales(scenario, 8)
    ]
    agrees(refused, erlang_b(8 * 0.5, 5))


def test_pollaczek_khinchine_the_mean_wait_with_one_server(small_scenario: Build) -> None:
    # W = lambda E[S^2] / (2 (1 - rho)); uniform on (0, 0.2): E[S] = 0.1, E[S^2] = 0.04 / 3.
    scenario = queue(
        small_scenario,
        rate=7,
        servers=1,
        service={"kind": "uniform", "low": 0, "high": "200ms"},
    )
    wait = 7 * (0.04 / 3) / (2 * (1 - 0.7))
    agrees([responses(s).mean() - 0.1 for s in sales(scenario, 8)], wait)


def test_a_full_bounded_queue_refuses_like_m_m_1_k(small_scenario: Build) -> None:
    # K = 1 server + 4 places; p(K) = (1 - rho) rho^K / (1 - rho^(K+1)) with rho = 0.8.
    scenario = queue(
        small_scenario,
        rate=8,
        servers=1,
        service={"kind": "exponential", "mean": "100ms"},
        queue_limit=4,
    )
    rho, places = 0.8, 5
    blocked = (1 - rho) * rho**places / (1 - rho ** (places + 1))
    refused = [
        np.mean(s.requests["reply"].to_numpy(zero_copy_only=False) == "overloaded")
        for s in sales(scenario, 9)
    ]
    agrees(refused, blocked)


def test_locks_that_nobody_pays_are_erlang_b_in_the_stock(small_scenario: Build) -> None:
    """Stock Q as Q servers, lock time as holding time; insensitive, so a fixed time is exact.

    A unit comes back at the next sweep, on average half a sweep interval after its lock time.
    """
    shape = {"kind": "constant", "level": 1}
    scenario = small_scenario(
        shop={
            "lock_time": "5s",
            "release_sweep": "50ms",
            "items": [{"sku": "console", "stock": 10, "price": 1}],
        },
        crowd={
            "normal_load_per_s": 2.4,
            "load_factor": 1,
            "phases": [{"name": "open", "start": 0, "duration": "3000s", "shape": shape}],
            "personas": {"holder": {"share": 1, "unpaid_fraction": 1.0, "think_time": "1ms"}},
        },
        service={
            "network": {"kind": "constant", "value": 0},
            "browse": [{"station": "web", "time": "1us"}],
            "reserve": [{"station": "web", "time": "1us"}],
        },
    )
    refused = [
        np.mean(s.visits["outcome"].to_numpy(zero_copy_only=False) == "sold_out")
        for s in sales(scenario, 6)
    ]
    agrees(refused, erlang_b(2.4 * 5.025, 10))
