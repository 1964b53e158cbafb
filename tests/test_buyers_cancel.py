"""Buyers who cancel: in both engines by hand, in the shop, and live through the profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.sales_by_hand import HOLDER, ROBOT, ends, hold, of_visitor, scenario_by_hand
from tests.test_provider_shop import shop_with

from doorbuster.behaviour import behaviour_of
from doorbuster.compiling import plain
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import BROKEN_STRATEGIES, STRATEGIES
from doorbuster.visitor import VisitState, next_step
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
CORRECT = [strategy for strategy in STRATEGIES if strategy not in BROKEN_STRATEGIES]
CANCELLER = {**HOLDER, "cancel_fraction": 1.0}


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def orders(sale: SimulatedSale) -> list[tuple[str, float | None]]:
    """State and release of each order."""
    return [(row["state"], row["released_s"]) for row in sale.orders.to_pylist()]


@pytest.mark.parametrize("strategy", CORRECT)
def test_a_cancelled_unit_is_for_sale_at_once(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """One unit, locked for an hour; cancelled at 65 ms, and bought by who looks at 81."""
    shop = {"strategy": strategy}
    scenario = scenario_by_hand(small_scenario, CANCELLER, ROBOT, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [0, 70], persona=[0, 1])
    assert of_visitor(sale, 0)[-1] == "cancel 54-66 ok"
    assert ends(sale) == ["unpaid", "sold"]
    assert orders(sale) == [("cancelled", 0.065), ("sold", None)]
    [item] = sale.audit.items
    assert (item.available_units, item.locked_units, item.sold_units) == (0, 0, 1)


def test_who_leaves_without_a_word_keeps_the_unit(small_scenario: Build, engine: Engine) -> None:
    persona = {**CANCELLER, "cancel_fraction": 0.0}
    scenario = scenario_by_hand(small_scenario, persona, ROBOT, stock=1, servers=9)
    sale = hold(scenario, engine, [0, 70], persona=[0, 1])
    assert ends(sale) == ["unpaid", "sold_out"]
    assert orders(sale) == [("locked", None)]


def test_a_cancelled_unit_no_longer_counts_against_the_limit(
    small_scenario: Build, engine: Engine
) -> None:
    scenario = scenario_by_hand(small_scenario, CANCELLER, ROBOT, stock=9, servers=9)
    sale = hold(scenario, engine, [0, 70], persona=[0, 1], account=[1 << 40, 1 << 40])
    assert ends(sale) == ["unpaid", "sold"]


def test_a_cancel_after_the_sweep_changes_nothing(small_scenario: Build, engine: Engine) -> None:
    """Lapsed at 43 ms and swept at 50; the cancel at 65 finds it released."""
    shop = {"lock_time": "10ms", "release_sweep": "25ms"}
    scenario = scenario_by_hand(small_scenario, CANCELLER, stock=1, servers=9, shop=shop)
    sale = hold(scenario, engine, [0])
    assert of_visitor(sale, 0)[-1] == "cancel 54-66 expired"
    assert orders(sale) == [("released", 0.05)]
    assert ends(sale) == ["unpaid"]
    assert sale.audit.items[0].available_units == 1


def test_a_repeated_cancel_is_one(small_scenario: Build, engine: Engine) -> None:
    """The answer to the first is lost: cancelled at 65 ms, asked again at 134."""
    persona = {**CANCELLER, "request_timeout": "12ms", "retry_limit": 3}
    cancel = [{"station": "web", "time": "11ms"}]
    scenario = scenario_by_hand(
        small_scenario, persona, stock=1, servers=9, service={"cancel": cancel}
    )
    sale = hold(scenario, engine, [0])
    assert [line.split()[-1] for line in of_visitor(sale, 0)[2:4]] == ["timeout", "timeout"]
    assert orders(sale) == [("cancelled", 0.066)]
    assert sale.audit.items[0].available_units == 1
    assert ends(sale) == ["failed"]


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(Reply.OK, Outcome.UNPAID), (Reply.EXPIRED, Outcome.UNPAID), (Reply.ERROR, Outcome.UNDECIDED)],
)
def test_what_a_visitor_makes_of_the_answer(
    small_scenario: Build, reply: Reply, outcome: Outcome
) -> None:
    scenario = scenario_by_hand(small_scenario, {**CANCELLER, "retry_limit": 1})
    state = VisitState(int(Action.CANCEL), 0, 0, 0, 0, 0, 0, 0, int(Outcome.UNDECIDED))
    behaviour = behaviour_of(scenario, 1)
    following, action, _ = plain(next_step)(behaviour, 0, 0, state, int(reply), 1.0)
    assert following.outcome == outcome
    assert action == (Action.CANCEL if reply is Reply.ERROR else Action.LEAVE)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_broken_strategies_know_no_cancelling(small_scenario: Build, strategy: str) -> None:
    found = cross_check(scenario_by_hand(small_scenario, CANCELLER, shop={"strategy": strategy}))
    place = ("crowd", "personas", "p0", "cancel_fraction")
    assert [at for at, _ in found] == ([place] if strategy in BROKEN_STRATEGIES else [])


@pytest.mark.live
def test_the_shop_lets_a_buyer_cancel(tmp_path: Path) -> None:
    """Once or twice; never what is paid, in flight, released or unknown."""
    terms: dict[str, Any] = {"lock_time": "1s", "release_sweep": "100ms"}
    with shop_with(tmp_path, {}, {"name": "slow", "latency": "3s"}, terms=terms) as (_, buyer):

        def cancel(order: str) -> tuple[int, str]:
            reply = buyer.http.delete(f"/reservations/{order}")
            content = reply.json()
            return reply.status_code, content.get("status") or content["code"]

        full = buyer.stock["available"]
        cancelled, paid = buyer.reserve(1), buyer.reserve(2)
        assert buyer.pay(paid).status_code == 200
        assert [cancel(cancelled), cancel(cancelled)] == [(200, "cancelled")] * 2
        assert cancel(paid) == (409, "already_paid")
        assert cancel("none") == (404, "unknown_reservation")
        assert buyer.pay(cancelled, key="too late").status_code == 410
        assert (buyer.stock["available"], buyer.stock["locked"]) == (full - 1, 0)
        lapsing = buyer.reserve(3)
        ends_s = buyer.ask("/admin/orders")["orders"][-1]["expires_s"]
        while buyer.stock["locked"]:
            assert buyer.ask("/admin/orders")["orders"][-1]["expires_s"] == ends_s
        assert cancel(lapsing) == (410, "reservation_expired")
        states = [order["state"] for order in buyer.ask("/admin/orders")["orders"]]
        assert states == ["cancelled", "sold", "released"]
