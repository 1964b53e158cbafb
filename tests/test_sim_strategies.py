"""Ways to keep stock, by hand: each broken one fails in its way, and no correct one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
from tests.sales_by_hand import HOLDER, ROBOT, ends, hold, of_visitor, scenario_by_hand
from tests.test_sim_laws import every_sale
from tests.whole_scenarios import Whole

from doorbuster.plan.casting import POOL_BASE
from doorbuster.scenario import Scenario
from doorbuster.scenario.shop import (
    BROKEN_STRATEGIES,
    LOCKING_AT_PAYMENT,
    STRATEGIES,
    Strategy,
)
from doorbuster_sim import Engine, SimulatedSale
from doorbuster_sim.simpy_engine.keeping import keeping_of
from doorbuster_sim.strategies import code_of
from doorbuster_sim.strategies.buckets import BUCKET_COUNT, own_bucket, share

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
STOCK = 1


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def units(sale: SimulatedSale, *states: str) -> int:
    """Units of orders in some states: what the target's own book says."""
    return sum(row["quantity"] for row in sale.orders.to_pylist() if row["state"] in states)


def charged_for_nothing(sale: SimulatedSale) -> list[str]:
    """Charges that were captured and kept for an order that is not sold."""
    sold = {row["order_id"] for row in sale.orders.to_pylist() if row["state"] == "sold"}
    rows = sale.charges.to_pylist()
    return [
        row["charge_id"]
        for row in rows
        if row["state"] == "captured" and row["order_id"] not in sold
    ]


def order_times(sale: SimulatedSale) -> list[tuple[str, float | None, float | None]]:
    """State, moment of the release and of the sale of each order."""
    rows = sale.orders.to_pylist()
    return [(row["state"], row["released_s"], row["sold_s"]) for row in rows]


Hold = Callable[[Build, Engine, Strategy], SimulatedSale]


def two_at_once(build: Build, engine: Engine, strategy: Strategy) -> SimulatedSale:
    """One unit. At the last station at 23 and 28 ms, decided at 33 and 38."""
    scenario = scenario_by_hand(build, stock=STOCK, servers=9, shop={"strategy": strategy})
    return hold(scenario, engine, [0, 5])


def one_is_over_the_limit(build: Build, engine: Engine, strategy: Strategy) -> SimulatedSale:
    """Two units, two buyers of one account with a limit of one, then another account."""
    scenario = scenario_by_hand(build, stock=2, servers=9, shop={"strategy": strategy})
    one, other = POOL_BASE + 5, POOL_BASE + 6
    return hold(scenario, engine, [0, 50, 100], account=[one, one, other])


def one_lets_it_lapse(build: Build, engine: Engine, strategy: Strategy) -> SimulatedSale:
    """One unit, locked at 33 ms, asked for in vain at 38, back at the sweep of 150, wanted at 183.

    The product page shows the unit from 150 on.
    """
    shop = {"strategy": strategy, "lock_time": "100ms", "release_sweep": "50ms"}
    scenario = scenario_by_hand(build, HOLDER, ROBOT, stock=STOCK, servers=9, shop=shop)
    return hold(scenario, engine, [0, 5, 150], persona=[0, 1, 1])


def paid_before_it_lapses(build: Build, engine: Engine, strategy: Strategy) -> SimulatedSale:
    """Locked from 33 to 98 ms, asked for at 65, captured at 85; sweeps at 50 and at 100."""
    shop = {"strategy": strategy, "lock_time": "65ms", "release_sweep": "50ms"}
    channel = {"latency": "20ms"}
    scenario = scenario_by_hand(build, stock=STOCK, servers=9, shop=shop, channel=channel)
    return hold(scenario, engine, [0, 120])


def being_paid_when_it_lapses(build: Build, engine: Engine, strategy: Strategy) -> SimulatedSale:
    """Locked from 33 to 98 ms, asked for at 65, captured at 105; sweeps at 50 and at 100."""
    shop = {"strategy": strategy, "lock_time": "65ms", "release_sweep": "50ms"}
    return hold(scenario_by_hand(build, stock=STOCK, servers=9, shop=shop), engine, [0])


# --- what no correct strategy does ---

RACES: list[Hold] = [
    two_at_once,
    one_is_over_the_limit,
    one_lets_it_lapse,
    paid_before_it_lapses,
    being_paid_when_it_lapses,
]


