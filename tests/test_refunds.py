"""Money back for who has paid: in both engines by hand, in the books, and for who judges them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from tests.laws import broken_laws
from tests.older_runs import orders_without
from tests.sales_by_hand import CHANNEL, ROBOT, books_of, ends, hold, of_visitor, scenario_by_hand
from tests.whole_scenarios import Whole

from doorbuster.behaviour import behaviour_of
from doorbuster.cli import main
from doorbuster.compiling import plain
from doorbuster.detectors.failures import failures_of
from doorbuster.detectors.sale import SaleBooks
from doorbuster.measures.books import orders_of
from doorbuster.measures.fault_times import FaultTime
from doorbuster.measures.refunds import refund_quantile_s, refunds_of, too_late
from doorbuster.records.tables import BOOKS, ORDERS
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.refunds import Refund
from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster.visitor import VisitState, next_step
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
REGRETS = {**ROBOT, "refund_fraction": 1.0, "refund_after": "30ms"}
"""Paid at 105 ms and told at 106: asks at 136, granted at 147, told at 148."""
AT_ONCE: dict[str, Any] = {"delay": "0s", "within": "100ms"}


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def sale_with(
    build: Build, *personas: dict[str, Any], refund: dict[str, Any] = AT_ONCE, **changes: Any
) -> Scenario:
    """A sale by hand whose shop gives money back."""
    shop = {"refund": refund, **changes.pop("shop", {})}
    return scenario_by_hand(build, *personas, servers=9, shop=shop, **changes)


def orders(sale: SimulatedSale) -> list[tuple[Any, ...]]:
    """State, sale, yes and return of each order."""
    names = ("state", "sold_s", "refund_asked_s", "returned_s")
    return [tuple(row[name] for name in names) for row in sale.orders.to_pylist()]


def charges(sale: SimulatedSale) -> list[tuple[Any, ...]]:
    """State, capture and refund of each charge."""
    names = ("state", "captured_s", "refunded_s")
    return [tuple(row[name] for name in names) for row in sale.charges.to_pylist()]


def levels(sale: SimulatedSale) -> tuple[int, ...]:
    """Available, locked, sold and unreturned units; paid and refunded orders."""
    [item] = sale.audit.items
    stock = item.available_units, item.locked_units, item.sold_units
    return (*stock, item.unreturned_units, item.orders_paid, item.orders_refunded)


def money(sale: SimulatedSale) -> tuple[int | None, ...]:
    """Cents captured and not given back, of paid orders, of open refunds; and what is orphaned."""
    audit = sale.audit
    cents = audit.captured_cents, audit.paid_cents, audit.refunds_open_cents
    return (*cents, audit.refunds_open, audit.payments_without_order)


@pytest.mark.requirement("A100")
@pytest.mark.parametrize("strategy", CORRECT)
def test_a_refunded_unit_is_for_sale_at_once(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """One unit, given back at 147 ms; who has looked at 150 buys it at 255. The money: at 187."""
    scenario = sale_with(
        small_scenario,
        *(REGRETS, ROBOT),
        refund={**AT_ONCE, "delay": "40ms"},
        stock=1,
        shop={"strategy": strategy},
    )
    sale = hold(scenario, engine, [0, 150], persona=[0, 1])
    assert of_visitor(sale, 0)[-1] == "refund 136-148 ok"
    assert ends(sale) == ["refunded", "sold"]
    assert orders(sale) == [("refunded", 0.105, 0.147, 0.147), ("sold", 0.255, None, None)]
    assert charges(sale) == [("refunded", 0.105, 0.187), ("captured", 0.255, None)]
    assert levels(sale) == (0, 0, 1, 0, 1, 1)
    assert money(sale) == (700, 700, 0, 0, 0)


@pytest.mark.requirement("A101")
def test_goods_that_were_sent_stay_sold(small_scenario: Build, engine: Engine) -> None:
    """They are gone and nobody pays for them; the account keeps them against its limit."""
    scenario = sale_with(
        small_scenario, REGRETS, ROBOT, refund={**AT_ONCE, "returns_stock": False}, stock=2
    )
    account = [1 << 40, 1 << 40]
    sale = hold(scenario, engine, [0, 150], persona=[0, 1], account=account)
    assert ends(sale) == ["refunded", "limited"]
    assert orders(sale) == [("refunded", 0.105, 0.147, None)]
    assert charges(sale) == [("refunded", 0.105, 0.147)]
    assert levels(sale) == (1, 0, 1, 1, 0, 1)
    assert money(sale) == (0, 0, 0, 0, 0)


def test_a_returned_unit_no_longer_counts_against_the_limit(
    small_scenario: Build, engine: Engine
) -> None:
    scenario = sale_with(small_scenario, REGRETS, ROBOT, stock=9)
    account = [1 << 40, 1 << 40]
    sale = hold(scenario, engine, [0, 150], persona=[0, 1], account=account)
    assert ends(sale) == ["refunded", "sold"]
    assert sale.audit.items[0].max_units_per_account == 1


def test_a_refund_that_the_end_overtakes_is_open(small_scenario: Build, engine: Engine) -> None:
    """Granted at 147 ms and due 1.853 s later: at 2 s, when nothing happens any more."""
    scenario = sale_with(small_scenario, REGRETS, refund={**AT_ONCE, "delay": "1853ms"})
    sale = hold(scenario, engine, [0])
    assert ends(sale) == ["refunded"]
    assert orders(sale) == [("refunding", 0.105, 0.147, 0.147)]
    assert charges(sale) == [("captured", 0.105, None)]
    assert money(sale) == (700, 0, 700, 1, 0)
    before = sale_with(small_scenario, REGRETS, refund={**AT_ONCE, "delay": "1852ms"})
    assert charges(hold(before, engine, [0])) == [("refunded", 0.105, 1.999)]


def test_a_repeated_refund_is_one(small_scenario: Build, engine: Engine) -> None:
    """The answers to both are lost: granted at 148 ms, asked again, and never told."""
    persona = {**REGRETS, "request_timeout": "12ms", "retry_limit": 1}
    slow = [{"station": "web", "time": "11ms"}]
    scenario = sale_with(
        small_scenario, persona, channel={"latency": "0s"}, service={"refund": slow}, stock=1
    )
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[-2:] == ["refund 96-108 timeout", "refund 158-170 timeout"]
    assert ends(sale) == ["sold"], "who gives up asking does not know better"
    assert orders(sale) == [("refunded", 0.065, 0.108, 0.108)]
    assert levels(sale) == (1, 0, 0, 0, 0, 1)
    assert money(sale) == (0, 0, 0, 0, 0)


def test_who_still_waits_at_the_end_has_bought(small_scenario: Build, engine: Engine) -> None:
    """One would ask after the end, the other asks and has no answer by then."""
    late = {**REGRETS, "refund_after": "1h"}
    asks = {**REGRETS, "refund_after": "1890ms"}
    sale = hold(sale_with(small_scenario, late, asks), engine, [0, 0], persona=[0, 1])
    assert ends(sale) == ["sold", "sold"]
    assert sale.visits["left_s"].to_pylist() == [None, None]
    assert of_visitor(sale, 1)[-1] == "refund 1996- timeout"
    assert levels(sale) == (8, 0, 2, 0, 2, 0)


def test_a_provider_that_is_out_delays_the_money(small_scenario: Build, engine: Engine) -> None:
    """Granted at 147 ms, to be paid at 157, out until 500; the units are back all the same."""
    outage = {"kind": "provider_outage", "start": "150ms", "duration": "350ms"}
    scenario = sale_with(
        small_scenario, REGRETS, refund={**AT_ONCE, "delay": "10ms"}, faults=[outage]
    )
    sale = hold(scenario, engine, [0])
    assert orders(sale) == [("refunded", 0.105, 0.147, 0.147)]
    assert charges(sale) == [("refunded", 0.105, 0.5)]


def test_a_shop_that_was_killed_takes_it_up_again(small_scenario: Build, engine: Engine) -> None:
    killed = {"kind": "kill_shop", "start": "150ms", "duration": "100ms"}
    scenario = sale_with(
        small_scenario, REGRETS, refund={**AT_ONCE, "delay": "10ms"}, faults=[killed]
    )
    assert charges(hold(scenario, engine, [0])) == [("refunded", 0.105, 0.25)]


def test_a_coupon_does_not_come_back(small_scenario: Build, engine: Engine) -> None:
    """As at WooCommerce: an order that was paid has used it. The refund is what was paid."""
    brings = {"coupon_fraction": 1.0}
    scenario = sale_with(
        small_scenario,
        *({**REGRETS, **brings}, {**ROBOT, **brings}),
        shop={"coupon": {"limit": 1, "off": 2}},
    )
    sale = hold(scenario, engine, [0, 150], persona=[0, 1])
    assert sale.orders["discount_cents"].to_pylist() == [200, 0]
    assert sale.charges["amount_cents"].to_pylist() == [500, 700]
    assert (sale.audit.coupon_redemptions, sale.audit.discount_cents) == (1, 0)
    assert money(sale) == (700, 700, 0, 0, 0)
    assert failures_of(books(scenario, sale))["coupon_overuse"].count == 0


def test_an_order_that_late_money_bought_can_be_refunded(
    small_scenario: Build, engine: Engine
) -> None:
    """Lapsed at 83 ms and swept at 100; the money of 105 buys again, told at 106 and given back."""
    shop = {"late_payment": "recheck_stock", "lock_time": "50ms", "release_sweep": "100ms"}
    sale = hold(sale_with(small_scenario, REGRETS, shop=shop, stock=1), engine, [0])
    assert ends(sale) == ["refunded"]
    assert sale.orders["released_s"].to_pylist() == [0.1]
    assert orders(sale) == [("refunded", 0.105, 0.147, 0.147)]
    assert levels(sale) == (1, 0, 0, 0, 0, 1)


# --- who asks, and who may be asked


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply.OK, Outcome.REFUNDED),
        (Reply.EXPIRED, Outcome.SOLD),
        (Reply.PENDING, Outcome.SOLD),
        (Reply.DECLINED, Outcome.SOLD),
        (Reply.ERROR, Outcome.UNDECIDED),
    ],
)
@pytest.mark.parametrize("failures", [0, 1])
def test_what_a_visitor_makes_of_the_answer(
    small_scenario: Build, reply: Reply, outcome: Outcome, failures: int
) -> None:
    """A failed request is repeated; who has failed too often keeps the order."""
    scenario = sale_with(small_scenario, {**REGRETS, "retry_limit": 1})
    state = VisitState(int(Action.REFUND), 0, 0, failures, 0, 0, 0, 0, int(Outcome.UNDECIDED))
    following, action, _ = plain(next_step)(behaviour_of(scenario, 1), 0, 0, state, int(reply), 1.0)
    if reply is Reply.ERROR and failures:
        outcome = Outcome.SOLD
    assert following.outcome == outcome
    assert action == (Action.REFUND if outcome is Outcome.UNDECIDED else Action.LEAVE)


def test_the_share_that_asks(small_scenario: Build) -> None:
    """Of 10,000 who have paid 20 % ask, within 4 standard errors: a false alarm in 15,000."""
    scenario = sale_with(small_scenario, {**REGRETS, "refund_fraction": 0.2})
    behaviour = behaviour_of(scenario, 1)
    state = VisitState(int(Action.PAY), 0, 0, 0, 0, 0, 0, 0, int(Outcome.UNDECIDED))
    asking = sum(
        plain(next_step)(behaviour, visitor, 0, state, int(Reply.OK), 1.0)[1] == Action.REFUND
        for visitor in range(10_000)
    )
    assert abs(asking - 2000) < 160


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_broken_strategies_give_no_money_back(small_scenario: Build, strategy: str) -> None:
    found = cross_check(sale_with(small_scenario, REGRETS, shop={"strategy": strategy}))
    assert [at for at, _ in found] == (
        [("shop", "refund")] if strategy in BROKEN_STRATEGIES else []
    )


@pytest.mark.parametrize(
    ("shop", "places"),
    [
        ({"unanswered_charge": "charge_again"}, [("shop", "refund")]),
        ({"late_payment": "forget"}, []),
        (
            {"late_payment": "forget", "refund": {"payout": "mark_only"}},
            [("shop", "refund", "payout")],
        ),
        (
            {
                "coupon": {"limit": 1, "off": 2, "redeem": "check_then_write"},
                "refund": {"payout": "mark_only"},
            },
            [("shop", "refund", "payout")],
        ),
        ({"refund": None}, [("crowd", "personas", "p0", "refund_fraction")]),
    ],
)
def test_what_goes_together(
    small_scenario: Build, shop: dict[str, Any], places: list[tuple[str, ...]]
) -> None:
    found = cross_check(sale_with(small_scenario, REGRETS, shop=shop))
    assert [at for at, _ in found] == places


@pytest.mark.requirement("A100")
@pytest.mark.requirement("A101")
@pytest.mark.parametrize(("returns_stock", "within_s"), [(True, 3600.0), (False, 86_400.0)])
def test_what_is_promised_by_default(returns_stock: bool, within_s: float) -> None:
    """One hour for an order that is not shipped, a day for a parcel that is intercepted."""
    assert Refund(returns_stock=returns_stock).within_s == within_s
    own = Refund.model_validate({"returns_stock": returns_stock, "within": "90s"})
    assert own.within_s == 90.0


# --- who judges


def books(scenario: Scenario, sale: SimulatedSale, faults: Sequence[FaultTime] = ()) -> SaleBooks:
    """A simulated sale of two seconds as a detector sees it."""
    return books_of(sale, scenario, 2.0, faults)


def found_in(scenario: Scenario, sale: SimulatedSale, *faults: FaultTime) -> dict[str, int]:
    """What every detector finds, where it finds something."""
    found = failures_of(books(scenario, sale, faults))
    return {name: finding.count for name, finding in found.items() if finding.count}


def test_a_shop_that_only_marks_the_order(small_scenario: Build, engine: Engine) -> None:
    """Both that were granted keep their buyer waiting for ever; who has not asked is well."""
    refund = {"payout": "mark_only", "within": "1s"}
    scenario = sale_with(small_scenario, REGRETS, ROBOT, refund=refund)
    sale = hold(scenario, engine, [0, 0, 0], persona=[0, 0, 1])
    assert [state for state, *_ in orders(sale)] == ["refunded", "refunded", "sold"]
    assert [state for state, *_ in charges(sale)] == ["captured"] * 3
    assert money(sale) == (2100, 700, 0, 0, 2)
    assert found_in(scenario, sale) == {"paid_and_lost": 2}
    healthy = sale_with(small_scenario, REGRETS, ROBOT)
    assert found_in(healthy, hold(healthy, engine, [0, 0, 0], persona=[0, 0, 1])) == {}


@pytest.mark.parametrize(("within", "count"), [("1852ms", 1), ("1853ms", 0), ("10s", 0)])
def test_a_refund_past_its_promise_is_lost(small_scenario: Build, within: str, count: int) -> None:
    """Granted at 147 ms and never paid out before the end at 2 s."""
    scenario = sale_with(small_scenario, REGRETS, refund={"delay": "1h", "within": within})
    sale = hold(scenario, "simpy", [0])
    assert found_in(scenario, sale) == ({"paid_and_lost": count} if count else {})
    # Nobody could pay out for a second of it.
    outage = FaultTime("provider_outage", 0.5, 1.5)
    assert found_in(scenario, sale, outage) == {}


def test_refunds_as_a_measure(small_scenario: Build) -> None:
    """Three take 40 ms, a fourth is open for 21 ms at the end."""
    scenario = sale_with(small_scenario, REGRETS, refund={**AT_ONCE, "delay": "40ms"})
    sale = hold(scenario, "simpy", [0, 0, 1000, 1832])
    told = books(scenario, sale)
    found = refunds_of(told.orders, told.charges)
    assert found.asked_s.tolist() == [0.147, 0.147, 1.147, 1.979]
    assert found.took_s[:3].tolist() == pytest.approx([0.04] * 3)
    assert found.is_open.tolist() == [False, False, False, True]
    assert refund_quantile_s(found, 0.99) == pytest.approx(0.04)
    for limit_s, counted, late in ((0.05, 3, 0), (0.03, 3, 3), (0.02, 4, 4)):
        counts, bad = too_late(found, limit_s, end_s=2.0)
        assert (int(counts.sum()), int(bad.sum())) == (counted, late)


def test_a_charge_that_is_kept_leaves_the_refund_open(small_scenario: Build) -> None:
    """An order that was charged twice is not refunded by one of the two."""
    scenario = sale_with(small_scenario, REGRETS, channel=CHANNEL)
    told = books(scenario, hold(scenario, "simpy", [0]))
    twice = told.charges._replace(
        **{field: np.repeat(column, 2) for field, column in told.charges._asdict().items()}
    )
    states = twice.state.copy()
    states[1] = 1
    kept = twice._replace(state=states)
    assert refunds_of(told.orders, twice).is_open.tolist() == [False]
    assert refunds_of(told.orders, kept).is_open.tolist() == [True]


@pytest.fixture(scope="module")
def money_back() -> tuple[Whole, SimulatedSale]:
    """The shipped scenario that shows it."""
    path = Path(__file__).parents[1] / "scenarios" / "money-back.yaml"
    whole = Whole(YAML(typ="safe").load(path.read_text("utf-8")), 1)
    return whole, whole.sale()


@pytest.mark.parametrize(
    ("book", "column", "change"),
    [
        ("orders", "returned_s", lambda row: None),
        ("orders", "returned_s", lambda row: row["returned_s"] + 1e-9),
        ("orders", "refund_asked_s", lambda row: row["sold_s"] - 1.0),
        ("orders", "state", lambda row: "refunding"),
        ("charges", "refunded_s", lambda row: row["refunded_s"] + 1e-9),
        ("charges", "state", lambda row: "captured"),
    ],
    ids=["sent", "back later", "before the sale", "open", "paid out later", "kept"],
)
def test_a_broken_law_is_found(
    money_back: tuple[Whole, SimulatedSale], book: str, column: str, change: Callable[..., Any]
) -> None:
    """One order or charge of some eighty with another moment or state."""
    whole, sale = money_back
    assert broken_laws(whole, sale) == []
    rows = getattr(sale, book).to_pylist()
    row = [row for row in rows if row["state"] == "refunded"][30]
    row[column] = change(row)
    table = pa.Table.from_pylist(rows, BOOKS[book])
    wrong = SimulatedSale(**{**sale.__dict__, book: table})
    assert broken_laws(whole, wrong) != []


def test_books_of_runs_without_the_columns_are_read(tmp_path: Path) -> None:
    """A finished run and one that was killed: nobody of theirs was granted a refund."""
    for orders in orders_without(("refund_asked_s", "returned_s"), tmp_path):
        assert orders.schema.equals(ORDERS)
        assert np.isnan(orders_of(orders, skus=["console"]).refund_asked_s).all()


@pytest.mark.parametrize(
    ("objective", "status", "late"),
    [
        ({"at_most": "36s"}, "pass", 0.0),
        ({"fraction": 0.5, "at_most": "3s"}, "fail", 66 / 68),
        ({"fraction": 0.99}, "inconclusive", 0.0),
        ({"window": {"start": "80s", "end": "90s"}}, "inconclusive", None),
    ],
)
def test_the_objective_is_judged_by_the_books(
    tmp_path: Path, objective: dict[str, Any], status: str, late: float | None
) -> None:
    """By default what the shop promises; without refunds, or with too few, it stays open."""
    path = Path(__file__).parents[1] / "scenarios" / "money-back.yaml"
    content = YAML(typ="safe").load(path.read_text("utf-8"))
    asked = {"name": "soon", "kind": "refund_time", "fraction": 0.9, **objective}
    content["objectives"] = [asked]
    changed = tmp_path / "sale.yaml"
    with changed.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    words = ["simulate", str(changed), "--results", str(tmp_path), "--engine", "simpy", "--json"]
    told = CliRunner().invoke(main, [*words, "--replications", "1", "--seed", "1"])
    rows = json.loads(told.stdout)["checks"]
    [row] = [row for row in rows if row["id"] == "objective.soon"]
    assert row["status"] == status, row
    if late is not None:
        assert row["value"] == pytest.approx(late), row
