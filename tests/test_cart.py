"""Units that are locked by putting them into the cart, by hand in both engines.

Where carts lock, a visitor of `sales_by_hand` who comes at `t` and needs 30 ms for its cart sends

    cart     t + 22  decided t + 33     answered t + 34     after thinking for 10 ms
    reserve  t + 64  decided t + 75     answered t + 76
    pay      t + 96  at the till t + 107, the provider answers t + 147, answered t + 148
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.sales_by_hand import (
    CHANNEL,
    HOLDER,
    LOOKER,
    ROBOT,
    ends,
    hold,
    of_visitor,
    scenario_by_hand,
    story,
)

from doorbuster.plan.casting import POOL_BASE
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
CART: dict[str, Any] = {"lock_point": "cart"}
SHORT: dict[str, Any] = {**CART, "release_sweep": "10ms"}
BUYER: dict[str, Any] = {**ROBOT, "cart_time": "30ms", "abandon_fraction": 0.0}
LEAVER = {**BUYER, "abandon_fraction": 1.0}


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def states(sale: SimulatedSale) -> list[str]:
    return list(sale.orders["state"].to_pylist())


def moments(sale: SimulatedSale, name: str) -> list[float | None]:
    found = sale.orders[f"{name}_s"].to_pylist()
    return [None if moment is None else round(moment * 1e3, 6) for moment in found]


def test_one_buyer(small_scenario: Build, engine: Engine) -> None:
    """Four steps; the books tell when the cart has locked, the visit when the order was made."""
    sale = hold(scenario_by_hand(small_scenario, BUYER, shop=CART), engine, [0])
    assert story(sale) == [
        "0 browse 0-12 ok",
        "0 cart 22-34 ok",
        "0 reserve 64-76 ok",
        "0 pay 96-148 ok",
    ]
    assert (ends(sale), states(sale)) == (["sold"], ["sold"])
    assert moments(sale, "reserved") == [33.0]
    assert moments(sale, "expires") == [3_600_033.0]
    assert sale.visits["reserved_s"].to_pylist() == [pytest.approx(0.076)]
    (item,) = sale.audit.items
    assert (item.available_units, item.locked_units, item.sold_units) == (9, 0, 1)


@pytest.mark.parametrize("strategy", CORRECT)
def test_the_first_cart_has_the_last_unit(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """The second cart comes 1 ms later: sold out, long before anybody orders."""
    shop = {**CART, "strategy": strategy}
    sale = hold(
        scenario_by_hand(small_scenario, BUYER, stock=1, servers=9, shop=shop), engine, [0, 1]
    )
    assert ends(sale) == ["sold", "sold_out"]
    assert len(sale.orders) == 1
    steps = [line.split()[0] for line in of_visitor(sale, 1)]
    assert steps == ["browse", "cart"]


@pytest.mark.parametrize("strategy", CORRECT)
def test_an_abandoned_cart_keeps_its_unit_until_the_sweep(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """Locked from 33 to 133 ms, swept at 200: at 161 nothing is on the page, at 201 it is there."""
    shop = {**CART, "lock_time": "100ms", "release_sweep": "100ms", "strategy": strategy}
    scenario = scenario_by_hand(small_scenario, LEAVER, BUYER, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 150, 190], persona=[0, 1, 1])
    assert ends(sale) == ["abandoned", "sold_out", "sold"]
    assert states(sale) == ["released", "sold"]
    # Whoever abandons it in turn has it from 223 to 323 ms.
    sale = hold(scenario, engine, [0, 150, 190], persona=[0, 1, 0])
    assert of_visitor(sale, 0) == ["browse 0-12 ok", "cart 22-34 ok"]
    assert ends(sale) == ["abandoned", "sold_out", "abandoned"]
    assert states(sale) == ["released", "released"]
    assert moments(sale, "released") == [200.0, 400.0]


def test_a_cart_at_the_end_is_locked(small_scenario: Build, engine: Engine) -> None:
    """The audit counts its unit with those of unpaid orders."""
    sale = hold(scenario_by_hand(small_scenario, LEAVER, shop=CART), engine, [0])
    assert states(sale) == ["cart"]
    (item,) = sale.audit.items
    assert (item.available_units, item.locked_units, item.sold_units) == (9, 1, 0)
    assert (item.max_units_per_account, item.lapsed_locks) == (1, 0)


@pytest.mark.parametrize(("lock_time", "reply"), [("42ms", "expired"), ("42.001ms", "ok")])
def test_an_order_is_in_time_or_not(
    small_scenario: Build, engine: Engine, lock_time: str, reply: str
) -> None:
    """The cart lapses at 75 ms, in the very moment of the order, or a microsecond later."""
    shop = {**CART, "lock_time": lock_time}
    sale = hold(scenario_by_hand(small_scenario, BUYER, shop=shop), engine, [0])
    rest = [] if reply == "expired" else ["pay 96-108 expired"]
    assert of_visitor(sale, 0)[2:] == [f"reserve 64-76 {reply}", *rest]
    assert ends(sale) == ["expired"]
    assert states(sale) == ["cart" if reply == "expired" else "locked"]


def test_the_order_does_not_prolong_the_lock(small_scenario: Build, engine: Engine) -> None:
    """From 33 to 93 ms: the order at 75 changes nothing, the sweep at 100 releases it."""
    shop = {**SHORT, "lock_time": "60ms"}
    sale = hold(scenario_by_hand(small_scenario, BUYER, shop=shop), engine, [0])
    assert of_visitor(sale, 0)[2:] == ["reserve 64-76 ok", "pay 96-108 expired"]
    assert moments(sale, "expires") == [93.0]
    assert moments(sale, "released") == [100.0]


def test_a_cart_that_was_swept_cannot_be_ordered(small_scenario: Build, engine: Engine) -> None:
    """Released at 60 ms; the order at 75 is refused, its unit was on the shelf by then."""
    shop = {**SHORT, "lock_time": "20ms"}
    sale = hold(scenario_by_hand(small_scenario, BUYER, shop=shop), engine, [0])
    assert of_visitor(sale, 0)[2:] == ["reserve 64-76 expired"]
    assert (ends(sale), states(sale)) == (["expired"], ["released"])
    assert moments(sale, "released") == [60.0]
    assert sale.audit.items[0].available_units == 10


def test_a_cart_sent_twice_is_one(small_scenario: Build, engine: Engine) -> None:
    """A page in between lets it wait: answered at 43.5 ms, given up at 42, sent again at 92."""
    buyer = {**BUYER, "request_timeout": "20ms", "retry_limit": 1, "unpaid_fraction": 1.0}
    scenario = scenario_by_hand(small_scenario, buyer, LOOKER, shop=CART)
    sale = hold(scenario, engine, [0, 21.5], persona=[0, 1])
    assert of_visitor(sale, 0)[1:] == [
        "cart 22-42 timeout",
        "cart 92-104 ok",
        "reserve 134-146 ok",
    ]
    assert moments(sale, "reserved") == [42.5]
    assert (states(sale), sale.audit.items[0].locked_units) == (["locked"], 1)


def test_an_order_sent_twice_is_one(small_scenario: Build, engine: Engine) -> None:
    """Likewise the order: made at 84.5 ms, given up at 84, sent again at 134."""
    buyer = {**BUYER, "request_timeout": "20ms", "retry_limit": 1, "unpaid_fraction": 1.0}
    scenario = scenario_by_hand(small_scenario, buyer, LOOKER, shop=CART)
    sale = hold(scenario, engine, [0, 63.5], persona=[0, 1])
    assert of_visitor(sale, 0)[2:] == ["reserve 64-84 timeout", "reserve 134-146 ok"]
    assert (ends(sale)[0], states(sale)) == ("unpaid", ["locked"])


def test_a_cart_counts_for_the_limit(small_scenario: Build, engine: Engine) -> None:
    """One unit an account, and it lies in the cart of another visit of it."""
    scenario = scenario_by_hand(small_scenario, LEAVER, servers=9, shop=CART)
    sale = hold(scenario, engine, [0, 5], account=[POOL_BASE + 7] * 2)
    assert ends(sale) == ["abandoned", "limited"]


def test_a_cart_outlasts_patience(small_scenario: Build, engine: Engine) -> None:
    """After 50 ms nobody puts anything into a cart; what lies there is ordered at 64 ms."""
    for patience, end in (("50ms", "sold"), ("20ms", "gave_up")):
        persona = {**BUYER, "patience": patience}
        sale = hold(scenario_by_hand(small_scenario, persona, shop=CART), engine, [0])
        assert ends(sale) == [end]


def test_an_ordered_cart_is_cancelled(small_scenario: Build, engine: Engine) -> None:
    """At the time of the payment: sent at 96 ms, decided at 107; its unit is back then."""
    persona = {**BUYER, **HOLDER, "cancel_fraction": 1.0}
    sale = hold(scenario_by_hand(small_scenario, persona, shop=CART), engine, [0])
    assert of_visitor(sale, 0)[3:] == ["cancel 96-108 ok"]
    assert (states(sale), moments(sale, "released")) == (["cancelled"], [107.0])


@pytest.mark.parametrize(
    ("policy", "end", "state"),
    [
        ("hold", "sold", "sold"),
        ("refund", "expired", "released"),
        ("recheck_stock", "sold", "sold"),
        ("query_before_cancel", "expired", "released"),
    ],
)
def test_money_that_comes_after_the_lapse(
    small_scenario: Build, engine: Engine, policy: str, end: str, state: str
) -> None:
    """Locked until 113 ms by the cart, paid from 107 to 147: as with a lock of the order."""
    shop = {**SHORT, "lock_time": "80ms", "late_payment": policy}
    sale = hold(scenario_by_hand(small_scenario, BUYER, shop=shop), engine, [0])
    assert (ends(sale), states(sale)) == ([end], [state])


def test_a_cart_has_stations_of_its_own(small_scenario: Build, engine: Engine) -> None:
    """Three times as long as an order; without them it passes those of the order."""
    long = [{"station": "web", "time": "30ms"}]
    scenario = scenario_by_hand(small_scenario, BUYER, shop=CART, service={"cart": long})
    assert of_visitor(hold(scenario, engine, [0]), 0)[1:3] == ["cart 22-54 ok", "reserve 84-96 ok"]


def sold_and_refused(
    build: Build, engine: Engine, lock_point: str
) -> tuple[int, list[str], list[str]]:
    """One hoarder with two accounts, one who never decides, and three who buy; three units."""
    shop = {"lock_point": lock_point, "lock_time": "150ms", "release_sweep": "10ms"}
    traits = {"restock_refresh_limit": 0}
    with_cart = {"cart_time": "30ms"} if lock_point == "cart" else {}
    hoarder = {**HOLDER, **traits, **with_cart}
    buyer = {**ROBOT, **traits, **with_cart}
    if lock_point == "cart":
        hoarder["abandon_fraction"], buyer["abandon_fraction"] = 1.0, 0.0
    scenario = scenario_by_hand(build, hoarder, buyer, stock=3, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 1, 2, 3, 4, 5, 186], persona=[0, 0, 1, 1, 1, 1, 1])
    refused = [f"{r['visitor']} {r['step']}" for r in sale.requests.to_pylist()
               if r["reply"] == "sold_out"]  # fmt: skip
    return sum(item.sold_units for item in sale.audit.items), ends(sale), refused


def test_what_hoarders_keep_from_buyers(small_scenario: Build, engine: Engine) -> None:
    """Two of three units are hoarded from 33 ms on, and swept at 190 ms; only payments prevent it.

    Where payments lock, all orders are made, and the last of the first four comes to the till in
    vain; where carts or orders do, three are refused before, and the one who comes late buys.
    """
    by = {point: sold_and_refused(small_scenario, engine, point)
          for point in ("cart", "order", "payment")}  # fmt: skip
    sold = [by[point][0] for point in ("cart", "order", "payment")]
    assert sold == [2, 2, 3]
    assert by["cart"][2] == ["3 cart", "4 cart", "5 cart"]
    assert by["order"][2] == ["3 reserve", "4 reserve", "5 reserve"]
    assert by["payment"][2] == ["5 pay", "6 browse"]
    assert by["payment"][1] == ["unpaid"] * 2 + ["sold"] * 3 + ["sold_out"] * 2


def test_late_channel(small_scenario: Build, engine: Engine) -> None:
    """A declined payment leaves the lock of the cart as it was."""
    channel = {**CHANNEL, "decline_fraction": 1.0}
    persona = {**BUYER, "payment_attempt_limit": 1}
    scenario = scenario_by_hand(small_scenario, persona, shop=CART, channel=channel)
    sale = hold(scenario, engine, [0])
    assert (ends(sale), states(sale)) == (["declined"], ["locked"])


@pytest.mark.parametrize("strategy", sorted(BROKEN_STRATEGIES))
def test_no_carts_with_a_broken_strategy(small_scenario: Build, strategy: str) -> None:
    found = cross_check(scenario_by_hand(small_scenario, shop={**CART, "strategy": strategy}))
    assert [place for place, _ in found] == [("shop", "lock_point")]


def test_no_carts_with_a_coupon(small_scenario: Build) -> None:
    shop = {**CART, "coupon": {"limit": 1, "off": 1}}
    found = cross_check(scenario_by_hand(small_scenario, BUYER, shop=shop))
    assert [place for place, _ in found] == [("shop", "lock_point")]


@pytest.mark.parametrize("lock_point", ["order", "payment"])
@pytest.mark.parametrize("field", ["cart_time", "abandon_fraction"])
def test_nobody_has_a_cart_elsewhere(small_scenario: Build, lock_point: str, field: str) -> None:
    """Refused where it would do nothing; nothing is wrong with it where carts lock."""
    persona = {**ROBOT, field: BUYER[field]}
    found = cross_check(scenario_by_hand(small_scenario, persona, shop={"lock_point": lock_point}))
    assert [place for place, _ in found] == [("crowd", "personas", "p0", field)]
    assert cross_check(scenario_by_hand(small_scenario, persona, shop=CART)) == []