@pytest.mark.parametrize("strategy", CORRECT)
@pytest.mark.parametrize("race", RACES, ids=lambda race: str(race.__name__))
def test_a_correct_strategy_survives_every_race(
    small_scenario: Build, engine: Engine, strategy: Strategy, race: Hold
) -> None:
    """Nothing oversold, nothing charged for nothing, every unit sold that somebody wanted."""
    sale = race(small_scenario, engine, strategy)
    item = sale.audit.items[0]
    assert units(sale, "sold") == item.initial_units == item.sold_units
    assert item.available_units == item.locked_units == 0
    assert charged_for_nothing(sale) == []
    assert "refunded" not in sale.charges["state"].to_pylist()
    assert sale.audit.captured_cents == sale.audit.paid_cents


# --- what the broken ones do ---


def test_check_then_write_sells_the_last_unit_twice(small_scenario: Build, engine: Engine) -> None:
    """Both see one unit at 23 and 28 ms; the level is 0 and two orders hold a unit."""
    sale = two_at_once(small_scenario, engine, "check_then_write")
    assert ends(sale) == ["sold", "sold"]
    assert units(sale, "sold") == 2 > STOCK
    item = sale.audit.items[0]
    assert (item.available_units, item.locked_units, item.sold_units) == (0, 0, 2)


def test_check_then_write_forgets_what_came_between(small_scenario: Build, engine: Engine) -> None:
    """A unit comes back at 100 ms, between a look at 93 and a write at 103: it is lost.

    Two units; one is locked from 33 on for 60 ms.
    """
    shop = {"strategy": "check_then_write", "lock_time": "60ms", "release_sweep": "100ms"}
    scenario = scenario_by_hand(small_scenario, HOLDER, ROBOT, stock=2, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 70], persona=[0, 1])
    item = sale.audit.items[0]
    assert (item.available_units, item.locked_units, item.sold_units) == (0, 0, 1)


def test_prededuct_without_return_hides_what_the_limit_refused(
    small_scenario: Build, engine: Engine
) -> None:
    sale = one_is_over_the_limit(small_scenario, engine, "prededuct_without_return")
    assert ends(sale) == ["sold", "limited", "sold_out"]
    assert sale.audit.items[0].available_units == 1


def test_prededuct_without_return_hides_what_lapsed(small_scenario: Build, engine: Engine) -> None:
    """The page shows the unit, the counter has none."""
    sale = one_lets_it_lapse(small_scenario, engine, "prededuct_without_return")
    assert ends(sale) == ["unpaid", "sold_out", "sold_out"]
    assert of_visitor(sale, 2) == ["browse 150-162 ok", "reserve 172-174 sold_out"]
    assert sale.audit.items[0].available_units == 1


def test_stuck_sold_out_never_sells_what_comes_back(small_scenario: Build, engine: Engine) -> None:
    sale = one_lets_it_lapse(small_scenario, engine, "stuck_sold_out")
    assert ends(sale) == ["unpaid", "sold_out", "sold_out"]
    assert of_visitor(sale, 2) == ["browse 150-162 ok", "reserve 172-184 sold_out"]
    assert sale.audit.items[0].available_units == 1


def test_unguarded_release_takes_back_what_is_paid(small_scenario: Build, engine: Engine) -> None:
    """Sold at 85 ms and released at 100: the charge stays, the unit is sold to another one.

    That one, sold at 205, is released at 250.
    """
    sale = paid_before_it_lapses(small_scenario, engine, "unguarded_release")
    assert order_times(sale) == [("released", 0.1, 0.085), ("released", 0.25, 0.205)]
    assert charged_for_nothing(sale) == ["0-0", "1-0"]
    audit = sale.audit
    assert (audit.payments_captured, audit.payments_without_order, audit.paid_cents) == (2, 2, 0)
    item = audit.items[0]
    assert (item.available_units, item.sold_units, item.orders_paid) == (1, 0, 0)


def test_unguarded_release_sells_without_stock(small_scenario: Build, engine: Engine) -> None:
    """Released at 100 ms, captured at 105: the order is sold and its unit is on the shelf."""
    sale = being_paid_when_it_lapses(small_scenario, engine, "unguarded_release")
    assert order_times(sale) == [("sold", 0.1, 0.105)]
    item = sale.audit.items[0]
    assert (item.available_units, item.locked_units, item.sold_units) == (1, 0, 1)
    assert (item.orders_paid, item.max_units_per_account) == (1, 1)
    assert ends(sale) == ["sold"]


