"""The compiled engine's arrays grow in the middle of what they hold; SimPy has no arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import simulate_sale

Build = Callable[..., Scenario]

HOLDERS = {"share": 1, "unpaid_fraction": 1.0, "think_time": "100ms", "restock_refresh_limit": 1}


@pytest.mark.parametrize(
    ("network", "persona"),
    [
        ("3s", {}),
        ({"kind": "uniform", "low": "1s", "high": "4s"}, {}),
        ("10ms", {"identities": {"accounts": 3000}}),
    ],
    ids=["full lanes", "full calendar", "many shared accounts that come and go"],
)
def test_arrays_grow_while_they_are_full(
    small_scenario: Build, network: Any, persona: dict[str, Any]
) -> None:
    """3,000 visitors in 2 s: requests, locks, events and accounts are all there at once."""
    phase = {"start": 0, "duration": "2s", "shape": {"kind": "constant", "level": 1}}
    scenario = small_scenario(
        shop={
            "lock_time": "500ms",
            "release_sweep": "100ms",
            "items": [{"sku": "console", "stock": 1500, "price": 1}],
        },
        crowd={
            "normal_load_per_s": 1500,
            "load_factor": 1,
            "phases": [{"name": "rush", **phase}],
            "personas": {"holder": {**HOLDERS, **persona}},
            "drain": "20s",
        },
        service={"network": network, "stations": [{"name": "web", "servers": 500}]},
    )
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 5, timetable)
    assert plan.visitor_count > 2_500
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=5, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert other.visits.equals(one.visits)
    assert other.requests.equals(one.requests)
    assert other.stock.equals(one.stock)
    assert (other.audit, other.stations) == (one.audit, one.stations)


def test_charges_grow_two_at_a_time(small_scenario: Build) -> None:
    """3,000 buyers wait for a provider that takes 10 s, and each is charged a second time."""
    phase = {"start": 0, "duration": "2s", "shape": {"kind": "constant", "level": 1}}
    scenario = small_scenario(
        shop={
            "lock_time": "500ms",
            "unanswered_charge": "charge_again",
            "items": [{"sku": "console", "stock": 5000, "price": 1}],
        },
        crowd={
            "normal_load_per_s": 1500,
            "load_factor": 1,
            "phases": [{"name": "rush", **phase}],
            "personas": {"buyer": {"share": 1, "unpaid_fraction": 0.0, "payment_time": "10ms"}},
            "drain": "40s",
        },
        payments={
            "timeout": "3s",
            "channels": [{"name": "card", "share": 1, "latency": "10s", "decline_fraction": 0.3}],
        },
        service={"network": "10ms", "stations": [{"name": "web", "servers": 500}]},
    )
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 5, timetable)
    one, other = (
        simulate_sale(scenario, plan, timetable, seed=5, engine=engine)
        for engine in ("simpy", "compiled")
    )
    assert one.charges.num_rows > 2 * 2_500
    assert other.charges.equals(one.charges)
    assert other.orders.equals(one.orders)
    assert other.requests.equals(one.requests)
    assert other.audit == one.audit
    assert (one.audit.orders_captured_twice or 0) > 1_000
