"""A payment in flight when its lock lapses, by hand: four policies, both engines.

The order is locked at 33 ms and lapses at 98, its payment is asked for at 65; sweeps every 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.sales_by_hand import ROBOT, ends, hold, of_visitor, scenario_by_hand

from doorbuster.plan.casting import POOL_BASE
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, LATE_PAYMENTS, STRATEGIES
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def scenario_of(build: Build, policy: str, **changed: Any) -> Scenario:
    """Money comes at 145 ms unless a test says otherwise."""
    shop = {"lock_time": "65ms", "release_sweep": "50ms", "late_payment": policy}
    shop |= changed.pop("shop", {})
    settings = {"stock": 1, "servers": 9, "channel": {"latency": "80ms"}, **changed}
    return scenario_by_hand(build, shop=shop, **settings)


def order(sale: SimulatedSale, number: int = 0) -> tuple[str, float | None, float | None]:
    """State, moment of the release and of the sale."""
    row = sale.orders.to_pylist()[number]
    return row["state"], row["released_s"], row["sold_s"]


def charge(sale: SimulatedSale, number: int = 0) -> tuple[str, float, float | None, float | None]:
    """State, and moments of decision, capture and refund."""
    row = sale.charges.to_pylist()[number]
    return row["state"], row["decided_s"], row["captured_s"], row["refunded_s"]


def level(sale: SimulatedSale) -> tuple[int, int, int]:
    """Available, locked, sold."""
    [item] = sale.audit.items
    return item.available_units, item.locked_units, item.sold_units


def test_hold_lets_the_money_come(small_scenario: Build, engine: Engine) -> None:
    sale = hold(scenario_of(small_scenario, "hold"), engine, [0])
    assert order(sale) == ("sold", None, 0.145)
    assert level(sale) == (0, 0, 1)


@pytest.mark.parametrize("strategy", CORRECT)
def test_refund_gives_late_money_back_at_once(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    scenario = scenario_of(small_scenario, "refund", shop={"strategy": strategy})
    sale = hold(scenario, engine, [0])
    assert order(sale) == ("released", 0.1, None)
    assert charge(sale) == ("refunded", 0.145, 0.145, 0.145)
    assert of_visitor(sale, 0)[-1] == "pay 54-146 expired"
    assert (level(sale), sale.audit.captured_cents) == ((1, 0, 0), 0)


@pytest.mark.parametrize("strategy", CORRECT)
def test_recheck_sells_again_what_is_still_free(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """And what is sold again is gone: the next buyer, at 183 ms, finds nothing."""
    scenario = scenario_of(small_scenario, "recheck_stock", shop={"strategy": strategy})
    sale = hold(scenario, engine, [0, 150])
    assert order(sale) == ("sold", 0.1, 0.145)
    assert charge(sale) == ("captured", 0.145, 0.145, None)
    assert of_visitor(sale, 0)[-1] == "pay 54-146 ok"
    assert ends(sale) == ["sold", "sold_out"]
    assert level(sale) == (0, 0, 1)
    assert sale.audit.captured_cents == sale.audit.paid_cents == 700


@pytest.mark.parametrize("strategy", CORRECT)
def test_recheck_refunds_what_somebody_else_has(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """The second buyer, at 100 ms, locks the unit at 133, twelve before the money comes."""
    scenario = scenario_of(
        small_scenario, "recheck_stock", shop={"strategy": strategy, "lock_time": "65ms"}
    )
    sale = hold(scenario, engine, [0, 100])
    assert order(sale) == ("released", 0.1, None)
    assert charge(sale) == ("refunded", 0.145, 0.145, 0.145)
    # The other one's money is late, too: released at 200 ms, bought again at 245.
    assert order(sale, 1) == ("sold", 0.2, 0.245)
    assert (level(sale), sale.audit.captured_cents) == ((0, 0, 1), 700)


def test_recheck_refunds_beyond_the_limit(small_scenario: Build, engine: Engine) -> None:
    """Two units and one account with a limit of one, which has locked the other at 133 ms."""
    scenario = scenario_of(small_scenario, "recheck_stock", stock=2)
    sale = hold(scenario, engine, [0, 100], account=[POOL_BASE, POOL_BASE])
    assert order(sale) == ("released", 0.1, None)
    assert charge(sale)[0] == "refunded"
    assert sale.audit.items[0].max_units_per_account == 1
    assert level(sale) == (1, 0, 1)


@pytest.mark.parametrize("strategy", CORRECT)
def test_query_closes_the_charge_at_the_sweep(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """Told at 100 ms: the charge takes no money at 145, and the next buyer gets the unit."""
    scenario = scenario_of(
        small_scenario,
        "query_before_cancel",
        shop={"strategy": strategy, "lock_time": "150ms"},
        channel={"latency": "150ms"},
    )
    # Locked from 33 to 183 and from 233 to 383 ms; money would come at 215, and comes at 415.
    sale = hold(scenario, engine, [0, 200])
    assert order(sale) == ("released", 0.2, None)
    assert charge(sale) == ("declined", 0.2, None, None)
    assert of_visitor(sale, 0)[-1] == "pay 54-201 expired"
    assert ends(sale) == ["expired", "expired"]
    assert (level(sale), sale.audit.captured_cents) == ((1, 0, 0), 0)


def test_query_finds_money_that_came_in_time(small_scenario: Build, engine: Engine) -> None:
    """Captured at 85 ms, between the lapse's sweeps: sold, and nothing to close."""
    scenario = scenario_of(small_scenario, "query_before_cancel", channel={"latency": "20ms"})
    sale = hold(scenario, engine, [0])
    assert (order(sale), level(sale)) == (("sold", None, 0.085), (0, 0, 1))


def test_money_between_the_lapse_and_the_sweep_buys(small_scenario: Build, engine: Engine) -> None:
    """The release decides, not the clock: lapsed at 98 ms, money at 99, swept at 100."""
    for policy in LATE_PAYMENTS:
        scenario = scenario_of(small_scenario, policy, channel={"latency": "34ms"})
        assert order(hold(scenario, engine, [0])) == ("sold", None, 0.099)


@pytest.mark.parametrize(("policy", "told"), [("refund", "expired"), ("recheck_stock", "ok")])
def test_who_polls_is_told_when_the_money_has_come(
    small_scenario: Build, engine: Engine, policy: str, told: str
) -> None:
    scenario = scenario_of(small_scenario, policy, payment_timeout="10ms")
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[2:] == [
        "pay 54-76 pending",
        "poll 116-128 pending",
        f"poll 168-180 {told}",
    ]


def test_a_late_decline_leaves_nothing_to_pay(small_scenario: Build, engine: Engine) -> None:
    """The second try finds the order released; nobody was charged."""
    for policy in ("refund", "recheck_stock"):
        channel = {"latency": "80ms", "decline_fraction": 1.0}
        sale = hold(scenario_of(small_scenario, policy, channel=channel), engine, [0])
        assert [line.split()[-1] for line in of_visitor(sale, 0)[2:]] == ["declined", "expired"]
        assert charge(sale) == ("declined", 0.145, None, None)
        assert level(sale) == (1, 0, 0)


@pytest.mark.parametrize("strategy", sorted(BROKEN_STRATEGIES))
def test_a_broken_strategy_refuses_another_policy(small_scenario: Build, strategy: str) -> None:
    for policy in LATE_PAYMENTS:
        shop = {"strategy": strategy, "late_payment": policy}
        found = cross_check(scenario_by_hand(small_scenario, ROBOT, shop=shop))
        assert [place for place, _ in found] == (
            [] if policy == "hold" else [("shop", "late_payment")]
        )
