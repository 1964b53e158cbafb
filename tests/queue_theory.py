"""What queueing theory says, and the sales of which it says so, run on the compiled engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from doorbuster.draws import Purpose
from doorbuster.draws.philox import draw_array
from doorbuster.draws.quantiles import sample_array
from doorbuster.plan import Timetable
from doorbuster.plan.plan import plan_blocks
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import DistributionBook
from doorbuster_sim.compiled_engine.layout import Records
from doorbuster_sim.compiled_engine.sale import CompiledSale

NS = 1e9
NO_LIMIT = 10_000_000

# --- formulas ---


def erlang_b(load: float, servers: int) -> float:
    """A. K. Erlang 1917: B(0) = 1, B(k) = a B(k-1) / (k + a B(k-1)). load: in erlangs."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(load: float, servers: int) -> float:
    """Probability of waiting in M/M/c: B / (1 - rho (1 - B))."""
    b, rho = erlang_b(load, servers), load / servers
    return b / (1 - rho * (1 - b))


def pollaczek_khinchine(rate: float, mean: float, mean_square: float) -> float:
    """Mean wait in M/G/1: lambda E[S^2] / (2 (1 - rho))."""
    return rate * mean_square / (2 * (1 - rate * mean))


def birth_death(load: float, servers: int, places: int) -> list[float]:
    """How likely 0, 1, ... places customers are in M/M/c/K: p(n+1) / p(n) = a / min(n+1, c)."""
    weights = [1.0]
    for n in range(places):
        weights.append(weights[-1] * load / min(n + 1, servers))
    return [weight / sum(weights) for weight in weights]


def relaxation_s(rate: float, mean_s: float, servers: int, queue_limit: int = NO_LIMIT) -> float:
    """The time constant with which M/M/c forgets its start, or a longer one.

    Of M/M/1 with all servers as one, 1 / (sqrt(c mu) - sqrt(lambda))^2, or a service time where
    that is longer; with K places, of a walk between 0 and K: (K + 1)^2 / (c mu).
    Source: J. W. Cohen, "The Single Server Queue" (1982), II.2.1 and III.2.
    """
    if queue_limit < NO_LIMIT:
        return max(1, (servers + queue_limit + 1) ** 2 / servers) * mean_s
    return max(mean_s, (math.sqrt(servers / mean_s) - math.sqrt(rate)) ** -2)


# --- sales ---

LOOKER: dict[str, Any] = {
    "share": 1,
    "buy_fraction": 0.0,
    "retry_limit": 0,
    "request_timeout": "100d",
}
"""Sends one page request and leaves: a customer of a queue."""
NO_TIME = "0.0004us"
"""Less than half a nanosecond: a service that takes none."""


def sale(
    rate_per_s: float, duration_s: float, persona: Mapping[str, Any], **parts: Mapping[str, Any]
) -> Scenario:
    """A sale with Poisson arrivals at a constant rate, open from the start.

    parts: `shop`, `service`; each is laid over a shop in which nothing takes time. `shape`: of the
    arrivals, instead of a constant rate.
    """
    shop = {"lock_time": "100d", "release_sweep": "100d"}
    shop["items"] = [{"sku": "console", "stock": 1, "price": 1}]  # type: ignore[assignment]
    at_once = [{"station": "web", "time": NO_TIME}]
    service = {
        "network": {"kind": "constant", "value": 0},
        "stations": [{"name": "web", "servers": 1_000_000}],
        "browse": at_once,
        "reserve": at_once,
        "pay": at_once,
    }
    card = {
        "name": "card",
        "share": 1,
        "latency": {"kind": "constant", "value": 0},
        "decline_fraction": 0,
        "late_fraction": 0,
    }
    # Each item's stock is noted twice a second up to the end.
    shop_of_all = {**shop, **parts.get("shop", {})}
    shape = parts.get("shape", {"kind": "constant", "level": 1})
    phase = {"name": "open", "start": 0, "duration": f"{duration_s:.9f}s", "shape": shape}
    return Scenario.model_validate(
        {
            "version": 1,
            "name": "theory",
            "shop": shop_of_all,
            "crowd": {
                "normal_load_per_s": rate_per_s,
                "load_factor": 1,
                "phases": [phase],
                "personas": {"persona": persona},
                "drain": "60s" if len(shop_of_all["items"]) == 1 else "1s",
            },
            "payments": {"channels": [card]},
            "service": {**service, **parts.get("service", {})},
        }
    )


class Rows:
    """All rows of a sale."""

    def __init__(self) -> None:
        self._requests: list[Records] = []
        self._visits: list[Records] = []

    def requests(self, rows: Records) -> None:
        self._requests.append(rows.copy())

    def visits(self, rows: Records) -> None:
        self._visits.append(rows.copy())

    def orders(self, rows: Records) -> None:
        """A queue has none."""

    def charges(self, rows: Records) -> None:
        """Nor these."""

    def all_requests(self) -> Records:
        """In the order of their ends."""
        return np.concatenate(self._requests)

    def all_visits(self) -> Records:
        """In the order of their ends."""
        return np.concatenate(self._visits)


def run(scenario: Scenario, seed: int) -> tuple[Rows, CompiledSale]:
    """One sale on the compiled engine, without tables."""
    rows, timetable = Rows(), Timetable.of(scenario)
    sold = CompiledSale(scenario, timetable, seed, seed, rows)
    sold.run(plan_blocks(scenario, seed, timetable))
    assert rows.all_requests()["done_ns"].min() >= 0, "somebody was cut off"
    return rows, sold


def waits_s(scenario: Scenario, seed: int, requests: Records) -> np.ndarray[Any, Any]:
    """Time in the queue of each page request: its time in the shop without its own service."""
    book = DistributionBook()
    row = book.add(scenario.service.browse[0].time)
    uniforms = draw_array(seed, requests["visitor"].copy(), Purpose.SERVICE, 0)
    service_ns = np.rint(sample_array(book.tables(), row, uniforms) * NS)
    waits: np.ndarray[Any, Any] = requests["done_ns"] - requests["sent_ns"] - service_ns
    return waits / NS