def test_stale_expiry_takes_back_what_was_paid_since(small_scenario: Build, engine: Engine) -> None:
    """In the copy of 50 ms the order is unpaid; it is sold at 85 and released at 100.

    The second order, made at 153, lapses at 218; in the copy of 200 ms it is unpaid, too.
    """
    sale = paid_before_it_lapses(small_scenario, engine, "stale_expiry")
    assert order_times(sale)[0] == ("released", 0.1, 0.085)
    assert charged_for_nothing(sale)[0] == "0-0"
    assert ends(sale) == ["sold", "sold"]
    assert sale.audit.payments_captured == 2 > STOCK


def test_stale_expiry_gives_money_back_that_comes_too_late(
    small_scenario: Build, engine: Engine
) -> None:
    """Released at 100 ms, captured at 105 and given back at once; the buyer is told `expired`."""
    sale = being_paid_when_it_lapses(small_scenario, engine, "stale_expiry")
    assert order_times(sale) == [("released", 0.1, None)]
    [charge] = sale.charges.to_pylist()
    assert (charge["state"], charge["captured_s"], charge["refunded_s"]) == (
        "refunded",
        0.105,
        0.105,
    )
    assert of_visitor(sale, 0)[-1] == "pay 54-106 expired"
    assert (sale.audit.payments_captured, sale.audit.payments_without_order) == (0, 0)
    assert sale.audit.items[0].available_units == 1


# --- in what the correct ones differ ---


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("conditional_update", "reserve 27-39 sold_out"),
        ("row_lock", "reserve 27-39 sold_out"),
        ("buckets", "reserve 27-39 sold_out"),
        # Overtaken at 38, it looks again and sees that nothing is left.
        ("optimistic", "reserve 27-39 sold_out"),
        # Turned away by the counter at 28.
        ("prededuct", "reserve 27-29 sold_out"),
    ],
)
def test_when_the_second_buyer_is_told(
    small_scenario: Build, engine: Engine, strategy: Strategy, told: str
) -> None:
    assert of_visitor(two_at_once(small_scenario, engine, strategy), 1)[-1] == told


def test_who_is_overtaken_eight_times_is_told_overloaded(
    small_scenario: Build, engine: Engine
) -> None:
    """Nine at once, a millisecond apart; in each round of 10 ms the first one gets through."""
    shop = {"strategy": "optimistic"}
    scenario = scenario_by_hand(small_scenario, HOLDER, stock=20, servers=9, shop=shop)
    sale = hold(scenario, engine, list(range(9)))
    assert [of_visitor(sale, visitor)[1] for visitor in range(9)] == [
        *(f"reserve {22 + number}-{34 + 11 * number} ok" for number in range(8)),
        "reserve 30-112 overloaded",
    ]
    assert sale.stations[0]["refused"] == 0
    assert units(sale, "locked") == 8


SLOW_ROW = [{"kind": "slow_database", "start": "-1s", "duration": "3s", "extra": "5ms"}]


def nine_at_a_row(
    build: Build,
    engine: Engine,
    strategy: Strategy,
    faults: Sequence[dict[str, object]],
    rollback: str = "0s",
) -> SimulatedSale:
    """Nine buyers a millisecond apart, a page for all of them and a row for one, 10 ms each."""
    pages = [{"station": "page", "time": "10ms"}]
    service = {
        "stations": [{"name": "page", "servers": 9}, {"name": "row", "servers": 1}],
        "browse": pages,
        "reserve": [*pages, {"station": "row", "time": "10ms"}],
        "pay": pages,
        "rollback": rollback,
    }
    shop = {"strategy": strategy}
    scenario = scenario_by_hand(build, HOLDER, stock=20, shop=shop, service=service, faults=faults)
    return hold(scenario, engine, list(range(9)))


@pytest.mark.parametrize("faults", [[], SLOW_ROW])
def test_a_wait_for_the_row_is_no_time_at_it(
    small_scenario: Build, engine: Engine, faults: list[dict[str, object]]
) -> None:
    """All look at once and write one after the other, as with a lock; the ninth look is too many.

    Whoever waited and was overtaken keeps the row for no time, slow or not.
    """
    told = {}
    for strategy in ("optimistic", "row_lock"):
        sale = nine_at_a_row(small_scenario, engine, strategy, faults)
        told[strategy] = [of_visitor(sale, visitor)[1] for visitor in range(9)]
        row = sale.stations[1]
        assert (row["max_queue"], row["refused"]) == (8, 0)
    assert told["optimistic"][:8] == told["row_lock"][:8]
    eighth, ninth = told["row_lock"][7:]
    assert (eighth[:8], ninth[-2:]) == ("reserve ", "ok")
    given_up_ms = int(eighth.split("-")[1].split()[0])
    assert told["optimistic"][8] == f"reserve 30-{given_up_ms} overloaded"


