"""Where units are locked, by hand in both engines: by the order, or only by the payment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.sales_by_hand import CHANNEL, HOLDER, ROBOT, ends, hold, scenario_by_hand

from doorbuster.forecast import forecast
from doorbuster.forecast.sentences import sentences
from doorbuster.plan import Timetable
from doorbuster.scenario import Scenario
from doorbuster.scenario.cross_check import cross_check
from doorbuster.scenario.shop import LOCKING_AT_PAYMENT
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
LATE: dict[str, Any] = {"lock_point": "payment"}
ONE_TRY = {**ROBOT, "payment_attempt_limit": 1}
HOPEFUL = {**ROBOT, "restock_refresh_limit": 1}


@pytest.fixture(params=get_args(Engine))
def engine(request: pytest.FixtureRequest) -> Engine:
    chosen: Engine = request.param
    return chosen


def released_s(sale: SimulatedSale) -> list[float | None]:
    return list(sale.orders["released_s"].to_pylist())


def states(sale: SimulatedSale) -> list[str]:
    return list(sale.orders["state"].to_pylist())


@pytest.mark.parametrize("strategy", LOCKING_AT_PAYMENT)
def test_the_first_to_pay_has_the_last_unit(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """Both reserve the only unit; the first is at the till at 65 ms, the other 1 ms later."""
    shop = {**LATE, "strategy": strategy}
    sale = hold(
        scenario_by_hand(small_scenario, ROBOT, stock=1, servers=9, shop=shop), engine, [0, 1]
    )
    assert ends(sale) == ["sold", "sold_out"]
    assert states(sale) == ["sold", "released"]
    assert released_s(sale) == [None, pytest.approx(0.066)]
    assert len(sale.charges) == 1


@pytest.mark.parametrize("strategy", LOCKING_AT_PAYMENT)
def test_a_decline_gives_the_unit_back_at_once(
    small_scenario: Build, engine: Engine, strategy: str
) -> None:
    """The first locks from 65 to 105 ms: at 95 nothing is there, at 106 it is on the page."""
    shop, channel = {**LATE, "strategy": strategy}, {**CHANNEL, "decline_fraction": 1.0}
    scenario = scenario_by_hand(
        small_scenario, ONE_TRY, stock=1, servers=9, shop=shop, channel=channel
    )
    sale = hold(scenario, engine, [0, 30, 95])
    assert ends(sale) == ["declined", "sold_out", "declined"]
    assert states(sale) == ["open", "released", "open"]
    assert released_s(sale) == [None, pytest.approx(0.095), None]
    (item,) = sale.audit.items
    assert (item.available_units, item.locked_units, item.sold_units) == (1, 0, 0)


def test_an_order_that_nobody_pays_keeps_nothing_from_others(
    small_scenario: Build, engine: Engine
) -> None:
    """One reserves and does not pay; with locks at the order the unit is kept from the other."""
    for lock_point, end, state in (("order", "sold_out", "locked"), ("payment", "sold", "open")):
        shop = {"lock_point": lock_point}
        build = scenario_by_hand(small_scenario, HOLDER, ROBOT, stock=1, servers=9, shop=shop)
        sale = hold(build, engine, [0, 100], persona=[0, 1])
        assert ends(sale) == ["unpaid", end]
        assert states(sale)[0] == state
        assert sale.audit.items[0].locked_units == (1 if state == "locked" else 0)


def test_an_open_order_lapses_as_a_locked_one(small_scenario: Build, engine: Engine) -> None:
    """Reserved at 33 ms for 20 ms, at the till at 65 ms; a sweep releases nothing but the order."""
    shop = {**LATE, "lock_time": "20ms", "release_sweep": "100ms"}
    sale = hold(scenario_by_hand(small_scenario, ROBOT, stock=1, shop=shop), engine, [0])
    assert ends(sale) == ["expired"]
    assert released_s(sale) == [pytest.approx(0.1)]
    assert sale.audit.items[0].available_units == 1


def test_who_comes_too_late_to_pay_may_look_again(small_scenario: Build, engine: Engine) -> None:
    """The second look, and the limit of one unit an account, are as after a refused reservation."""
    channel = {**CHANNEL, "decline_fraction": 1.0}
    persona = {**HOPEFUL, "payment_attempt_limit": 1}
    scenario = scenario_by_hand(
        small_scenario, persona, stock=1, servers=9, shop=LATE, channel=channel
    )
    sale = hold(scenario, engine, [0, 1])
    assert ends(sale) == ["declined", "declined"]
    assert states(sale) == ["open", "released", "open"]


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "prededuct"},
        {"strategy": "check_then_write"},
        {"late_payment": "refund"},
        {"unanswered_charge": "charge_again"},
    ],
)
def test_what_a_payment_cannot_lock(small_scenario: Build, change: dict[str, Any]) -> None:
    """Refused with the place; without the change it goes together."""
    found = cross_check(scenario_by_hand(small_scenario, ROBOT, shop={**LATE, **change}))
    assert ("shop", "lock_point") in [place for place, _ in found]
    assert not cross_check(scenario_by_hand(small_scenario, ROBOT, shop=LATE))


def test_the_forecast_says_that_it_locks_earlier(small_scenario: Build) -> None:
    """No word of stock that comes back: nothing has left the shelf."""
    for lock_point, told in (("order", False), ("payment", True)):
        scenario = small_scenario(shop={"lock_point": lock_point, "lock_time": "1h"})
        found = forecast(scenario, Timetable.of(scenario))
        codes = {doubt.code for doubt in found.doubts}
        assert ("forecast-locks-at-order" in codes) == told
        assert ("lock-outlasts-sale" in codes) == (not told)
        text = "\n".join(sentences(found, visitors_drawn=None, seed=1))
        assert ("stays for sale" in text) == told
        assert ("can be bought again" in text) == (not told)


def test_what_it_is_for_and_what_it_costs(small_scenario: Build, engine: Engine) -> None:
    """Ten units, ten who never pay, then fifteen who do.

    Locked at the order, nothing is sold before the locks lapse, and everybody learns it at once.
    Locked at the payment all is sold, and five who have an order learn at the till that it is none.
    """
    comes, persona = [*range(10), *range(100, 115)], [0] * 10 + [1] * 15
    found = {}
    for lock_point in ("order", "payment"):
        shop = {"lock_point": lock_point}
        build = scenario_by_hand(small_scenario, HOLDER, ROBOT, stock=10, servers=99, shop=shop)
        sale = hold(build, engine, comes, persona=persona)
        refused = [r["step"] for r in sale.requests.to_pylist() if r["reply"] == "sold_out"]
        [item] = sale.audit.items
        found[lock_point] = (item.sold_units, item.locked_units, Counter(refused))
    assert found == {
        "order": (0, 10, {"browse": 15}),
        "payment": (10, 0, {"pay": 5}),
    }
