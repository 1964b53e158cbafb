"""Orders that are split by warehouse: the rule alone, and sales by hand in both engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sales_by_hand import ROBOT, ends, hold, scenario_by_hand

from doorbuster.measures.books import NO_ORDERS
from doorbuster.records.tables import SHIPMENTS
from doorbuster.rules.shipments import Sent, split
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES, Item
from doorbuster.scenario.warehouses import WITHOUT_WAREHOUSES
from doorbuster_sim import Engine, SimulatedSale
from doorbuster_sim.shipments import _moves

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
A, B, SET = range(3)
SHARED = 1 << 40
"""An account that several visitors have."""

# --- the rule ---


@st.composite
def orders_and_shelves(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """An order of one to three lines, and what lies in one to four warehouses."""
    skus = ["a", "b", "c"][: draw(st.integers(1, 3))]
    wanted = {sku: draw(st.integers(1, 6)) for sku in skus}
    names = st.sampled_from(["east", "north", "south", "west"])
    shelf = st.dictionaries(names, st.integers(0, 6), min_size=1)
    return wanted, {sku: draw(shelf) for sku in skus}


@pytest.mark.requirement("A069")
@settings(max_examples=1000)
@given(orders_and_shelves())
def test_parts_sum_to_the_order_and_no_warehouse_is_negative(
    given_: tuple[dict[str, int], dict[str, dict[str, int]]],
) -> None:
    """And it is split only where all warehouses together have too little, or no single one all."""
    wanted, free = given_
    shipments = split(wanted, free)
    is_enough = all(sum(free[sku].values()) >= units for sku, units in wanted.items())
    assert (shipments is not None) == is_enough
    if shipments is None:
        return
    sums: Counter[str] = Counter()
    for sent in shipments:
        sums[sent.sku] += sent.units
        assert 0 < sent.units <= free[sent.sku][sent.warehouse]
    assert sums == wanted
    places = [(sent.warehouse, sent.sku) for sent in shipments]
    assert len(set(places)) == len(places)


@settings(max_examples=1000)
@given(orders_and_shelves())
def test_one_warehouse_sends_all_whenever_one_can(
    given_: tuple[dict[str, int], dict[str, dict[str, int]]],
) -> None:
    """Against a search of all of them: the first that has everything is the one."""
    wanted, free = given_
    names = list(dict.fromkeys(name for sku in wanted for name in free[sku]))
    can = [n for n in names if all(free[sku].get(n, 0) >= u for sku, u in wanted.items())]
    shipments = split(wanted, free)
    if can:
        assert shipments == tuple(Sent(can[0], sku, units) for sku, units in wanted.items())
    else:
        assert shipments is None or len({sent.warehouse for sent in shipments}) > 1


def test_two_warehouses_are_never_three_of_one_line() -> None:
    """For one line the greedy choice has the fewest parcels; the oracle tries every division."""
    for levels in product(range(5), repeat=4):
        free = {"a": dict(zip("wxyz", levels, strict=True))}
        for units in range(1, sum(levels) + 1):
            shipments = split({"a": units}, free)
            assert shipments is not None
            fewest = next(n for n in range(1, 5) if sum(sorted(levels, reverse=True)[:n]) >= units)
            assert len(shipments) == fewest


def test_what_the_rule_chooses() -> None:
    """By hand: preference, one parcel before preference, most units, and the rest after that."""
    free = {"a": {"east": 2, "west": 5}}
    assert split({"a": 2}, free) == (Sent("east", "a", 2),)
    assert split({"a": 3}, free) == (Sent("west", "a", 3),)
    assert split({"a": 6}, free) == (Sent("west", "a", 5), Sent("east", "a", 1))
    assert split({"a": 8}, free) is None
    # Of b both have enough, of a none: three units from west beat two from east.
    both = {"a": {"east": 1, "west": 2}, "b": {"east": 4, "west": 1}}
    assert split({"a": 3, "b": 1}, both) == (
        Sent("west", "a", 2),
        Sent("west", "b", 1),
        Sent("east", "a", 1),
    )
    # An order of several lines goes by the warehouses of its first.
    ways = {"a": {"west": 1, "east": 1}, "b": {"east": 1, "west": 1, "north": 9}}
    assert split({"a": 1, "b": 1}, ways) == (Sent("west", "a", 1), Sent("west", "b", 1))
    assert split({}, {}) == ()


# --- the scenario ---


def item(**fields: Any) -> dict[str, Any]:
    return {"sku": "a", "price": 7, **fields}


def test_an_item_has_one_kind_of_stock() -> None:
    """A stock, warehouses or a bundle; the stock of warehouses is their sum."""
    assert Item.model_validate(item(warehouses={"east": 60, "west": 40})).stock == 100
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"stock": 2, "warehouses": {"east": 1}}, "has a stock and warehouses"),
        ({"bundle": {"b": 1}, "warehouses": {"east": 1}}, "has warehouses and a bundle"),
        ({"warehouses": {}}, "at least 1 item"),
        ({"warehouses": {f"w{n}": 1 for n in range(17)}}, "at most 16 items"),
        ({"warehouses": {"east": -1}}, "greater than or equal to 0"),
        ({"warehouses": {"east": 1.5}}, "valid integer"),
        ({"warehouses": {"in the east": 1}}, "is no short name"),
        ({"warehouses": 7}, "valid dictionary"),
        ({"warehouses": {"e": 600_000_000, "w": 600_000_000}}, "has 1,200,000,000 units"),
    ]
    for fields, sentence in wrong:
        with pytest.raises(ValueError, match=sentence):
            Item.model_validate(item(**fields))
    # What was read can be read again.
    again = {"stock": 3, "warehouses": {"east": 1, "west": 2}}
    assert Item.model_validate(item(**again)).stock == 3


def test_all_items_lie_in_warehouses_or_none(small_scenario: Build) -> None:
    rows = [item(warehouses={"east": 1}), {"sku": "b", "stock": 4, "price": 1}]
    [(place, what)] = cross_check(scenario_by_hand(small_scenario, shop={"items": rows}))
    assert place == ("shop", "items", 1, "stock")
    assert what == (
        "lies in no warehouse, as other items do (got 4); name warehouses for every item that has "
        "a stock, or for none"
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_that_can_send(small_scenario: Build, strategy: str) -> None:
    """The correct ones and the one that oversells."""
    shop = {"items": [item(warehouses={"east": 1})], "strategy": strategy}
    found = cross_check(scenario_by_hand(small_scenario, shop=shop))
    assert bool(found) == (strategy in WITHOUT_WAREHOUSES)
    if found:
        [(place, what)] = found
        assert place == ("shop", "strategy")
        assert what.startswith(f"'{strategy}' cannot send from warehouses")


# --- sales by hand ---


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def sent(sale: SimulatedSale) -> list[tuple[Any, ...]]:
    """Order, line, warehouse, units, and milliseconds of sending and return of each shipment."""
    rows = sale.shipments.to_pylist()
    return [
        (
            *(row[name] for name in ("order_id", "sku", "warehouse", "units")),
            *(None if row[n] is None else round(row[n] * 1e3, 6) for n in ("sent_s", "returned_s")),
        )
        for row in rows
    ]


@pytest.mark.requirement("A069")
@pytest.mark.parametrize("strategy", CORRECT)
def test_orders_are_split_when_they_are_paid_for(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """2 units in the east, 3 in the west; paid at 105, 305 and 505 ms.

    One comes from the east; two from the west, as the east has one; the last two from both.
    """
    items = [item(warehouses={"east": 2, "west": 3}, per_account_limit=2)]
    shop = {"items": items, "strategy": strategy}
    scenario = scenario_by_hand(small_scenario, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 200, 400, 600], quantity=[1, 2, 2, 1])
    assert ends(sale) == ["sold", "sold", "sold", "sold_out"]
    assert sent(sale) == [
        ("0-0", "a", "east", 1, 105.0, None),
        ("1-0", "a", "west", 2, 305.0, None),
        ("2-0", "a", "east", 1, 505.0, None),
        ("2-0", "a", "west", 1, 505.0, None),
    ]
    assert sale.shipments.schema.equals(SHIPMENTS)


def test_an_order_may_come_in_many_parcels(small_scenario: Build, engine: Engine) -> None:
    """Four units from four warehouses: two from the one that has two, then one each in order."""
    items = [item(warehouses={"a1": 1, "b2": 1, "c3": 2, "d4": 1}, per_account_limit=4)]
    scenario = scenario_by_hand(small_scenario, servers=9, shop={"items": items})
    sale = hold(scenario, engine, [0], quantity=[4])
    assert [(row[2], row[3]) for row in sent(sale)] == [("c3", 2), ("a1", 1), ("b2", 1)]


def test_who_does_not_pay_gets_nothing(small_scenario: Build, engine: Engine) -> None:
    """Locked units lie in no parcel: the second order is the first to be sent."""
    items = [item(warehouses={"east": 1, "west": 1})]
    holder = {**ROBOT, "unpaid_fraction": 1.0}
    scenario = scenario_by_hand(small_scenario, holder, ROBOT, servers=9, shop={"items": items})
    sale = hold(scenario, engine, [0, 200], persona=[0, 1])
    assert ends(sale) == ["unpaid", "sold"]
    assert sent(sale) == [("1-0", "a", "east", 1, 305.0, None)]


def test_units_go_back_to_where_they_were_taken_from(small_scenario: Build, engine: Engine) -> None:
    """One unit each. The first has that of the east, paid at 105, back at 147 ms.

    The second, paid at 125 ms, has that of the west; the third, at 305 ms, again that of the east.
    """
    items = [item(warehouses={"east": 1, "west": 1})]
    regrets = {**ROBOT, "refund_fraction": 1.0, "refund_after": "30ms"}
    shop = {"items": items, "refund": {"delay": "0s"}}
    scenario = scenario_by_hand(small_scenario, regrets, ROBOT, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 20, 200], persona=[0, 1, 1])
    assert ends(sale) == ["refunded", "sold", "sold"]
    assert sent(sale) == [
        ("0-0", "a", "east", 1, 105.0, 147.0),
        ("1-0", "a", "west", 1, 125.0, None),
        ("2-0", "a", "east", 1, 305.0, None),
    ]


def test_goods_that_were_sent_do_not_come_back(small_scenario: Build, engine: Engine) -> None:
    """With `returns_stock: false` the parcel is on its way, whoever has the money."""
    items = [item(warehouses={"east": 1})]
    regrets = {**ROBOT, "refund_fraction": 1.0, "refund_after": "30ms"}
    shop = {"items": items, "refund": {"delay": "0s", "returns_stock": False}}
    sale = hold(scenario_by_hand(small_scenario, regrets, servers=9, shop=shop), engine, [0])
    assert ends(sale) == ["refunded"]
    assert sent(sale) == [("0-0", "a", "east", 1, 105.0, None)]


def test_an_order_that_is_bought_again_is_sent_then(small_scenario: Build, engine: Engine) -> None:
    """Reserved at 33 ms, its lock is over at 73 and swept at 75; the money comes at 105 ms."""
    shop = {
        "items": [item(warehouses={"east": 1})],
        "late_payment": "recheck_stock",
        "lock_time": "40ms",
        "release_sweep": "25ms",
    }
    sale = hold(scenario_by_hand(small_scenario, servers=9, shop=shop), engine, [0])
    [order] = sale.orders.to_pylist()
    assert (order["released_s"], order["sold_s"]) == (0.075, 0.105)
    assert sent(sale) == [("0-0", "a", "east", 1, 105.0, None)]


def test_a_set_is_sent_whole_if_a_warehouse_has_it_whole(
    small_scenario: Build, engine: Engine
) -> None:
    """One a and two b. First the west alone has all; then the east has one of each, the west b."""
    items = [
        item(warehouses={"east": 1, "west": 1}),
        {"sku": "b", "price": 5, "warehouses": {"east": 1, "west": 3}},
        {"sku": "set", "price": 15, "bundle": {"b": 2, "a": 1}, "per_account_limit": 2},
    ]
    scenario = scenario_by_hand(small_scenario, servers=9, shop={"items": items})
    sale = hold(scenario, engine, [0, 200], item=[SET, SET])
    assert ends(sale) == ["sold", "sold"]
    assert sent(sale) == [
        ("0-0", "a", "west", 1, 105.0, None),
        ("0-0", "b", "west", 2, 105.0, None),
        ("1-0", "a", "east", 1, 305.0, None),
        ("1-0", "b", "east", 1, 305.0, None),
        ("1-0", "b", "west", 1, 305.0, None),
    ]


def test_a_sale_at_one_moment_sends_what_comes_back_first() -> None:
    """Orders that meet in one nanosecond: what returns, then what returns at once, then the rest.

    One unit. The first was sold at 1 s and is back at 2 s; the third is sold and back then; the
    second is sold then and stays. In the order of the table the second would take the third's.
    """
    orders = NO_ORDERS._replace(
        sold_s=np.array([1.0, 2.0, 2.0]), returned_s=np.array([2.0, np.nan, 2.0])
    )
    assert [order for _, _, order in _moves(orders)] == [0, 0, 2, 1]


def test_a_shop_that_oversells_leaves_somebody_without_a_parcel(
    small_scenario: Build, engine: Engine
) -> None:
    """Both look at 11 ms and reserve together at 33: two paid orders, one unit, one parcel."""
    shop = {"items": [item(warehouses={"east": 1})], "strategy": "check_then_write"}
    sale = hold(scenario_by_hand(small_scenario, servers=9, shop=shop), engine, [0, 0])
    assert ends(sale) == ["sold", "sold"]
    assert sent(sale) == [("0-0", "a", "east", 1, 105.0, None)]


def test_a_sale_without_warehouses_has_no_shipments(small_scenario: Build, engine: Engine) -> None:
    sale = hold(scenario_by_hand(small_scenario, servers=9), engine, [0])
    assert ends(sale) == ["sold"]
    assert sale.shipments.equals(SHIPMENTS.empty_table())