@pytest.mark.parametrize(("faults", "row_ms"), [([], 10), (SLOW_ROW, 15)])
def test_who_is_overtaken_keeps_the_row_for_a_rollback(
    small_scenario: Build, engine: Engine, faults: Sequence[dict[str, object]], row_ms: int
) -> None:
    """After each order all who wait are told, 1 ms each, before the first of them has its turn.

    A slow database holds orders, and not what is rolled back.
    """
    sale = nine_at_a_row(small_scenario, engine, "optimistic", faults, rollback="1ms")
    answers = [of_visitor(sale, visitor)[1] for visitor in range(9)]
    answered_ms = [int(answer.split()[1].split("-")[1]) for answer in answers]
    losers = [8, 7, 6, 5, 4, 3, 2]
    rounds_ms = [row_ms + told for told in losers]
    assert [b - a for a, b in pairwise(answered_ms)] == [*rounds_ms, 1]
    assert [answer.split()[-1] for answer in answers] == ["ok"] * 8 + ["overloaded"]


@pytest.mark.parametrize(
    ("strategy", "second"), [("prededuct", "ok"), ("prededuct_without_return", "sold_out")]
)
def test_a_full_station_behind_the_counter(
    small_scenario: Build, engine: Engine, strategy: Strategy, second: str
) -> None:
    """At 23 and 24 ms: one server, nobody may wait. Two units, the third buyer comes at 123."""
    shop = {"strategy": strategy}
    browse = [{"station": "page", "time": "10ms"}]
    stations = [{"name": "page", "servers": 9}, {"name": "web", "servers": 1, "queue_limit": 0}]
    service = {"stations": stations, "browse": browse}
    scenario = scenario_by_hand(small_scenario, HOLDER, stock=2, shop=shop, service=service)
    sale = hold(scenario, engine, [0, 1, 100])
    assert of_visitor(sale, 1)[1] == "reserve 23-25 overloaded"
    assert of_visitor(sale, 2)[1].split()[-1] == second


def test_a_repeated_wish_gives_its_units_back(small_scenario: Build, engine: Engine) -> None:
    """The repeat takes from the counter, finds its lock and gives back: the next buyer gets one."""
    holder = {**HOLDER, "request_timeout": "30ms", "retry_limit": 1}
    reserve = [{"station": "web", "time": "28ms"}, {"station": "web", "time": "9ms"}]
    for strategy in ("prededuct", "prededuct_without_return"):
        scenario = scenario_by_hand(
            small_scenario,
            holder,
            ROBOT,
            stock=2,
            servers=9,
            shop={"strategy": strategy},
            service={"reserve": reserve},
        )
        sale = hold(scenario, engine, [0, 200], persona=[0, 1])
        assert of_visitor(sale, 0)[1:] == ["reserve 22-52 timeout", "reserve 102-132 timeout"]
        assert ends(sale)[1] == "sold"


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("buckets", ["sold", "sold", "sold_out"]),
        ("scattered_buckets", ["sold_out", "sold_out", "sold_out"]),
    ],
)
def test_units_of_several_buckets(
    small_scenario: Build, engine: Engine, strategy: Strategy, told: list[str]
) -> None:
    """Eight units lie one in each bucket: wishes for three and four find none that covers them.

    With all eight gathered the first two get theirs, and one unit is left for a wish of two.
    """
    shop = {"strategy": strategy}
    scenario = scenario_by_hand(small_scenario, stock=8, limit=9, servers=9, shop=shop)
    assert ends(hold(scenario, engine, [0, 200, 400], quantity=[3, 4, 2])) == told
    assert ends(hold(scenario, engine, [0, 200, 400], quantity=[3, 4, 1]))[2] == "sold"
    fuller = scenario_by_hand(small_scenario, stock=16, limit=2, servers=9, shop=shop)
    assert ends(hold(fuller, engine, [0], quantity=[2])) == ["sold"]


def test_gathered_units_go_back_together(small_scenario: Build, engine: Engine) -> None:
    """What lapses is in one bucket afterwards; gathered again, it makes another order."""
    shop = {"strategy": "buckets", "lock_time": "100ms", "release_sweep": "50ms"}
    scenario = scenario_by_hand(
        small_scenario, HOLDER, ROBOT, stock=8, limit=9, servers=9, shop=shop
    )
    sale = hold(scenario, engine, [0, 400, 600], persona=[0, 1, 1], quantity=[5, 7, 1])
    assert ends(sale) == ["unpaid", "sold", "sold"]


