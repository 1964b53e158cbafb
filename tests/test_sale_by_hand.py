"""Sales whose every record was computed by hand, held against both engines.

Where the comparison of the engines cannot see a mistake that both of them make, these can.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from doorbuster.plan.casting import POOL_BASE
from doorbuster.scenario import Scenario
from doorbuster_sim.engines import Engine


def loaded() -> ModuleType:
    """The module beside this file; tests are no package, so it is loaded by its path."""
    path = Path(__file__).with_name("sales_by_hand.py")
    spec = importlib.util.spec_from_file_location("sales_by_hand", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


by_hand = loaded()
Build = Callable[..., Scenario]
HOLDER, LOOKER, ROBOT = by_hand.HOLDER, by_hand.LOOKER, by_hand.ROBOT
ends, hold, of_visitor, story = by_hand.ends, by_hand.hold, by_hand.of_visitor, by_hand.story
sale_of = by_hand.scenario_by_hand


@pytest.fixture(params=["simpy", "compiled"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "compiled" and os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled in this process")
    chosen: Engine = request.param
    return chosen


def test_one_purchase(small_scenario: Build, engine: Engine) -> None:
    """Two units in one order: what the visitor, the shop and the provider note of it."""
    sale = hold(sale_of(small_scenario, limit=2), engine, [0], quantity=[2])
    assert story(sale) == ["0 browse 0-12 ok", "0 reserve 22-34 ok", "0 pay 54-106 ok"]
    visit = sale.visits.to_pylist()[0]
    assert (visit["started_s"], visit["reserved_s"]) == (0.0, 0.034)
    assert (visit["paid_s"], visit["left_s"]) == (0.106, 0.106)
    assert (visit["outcome"], visit["price_paid_cents"]) == ("sold", 1400)
    item = sale.audit.items[0]
    assert (item.available_units, item.locked_units, item.sold_units) == (8, 0, 2)
    assert (item.orders_paid, item.max_units_per_account) == (1, 2)
    assert (sale.audit.payments_captured, sale.audit.captured_cents) == (1, 1400)
    assert sale.audit.paid_cents == 1400
    assert by_hand.busy_ms(sale) == 30


def test_one_server_serves_in_the_order_of_coming(small_scenario: Build, engine: Engine) -> None:
    """At the shop at 1, 3, 5 and 6 ms; two may wait, the fourth is refused when it comes."""
    sale = hold(sale_of(small_scenario, LOOKER, queue_limit=2), engine, [0, 2, 4, 5])
    assert story(sale) == [
        "3 browse 5-7 overloaded",
        "0 browse 0-12 ok",
        "1 browse 2-22 ok",
        "2 browse 4-32 ok",
    ]
    assert ends(sale) == ["browsed", "browsed", "browsed", "failed"]
    use = sale.stations[0]
    assert (use["max_queue"], use["refused"], by_hand.busy_ms(sale)) == (2, 1, 30)


def test_two_servers_are_two(small_scenario: Build, engine: Engine) -> None:
    """Of three at once, the one with the highest number waits."""
    sale = hold(sale_of(small_scenario, LOOKER, servers=2), engine, [0, 0, 0])
    assert story(sale) == ["0 browse 0-12 ok", "1 browse 0-12 ok", "2 browse 0-22 ok"]
    assert sale.stations[0]["max_queue"] == 1


def test_of_two_at_once_the_first_of_the_plan_gets_the_last_unit(
    small_scenario: Build, engine: Engine
) -> None:
    sale = hold(sale_of(small_scenario, stock=1, servers=9), engine, [0, 0])
    assert ends(sale) == ["sold", "sold_out"]


def test_the_sale_opens_at_its_nanosecond(small_scenario: Build, engine: Engine) -> None:
    """A look decided 1 ns before the opening is too early, one at the opening is not."""
    sale = hold(sale_of(small_scenario, servers=9), engine, [-11.000001, -11])
    assert of_visitor(sale, 0)[0] == "browse -11.000001-0.999999 not_open"
    assert of_visitor(sale, 0)[1].endswith("ok")
    assert of_visitor(sale, 1) == ["browse -11-1 ok", "reserve 11-23 ok", "pay 43-95 ok"]


@pytest.mark.parametrize(("pays_after", "ends_as"), [("87ms", "sold"), ("88ms", "expired")])
def test_a_lock_lapses_at_its_nanosecond(
    small_scenario: Build, engine: Engine, pays_after: str, ends_as: str
) -> None:
    """Locked at 33 for 100 ms; the payment is at the till at 132, or at 133 and too late.

    No sweep comes: the unit is not back yet, and the lock is worth nothing all the same.
    """
    hurried = {**ROBOT, "payment_time": pays_after}
    sale = hold(sale_of(small_scenario, hurried, shop={"lock_time": "100ms"}), engine, [0])
    assert ends(sale) == [ends_as]
    assert sale.audit.items[0].sold_units == (ends_as == "sold")


def test_what_lapses_at_a_sweep_is_there_for_who_asks_at_it(
    small_scenario: Build, engine: Engine
) -> None:
    """Locked at 50, lapsed at 150 and swept at 150: asked for at 149 and at 150."""
    thinker = {**ROBOT, "think_time": "117ms"}
    shop = {"lock_time": "100ms", "release_sweep": "50ms"}
    scenario = sale_of(small_scenario, HOLDER, thinker, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [9, 10, 17], persona=[1, 1, 0])
    assert ends(sale) == ["sold_out", "sold", "unpaid"]


def test_sweeps_come_at_multiples_from_the_opening(small_scenario: Build, engine: Engine) -> None:
    """Locked at 33, lapsed at 93; a sweep every 70 ms comes at 70 and at 140, not in between."""
    thinker = {**ROBOT, "think_time": "100ms"}
    shop = {"lock_time": "60ms", "release_sweep": "70ms"}
    scenario = sale_of(small_scenario, HOLDER, thinker, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 6, 7], persona=[0, 1, 1])
    assert of_visitor(sale, 1)[-1] == "reserve 118-130 sold_out"
    sale = hold(scenario, engine, [0, 16, 17], persona=[0, 1, 1])
    assert of_visitor(sale, 1)[-1] == "reserve 128-140 sold_out"
    assert of_visitor(sale, 2)[1] == "reserve 129-141 ok"


def test_a_lapsed_lock_no_longer_counts_for_the_limit(
    small_scenario: Build, engine: Engine
) -> None:
    """One account, one unit at a time: locked at 33, limited at 83, free at the sweep of 150."""
    shop = {"lock_time": "100ms", "release_sweep": "50ms"}
    scenario = sale_of(small_scenario, HOLDER, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 50, 120, 130], account=[POOL_BASE + 5] * 4)
    assert ends(sale) == ["unpaid", "limited", "unpaid", "limited"]
    assert sale.audit.items[0].max_units_per_account <= 1


def test_the_limit_is_by_account_and_item(small_scenario: Build, engine: Engine) -> None:
    """One account buys one of each item; another account is another one."""
    items = [{"sku": sku, "stock": 5, "price": 1} for sku in ("a", "b")]
    scenario = sale_of(small_scenario, servers=9, shop={"items": items})
    one, other = POOL_BASE + 5, POOL_BASE + 6
    sale = hold(scenario, engine, [0, 1, 2, 3], account=[one, one, one, other], item=[0, 1, 0, 0])
    assert ends(sale) == ["sold", "sold", "limited", "sold"]


@pytest.mark.parametrize(
    ("service_time", "told"),
    [("28ms", ["browse 0-30 ok"]), ("29ms", ["browse 0-30 timeout", "browse 80-110 timeout"])],
)
def test_an_answer_at_the_deadline_is_an_answer(
    small_scenario: Build, engine: Engine, service_time: str, told: list[str]
) -> None:
    """The deadline counts from the sending: 30 ms later the visitor hears no more."""
    hasty = {**LOOKER, "request_timeout": "30ms", "retry_limit": 1}
    browse = [{"station": "web", "time": service_time}]
    sale = hold(sale_of(small_scenario, hasty, service={"browse": browse}), engine, [0])
    assert of_visitor(sale, 0) == told


def test_a_stale_answer_is_not_heard(small_scenario: Build, engine: Engine) -> None:
    """Sent at 0 and, after a timeout at 30, at 35; the first answer comes at 42, for nobody."""
    hasty = {**LOOKER, "request_timeout": "30ms", "retry_limit": 1, "retry_wait": "5ms"}
    browse = [{"station": "web", "time": "40ms"}]
    scenario = sale_of(small_scenario, hasty, servers=9, service={"browse": browse})
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0) == ["browse 0-30 timeout", "browse 35-65 timeout"]
    assert (ends(sale), by_hand.busy_ms(sale, 9)) == (["failed"], 80)


def test_a_repeated_reservation_is_the_same_one(small_scenario: Build, engine: Engine) -> None:
    """The first answer would come at 61, after the deadline; the repeat finds the lock."""
    holder = {**HOLDER, "request_timeout": "30ms", "retry_limit": 1}
    reserve = [{"station": "web", "time": "28ms"}, {"station": "web", "time": "9ms"}]
    scenario = sale_of(small_scenario, holder, limit=9, servers=9, service={"reserve": reserve})
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[1:] == ["reserve 22-52 timeout", "reserve 102-132 timeout"]
    assert sale.audit.items[0].locked_units == 1


@pytest.mark.parametrize(
    ("latency", "answered"), [("100ms", "pay 134-166 ok"), ("60ms", "pay 134-146 ok")]
)
def test_a_repeated_payment_is_the_same_one(
    small_scenario: Build, engine: Engine, latency: str, answered: str
) -> None:
    """At the till at 65 and again at 145; the provider answers at 165, or has done so at 125."""
    hasty = {**ROBOT, "request_timeout": "60ms", "retry_limit": 1, "retry_wait": "20ms"}
    sale = hold(sale_of(small_scenario, hasty, channel={"latency": latency}), engine, [0])
    assert of_visitor(sale, 0)[2:] == ["pay 54-114 timeout", answered]
    assert ends(sale) == ["sold"]
    assert (sale.audit.payments_captured, sale.audit.captured_cents) == (1, 700)
    assert (sale.audit.orders_captured_twice, sale.audit.items[0].orders_paid) == (0, 1)


@pytest.mark.parametrize(
    ("timeout", "told"),
    [
        ("30ms", ["pay 54-96 pending", "poll 136-148 pending", "poll 188-200 ok"]),
        ("99ms", ["pay 54-165 pending", "poll 205-217 ok"]),
        ("100ms", ["pay 54-166 ok"]),
    ],
)
def test_the_shop_waits_so_long_for_the_provider(
    small_scenario: Build, engine: Engine, timeout: str, told: list[str]
) -> None:
    """At the till at 65, decided at 165; an answer at the deadline is one."""
    scenario = sale_of(small_scenario, channel={"latency": "100ms"}, payment_timeout=timeout)
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[2:] == told
    assert ends(sale) == ["sold"]


def test_a_payment_holds_its_lock_until_it_is_decided(
    small_scenario: Build, engine: Engine
) -> None:
    """Locked from 33 to 93; a payment from 65 to 265 is declined, the next one is too late.

    The unit is back at the first sweep after the decision, at 300 and not at 100 or 200.
    """
    channel = {"latency": "200ms", "decline_fraction": 1.0}
    late = {**ROBOT, "think_time": "232ms", "restock_refresh_limit": 0}
    later = {**ROBOT, "think_time": "270ms"}
    shop = {"lock_time": "60ms", "release_sweep": "100ms"}
    scenario = sale_of(
        small_scenario, ROBOT, late, later, stock=1, servers=9, shop=shop, channel=channel
    )
    sale = hold(scenario, engine, [0, 7, 8], persona=[0, 1, 2])
    assert of_visitor(sale, 0)[2:] == ["pay 54-266 declined", "pay 316-328 expired"]
    assert of_visitor(sale, 1)[1] == "reserve 251-263 sold_out"
    assert of_visitor(sale, 2)[1] == "reserve 290-302 ok"


def test_three_declined_payments_and_out(small_scenario: Build, engine: Engine) -> None:
    """Each is a payment of its own; the lock stays until its time."""
    scenario = sale_of(small_scenario, channel={"decline_fraction": 1.0})
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[2:] == [
        "pay 54-106 declined",
        "pay 156-208 declined",
        "pay 258-310 declined",
    ]
    visit = sale.visits.to_pylist()[0]
    assert (visit["outcome"], visit["decline_count"]) == ("declined", 3)
    assert (sale.audit.payments_captured, sale.audit.items[0].locked_units) == (0, 1)


@pytest.mark.parametrize(("patience", "ends_as"), [("22ms", "sold"), ("21ms", "gave_up")])
def test_patience_counts_from_the_arrival(
    small_scenario: Build, engine: Engine, patience: str, ends_as: str
) -> None:
    """The last step that patience can end is sending the reservation, 22 ms after coming."""
    person = {**ROBOT, "patience": patience}
    assert ends(hold(sale_of(small_scenario, person), engine, [500])) == [ends_as]


def test_stock_is_read_every_half_second(small_scenario: Build, engine: Engine) -> None:
    """From the start to the end; a reading sees what happens at its moment."""
    sale = hold(sale_of(small_scenario), engine, [467])
    assert sale.stock["at_s"].to_pylist() == [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0]
    assert sale.stock["locked"].to_pylist() == [0, 0, 0, 1, 0, 0, 0]
    assert sale.stock["sold"].to_pylist() == [0, 0, 0, 0, 1, 1, 1]


def test_the_end_cuts_off(small_scenario: Build, engine: Engine) -> None:
    """The end at 2 s finds one visitor in service since 1,993 and nobody answers it any more."""
    sale = hold(sale_of(small_scenario), engine, [1970])
    assert of_visitor(sale, 0) == ["browse 1970-1982 ok", "reserve 1992- timeout"]
    assert ends(sale) == ["cut_off"]
    assert sale.visits["left_s"].to_pylist() == [None]
    assert by_hand.busy_ms(sale) == 10 + 7
    assert sale.audit.items[0].available_units == 10


def test_locks_that_no_sweep_took_back_are_told(small_scenario: Build, engine: Engine) -> None:
    """Locked at 33 and swept every 0.7 s: lapsed at 1,999 is fresh, lapsed at 1,200 would be swept.

    The audit counts locks that are older than their time and one sweep: none in a sound shop.
    """
    shop = {"lock_time": "1200ms", "release_sweep": "700ms"}
    sale = hold(sale_of(small_scenario, HOLDER, shop=shop), engine, [0, 150])
    item = sale.audit.items[0]
    assert (item.locked_units, item.lapsed_locks) == (0, 0)
    shop = {"lock_time": "1500ms", "release_sweep": "700ms"}
    sale = hold(sale_of(small_scenario, HOLDER, shop=shop), engine, [0])
    item = sale.audit.items[0]
    assert (item.locked_units, item.lapsed_locks) == (1, 0)
