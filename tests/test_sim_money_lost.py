"""The two ways of losing a buyer's money on purpose, in both engines, computed by hand.

The buyer pays at 65 ms, see tests/sales_by_hand.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.sales_by_hand import books_of, ends, hold, of_visitor, scenario_by_hand

from doorbuster.detectors.failures import failures_of
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, LATE_PAYMENTS, STRATEGIES
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
FORGET = {"lock_time": "65ms", "release_sweep": "50ms", "late_payment": "forget"}
AGAIN = {"unanswered_charge": "charge_again"}


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def found_in(sale: SimulatedSale, scenario: Scenario, end_s: float) -> set[str]:
    """The failures that the detectors see in the books."""
    found = failures_of(books_of(sale, scenario, end_s))
    return {name for name, finding in found.items() if finding.count}


def charges(sale: SimulatedSale) -> list[tuple[Any, ...]]:
    """Name, order, state, and milliseconds of asking, decision, capture and refund."""
    return [
        (
            *(row[name] for name in ("charge_id", "order_id", "state")),
            *(
                None if row[f"{name}_s"] is None else round(row[f"{name}_s"] * 1e3, 6)
                for name in ("asked", "decided", "captured", "refunded")
            ),
        )
        for row in sale.charges.to_pylist()
    ]


@pytest.mark.parametrize("strategy", CORRECT)
def test_forgotten_money_is_kept_for_nothing(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """Released at 100 ms, money at 145: the buyer hears `expired`, the unit is free, 7 are gone."""
    scenario = scenario_by_hand(
        small_scenario,
        stock=1,
        servers=9,
        channel={"latency": "80ms"},
        shop={**FORGET, "strategy": strategy},
    )
    sale = hold(scenario, engine, [0])
    [order] = sale.orders.to_pylist()
    assert (order["state"], order["released_s"], order["sold_s"]) == ("released", 0.1, None)
    assert charges(sale) == [("0-0", "0-0", "captured", 65, 145, 145, None)]
    assert of_visitor(sale, 0)[-1] == "pay 54-146 expired"
    audit, [item] = sale.audit, sale.audit.items
    assert (item.available_units, item.locked_units, item.sold_units) == (1, 0, 0)
    assert (audit.payments_captured, audit.captured_cents, audit.paid_cents) == (1, 700, 0)
    assert (audit.payments_without_order, audit.orders_captured_twice) == (1, 0)
    assert found_in(sale, scenario, end_s=6.0) == {"paid_and_lost"}


def test_money_in_time_is_not_forgotten(small_scenario: Build, engine: Engine) -> None:
    """Lapsed at 98 ms, money at 99, swept at 100; a late decline leaves nothing to lose."""
    scenario = scenario_by_hand(small_scenario, channel={"latency": "34ms"}, shop=FORGET)
    sale = hold(scenario, engine, [0])
    assert (ends(sale), sale.audit.payments_without_order) == (["sold"], 0)
    declined = {"latency": "80ms", "decline_fraction": 1.0}
    sale = hold(scenario_by_hand(small_scenario, channel=declined, shop=FORGET), engine, [0])
    assert charges(sale)[0] == ("0-0", "0-0", "declined", 65, 145, None, None)
    assert (sale.audit.payments_captured, sale.audit.payments_without_order) == (0, 0)


@pytest.mark.parametrize("strategy", CORRECT)
def test_both_charges_are_captured(small_scenario: Build, engine: Engine, strategy: str) -> None:
    """Asked at 65 and, 10 ms later, again: captured at 105 and at 115. One order, paid twice."""
    scenario = scenario_by_hand(
        small_scenario, payment_timeout="10ms", shop={**AGAIN, "strategy": strategy}
    )
    sale = hold(scenario, engine, [0])
    assert charges(sale) == [
        ("0-0", "0-0", "captured", 65, 105, 105, None),
        ("0-0-again", "0-0", "captured", 75, 115, 115, None),
    ]
    [order] = sale.orders.to_pylist()
    assert (order["state"], order["sold_s"]) == ("sold", 0.105)
    # Told `pending` when the time is up, and `ok` by the next poll.
    assert of_visitor(sale, 0)[2:] == ["pay 54-76 pending", "poll 116-128 ok"]
    audit = sale.audit
    assert (audit.payments_captured, audit.orders_captured_twice) == (2, 1)
    assert (audit.captured_cents, audit.paid_cents) == (1400, 700)
    assert audit.payments_without_order == 0
    assert found_in(sale, scenario, end_s=2.0) == {"double_charge"}


def test_an_answer_at_the_last_moment_is_an_answer(small_scenario: Build, engine: Engine) -> None:
    """Answered after 40 ms, which is when the time is up: no second charge; a moment less, one."""
    for timeout, count in (("40ms", 1), ("39.999999ms", 2)):
        scenario = scenario_by_hand(small_scenario, payment_timeout=timeout, shop=AGAIN)
        assert len(charges(hold(scenario, engine, [0]))) == count


def test_waiting_charges_once(small_scenario: Build, engine: Engine) -> None:
    scenario = scenario_by_hand(small_scenario, payment_timeout="10ms")
    assert scenario.shop.unanswered_charge == "wait"
    assert len(charges(hold(scenario, engine, [0]))) == 1


def test_the_payment_is_declined_when_both_are(small_scenario: Build, engine: Engine) -> None:
    """Declined at 105 and at 115: held until 115, so a poll decided at 107 is still pending."""
    scenario = scenario_by_hand(
        small_scenario,
        payment_timeout="10ms",
        channel={"decline_fraction": 1.0},
        shop={**AGAIN, "lock_time": "45ms", "release_sweep": "10ms"},
        service={"poll": [{"station": "web", "time": "1ms"}]},
    )
    sale = hold(scenario, engine, [0])
    assert [row[2:5] for row in charges(sale)[:2]] == [
        ("declined", 65, 105),
        ("declined", 75, 115),
    ]
    assert sale.orders.to_pylist()[0]["released_s"] == 0.12
    assert sale.audit.captured_cents == 0


def test_the_second_charge_may_succeed_alone(small_scenario: Build, engine: Engine) -> None:
    """Half of all charges decline, each by a draw of its own: every combination is there."""
    scenario = scenario_by_hand(
        small_scenario,
        stock=100,
        servers=99,
        payment_timeout="10ms",
        channel={"decline_fraction": 0.5},
        shop=AGAIN,
    )
    sale = hold(scenario, engine, [10 * number for number in range(60)])
    state = {row[0]: row[2] for row in charges(sale)}
    pairs = {(state[f"{v}-0"], state[f"{v}-0-again"]) for v in range(60)}
    assert pairs == {(a, b) for a in ("captured", "declined") for b in ("captured", "declined")}
    sold = {row["order_id"] for row in sale.orders.to_pylist() if row["state"] == "sold"}
    captured = [row[1] for row in charges(sale) if row[2] == "captured"]
    assert set(captured) == sold
    twice = sum(captured.count(order) == 2 for order in sold)
    assert sale.audit.orders_captured_twice == twice > 5
    assert sale.audit.captured_cents == 700 * len(captured)
    assert sale.audit.paid_cents == 700 * len(sold)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_thing_is_broken_at_a_time(small_scenario: Build, strategy: str) -> None:
    for policy in LATE_PAYMENTS:
        shop = {**AGAIN, "strategy": strategy, "late_payment": policy}
        found = [place for place, _ in cross_check(scenario_by_hand(small_scenario, shop=shop))]
        is_fine = strategy in CORRECT and policy == "hold"
        assert (("shop", "unanswered_charge") in found) == (not is_fine)


def test_a_second_charge_is_sent_in_a_sale_without_faults(small_scenario: Build) -> None:
    """So that it never meets an outage, a dead shop or a charge that nobody has heard of."""
    fault = {"kind": "kill_shop", "start": "60ms", "duration": "80ms"}
    for shop, is_found in ((AGAIN, True), ({}, False)):
        found = cross_check(scenario_by_hand(small_scenario, shop=shop, faults=[fault]))
        named = [what for place, what in found if place == ("shop", "unanswered_charge")]
        assert ["without faults" in what for what in named] == [True] * is_found