def test_buckets_sell_the_last_unit_to_any_account(small_scenario: Build, engine: Engine) -> None:
    """One account alone empties all buckets, and what lapses goes back to its own."""
    shop = {"strategy": "buckets", "lock_time": "100ms", "release_sweep": "50ms"}
    scenario = scenario_by_hand(small_scenario, HOLDER, stock=11, limit=99, servers=99, shop=shop)
    arrivals = [*range(12), *range(400, 412)]
    sale = hold(scenario, engine, arrivals, account=[POOL_BASE + 3] * 24)
    assert ends(sale).count("unpaid") == 22
    assert ends(sale)[11] == ends(sale)[23] == "sold_out"


def test_the_shares_of_the_buckets_are_the_stock() -> None:
    for stock in (0, 1, 7, 8, 9, 1000):
        shares = [share(stock, bucket) for bucket in range(BUCKET_COUNT)]
        assert sum(shares) == stock
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("first", [0, POOL_BASE])
def test_accounts_spread_over_the_buckets(first: int) -> None:
    counts = [0] * BUCKET_COUNT
    for account in range(first, first + 8000):
        counts[own_bucket(account)] += 1
    assert min(counts) > 900
    assert max(counts) < 1100


# --- over generated sales ---


def kept_by(whole: Whole, strategy: Strategy) -> Whole:
    """The same sale under another strategy, late money, refunds and bundles aside."""
    shop = {**whole.file["shop"], "strategy": strategy, "late_payment": "hold"}
    shop.pop("refund", None)
    if strategy not in LOCKING_AT_PAYMENT:
        shop.pop("lock_point", None)
    shop["items"] = [item for item in shop["items"] if "bundle" not in item]
    personas = {
        name: {**traits, "wants": of_items(traits["wants"], shop["items"])}
        for name, traits in whole.file["crowd"]["personas"].items()
    }
    crowd = {**whole.file["crowd"], "personas": personas}
    return replace(whole, file={**whole.file, "shop": shop, "crowd": crowd})


def of_items(wants: dict[str, float], items: list[dict[str, Any]]) -> dict[str, float]:
    """Those of them, or of all alike where none is left."""
    kept = {item["sku"]: wants.get(item["sku"], 0) for item in items}
    return kept if any(kept.values()) else {}


def tables(sale: SimulatedSale) -> tuple[Any, ...]:
    return sale.visits, sale.requests, sale.stock, sale.orders, sale.charges


@pytest.mark.parametrize("strategy", ["row_lock", "buckets"])
def test_the_same_result_by_another_way(strategy: Strategy) -> None:
    """A row lock decides as a conditional update does, and so do buckets."""
    compared = 0

    def check(whole: Whole) -> None:
        nonlocal compared
        one, other = (kept_by(whole, name).sale() for name in ("conditional_update", strategy))
        assert all(a.equals(b) for a, b in zip(tables(one), tables(other), strict=True))
        compared += len(one.orders) > 0

    every_sale(check, count=120, fresh=False)
    assert compared > 30


BAD: dict[Strategy, Callable[[SimulatedSale], Sequence[Any] | bool]] = {
    "check_then_write": lambda sale: any(
        item.sold_units + item.locked_units > item.initial_units for item in sale.audit.items
    ),
    "unguarded_release": charged_for_nothing,
    "stale_expiry": lambda sale: (
        charged_for_nothing(sale) or "refunded" in sale.charges["state"].to_pylist()
    ),
}


@pytest.mark.parametrize("strategy", BAD)
def test_generated_sales_show_the_failure_only_of_the_broken_one(strategy: Strategy) -> None:
    """Some of the sales under the broken strategy, and none of the same ones under the first."""
    found = 0

    def check(whole: Whole) -> None:
        nonlocal found
        found += bool(BAD[strategy](kept_by(whole, strategy).sale("compiled")))
        assert not BAD[strategy](kept_by(whole, "conditional_update").sale("compiled"))

    every_sale(check, count=300, fresh=False)
    assert found > 5


def test_every_strategy_has_its_model() -> None:
    """None is ever run as another one because its name is not known."""
    assert [code_of(strategy) for strategy in STRATEGIES] == list(range(len(STRATEGIES)))
    assert all(keeping_of(strategy) for strategy in STRATEGIES)
