"""Coupons by hand in both engines: how many orders carry one, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from tests.laws import broken_laws
from tests.older_runs import orders_without
from tests.sales_by_hand import HOLDER, ROBOT, ends, hold, scenario_by_hand
from tests.test_failure_scenarios import written
from tests.whole_scenarios import Whole

from doorbuster.measures.books import orders_of
from doorbuster.records.tables import ORDERS
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, LATE_PAYMENTS, STRATEGIES
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
COUPON: dict[str, Any] = {"limit": 1, "off": 2.50}
"""For one order; an item costs 7."""
BRINGING = {**ROBOT, "coupon_fraction": 1.0}
SHARED = 1 << 40
"""An account that several visitors have."""


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def discounts(sale: SimulatedSale) -> list[int]:
    """What each order costs less, in the order in which they were made."""
    return list(sale.orders["discount_cents"].to_pylist())


@pytest.mark.requirement("A029")
@pytest.mark.parametrize("strategy", CORRECT)
def test_the_first_orders_carry_it_and_nobody_is_refused(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """Three buyers, a coupon for one order: 4.50 and twice 7.00, in every book."""
    shop = {"coupon": COUPON, "strategy": strategy}
    scenario = scenario_by_hand(small_scenario, BRINGING, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 1, 2])
    assert ends(sale) == ["sold"] * 3
    assert discounts(sale) == [250, 0, 0]
    for table, column in (
        (sale.orders, "amount_cents"),
        (sale.charges, "amount_cents"),
        (sale.visits, "price_paid_cents"),
    ):
        assert table[column].to_pylist() == [450, 700, 700]
    audit = sale.audit
    assert (audit.captured_cents, audit.paid_cents, audit.discount_cents) == (1_850, 1_850, 250)
    assert (audit.coupon_limit, audit.coupon_redemptions) == (1, 1)


def test_only_who_brings_it_has_it(small_scenario: Build, engine: Engine) -> None:
    """Of two kinds of buyers the second brings none; of a fraction, so many do."""
    coupon = {**COUPON, "limit": 1000}
    scenario = scenario_by_hand(small_scenario, BRINGING, ROBOT, servers=9, shop={"coupon": coupon})
    assert discounts(hold(scenario, engine, [0, 1], persona=[1, 0])) == [0, 250]
    half = {**BRINGING, "coupon_fraction": 0.25}
    scenario = scenario_by_hand(
        small_scenario, half, servers=500, stock=500, shop={"coupon": coupon}
    )
    carrying = sum(cents > 0 for cents in discounts(hold(scenario, engine, range(400))))
    # Of 400 with 0.25 each: further than 4 standard deviations off once in 16,000 seeds.
    assert abs(carrying - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5


def test_an_account_carries_one_at_a_time(small_scenario: Build, engine: Engine) -> None:
    """Three orders of one account and one of another; two where two are allowed."""
    for per_account, expected in ((1, [250, 0, 0, 250]), (2, [250, 250, 0, 250])):
        coupon = {**COUPON, "limit": 9, "per_account": per_account}
        scenario = scenario_by_hand(
            small_scenario, BRINGING, servers=9, limit=3, shop={"coupon": coupon}
        )
        accounts = [SHARED, SHARED, SHARED, SHARED + 1]
        assert discounts(hold(scenario, engine, [0, 1, 2, 3], account=accounts)) == expected


def test_it_counts_over_all_items(small_scenario: Build, engine: Engine) -> None:
    """One account, two items: its second order, of another item, has none."""
    items = [{"sku": sku, "stock": 5, "price": 7} for sku in ("a", "b")]
    shop = {"coupon": {**COUPON, "limit": 9}, "items": items}
    scenario = scenario_by_hand(small_scenario, BRINGING, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 1], item=[0, 1], account=[SHARED, SHARED])
    assert discounts(sale) == [250, 0]
    assert [item.max_units_per_account for item in sale.audit.items] == [1, 1]


@pytest.mark.parametrize("way", ["lapsed", "cancelled"])
def test_an_order_gives_it_back(small_scenario: Build, engine: Engine, way: str) -> None:
    """Reserved at 33 ms, gone by 75, redeemed again by who reserves at 113 ms."""
    shop: dict[str, Any] = {"coupon": COUPON}
    if way == "lapsed":
        shop |= {"lock_time": "10ms", "release_sweep": "25ms"}
    holder = {**HOLDER, "coupon_fraction": 1.0, "cancel_fraction": float(way == "cancelled")}
    scenario = scenario_by_hand(small_scenario, holder, BRINGING, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 80], persona=[0, 1])
    states = {"lapsed": "released", "cancelled": "cancelled"}
    assert sale.orders["state"].to_pylist()[0] == states[way]
    assert discounts(sale) == [250, 250]


def test_a_cheaper_order_has_no_discount_on_its_quantity(
    small_scenario: Build, engine: Engine
) -> None:
    """Three units at 7.00, one coupon of 2.50: 18.50."""
    scenario = scenario_by_hand(
        small_scenario, BRINGING, servers=9, limit=3, shop={"coupon": COUPON}
    )
    sale = hold(scenario, engine, [0], quantity=[3])
    assert sale.orders["amount_cents"].to_pylist() == [1_850]
    assert sale.visits["price_paid_cents"].to_pylist() == [1_850]
    assert sale.audit.paid_cents == 1_850


def test_who_looks_before_another_writes_has_it_too(small_scenario: Build, engine: Engine) -> None:
    """One server of 10 ms: they look at 23 and 24 ms and are decided at 33 and 43.

    The third looks at 45 ms and sees the one that was written twice.
    """
    shop = {"coupon": {**COUPON, "limit": 1, "redeem": "check_then_write"}}
    web, row = {"name": "web", "servers": 9}, {"name": "row", "servers": 1}
    reserve = [{"station": "row", "time": "10ms"}]
    service = {"stations": [web, row], "reserve": reserve}
    scenario = scenario_by_hand(small_scenario, BRINGING, shop=shop, service=service)
    sale = hold(scenario, engine, [0, 1, 22])
    assert [round(s * 1e3) for s in sale.orders["reserved_s"].to_pylist()] == [33, 43, 55]
    assert discounts(sale) == [250, 250, 0]
    assert (sale.audit.coupon_limit, sale.audit.coupon_redemptions) == (1, 2)
    assert sale.audit.captured_cents == sale.audit.paid_cents == 1_600


def test_a_look_does_not_see_the_account_either(small_scenario: Build, engine: Engine) -> None:
    """Both orders of one account look at 23 and 24 ms; the count is written twice as one."""
    shop = {"coupon": {**COUPON, "limit": 2, "redeem": "check_then_write"}}
    scenario = scenario_by_hand(small_scenario, BRINGING, servers=9, limit=2, shop=shop)
    sale = hold(scenario, engine, [0, 1], account=[SHARED, SHARED])
    assert discounts(sale) == [250, 250]


def late(small_scenario: Build, policy: str) -> Scenario:
    """Locked at 33 ms for 50, swept at 100; the money comes at 145."""
    shop = {
        "coupon": {**COUPON, "limit": 1},
        "lock_time": "50ms",
        "release_sweep": "100ms",
        "late_payment": policy,
    }
    channel = {"latency": "80ms"}
    return scenario_by_hand(small_scenario, BRINGING, servers=9, shop=shop, channel=channel)


def test_late_money_buys_the_coupon_again(small_scenario: Build, engine: Engine) -> None:
    """Nobody has redeemed it since: the order is sold at its price, with the coupon."""
    sale = hold(late(small_scenario, "recheck_stock"), engine, [0])
    [order] = sale.orders.to_pylist()
    assert (order["state"], order["released_s"], order["sold_s"]) == ("sold", 0.1, 0.145)
    assert (sale.audit.paid_cents, sale.audit.coupon_redemptions) == (450, 1)


def test_late_money_for_a_coupon_that_is_gone_goes_back(
    small_scenario: Build, engine: Engine
) -> None:
    """The second reserves at 123 ms, with the coupon that the sweep has given back."""
    sale = hold(late(small_scenario, "recheck_stock"), engine, [0, 90])
    first, second = sale.orders.to_pylist()
    assert (first["state"], first["discount_cents"]) == ("released", 250)
    assert second["discount_cents"] == 250
    assert sale.charges["state"].to_pylist()[0] == "refunded"
    [item] = sale.audit.items
    assert item.available_units + item.locked_units + item.sold_units == 10


@pytest.mark.parametrize("policy", LATE_PAYMENTS)
def test_every_policy_counts_what_was_captured(
    small_scenario: Build, engine: Engine, policy: str
) -> None:
    """450 cents were asked for, whether they are kept with or without an order, or go back."""
    sale = hold(late(small_scenario, policy), engine, [0])
    charges = sale.charges.to_pylist()
    assert {charge["amount_cents"] for charge in charges} == {450}
    kept = sum(charge["state"] == "captured" for charge in charges)
    assert sale.audit.captured_cents == 450 * kept


@pytest.mark.parametrize(
    ("shop", "persona", "place"),
    [
        ({"coupon": {**COUPON, "off": 7.01}}, {}, ("shop", "coupon", "off")),
        ({"coupon": COUPON, "strategy": "stale_expiry"}, {}, ("shop", "coupon")),
        (
            {"coupon": {**COUPON, "redeem": "check_then_write"}, "late_payment": "forget"},
            {},
            ("shop", "coupon", "redeem"),
        ),
        (
            {
                "coupon": {**COUPON, "redeem": "check_then_write"},
                "unanswered_charge": "charge_again",
            },
            {},
            ("shop", "coupon", "redeem"),
        ),
        ({}, {"coupon_fraction": 0.1}, ("crowd", "personas", "p0", "coupon_fraction")),
        ({"coupon": {**COUPON, "off": 7.00}}, {"coupon_fraction": 0.1}, None),
        ({"coupon": COUPON, "late_payment": "forget"}, {}, None),
    ],
)
def test_what_does_not_go_together(
    small_scenario: Build, shop: dict[str, Any], persona: dict[str, Any], place: tuple[str] | None
) -> None:
    found = cross_check(scenario_by_hand(small_scenario, {**ROBOT, **persona}, shop=shop))
    assert [at for at, _ in found] == ([] if place is None else [place])


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("discount_cents", lambda cents: cents + 1),
        ("discount_cents", lambda cents: 30_000 - cents),
        ("amount_cents", lambda cents: cents - 1),
    ],
    ids=["another discount", "too many or too few", "another amount"],
)
def test_a_broken_law_is_found(column: str, change: Callable[[int], int]) -> None:
    """One order with another discount, or one too many or too few."""
    file = written("coupon_overuse")
    file["shop"]["coupon"]["redeem"] = "conditional_update"
    whole = Whole(file, 1)
    sale = whole.sale()
    assert broken_laws(whole, sale) == []
    rows = sale.orders.to_pylist()
    rows[30][column] = change(rows[30][column])
    wrong = SimulatedSale(**{**sale.__dict__, "orders": pa.Table.from_pylist(rows, ORDERS)})
    assert broken_laws(whole, wrong) != []


def test_books_of_runs_without_the_column_are_read(tmp_path: Path) -> None:
    """A finished run and one that was killed: no order of theirs had a discount."""
    for orders in orders_without(("discount_cents",), tmp_path):
        assert orders.schema.equals(ORDERS)
        assert orders_of(orders, skus=["console"]).discount_cents.tolist() == [0]
