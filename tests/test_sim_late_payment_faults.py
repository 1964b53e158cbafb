"""A payment in flight when its lock lapses, and something is broken: by hand, both engines.

The order is locked at 33 ms and lapses at 98, its payment is asked for at 65; sweeps every 50 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, get_args

import pytest
from tests.sales_by_hand import hold, of_visitor, scenario_by_hand

from doorbuster.scenario import Scenario
from doorbuster_sim import Engine, SimulatedSale

Build = Callable[..., Scenario]
Sell = Callable[..., SimulatedSale]


@pytest.fixture(params=get_args(Engine))
def sell(request: pytest.FixtureRequest, small_scenario: Build) -> Sell:
    """The sale to one buyer under a policy, with one fault in [from, until) milliseconds."""
    if request.param == "compiled" and os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled in this process")

    def sold(
        policy: str, kind: str, from_ms: int, until_ms: int, *, latency_ms: int, **more: Any
    ) -> SimulatedSale:
        kind, _, who = kind.partition(" of ")
        fault = {"kind": kind, "start": f"{from_ms}ms", "duration": f"{until_ms - from_ms}ms"}
        scenario = scenario_by_hand(
            small_scenario,
            stock=1,
            servers=9,
            shop={"lock_time": "65ms", "release_sweep": "50ms", "late_payment": policy},
            channel={"latency": f"{latency_ms}ms", **more},
            faults=[fault | ({"of": who} if who else {})],
        )
        sale: SimulatedSale = hold(scenario, request.param, [0])
        return sale

    return sold


def order(sale: SimulatedSale) -> tuple[str, float | None, float | None]:
    """State, moment of the release and of the sale."""
    [row] = sale.orders.to_pylist()
    return row["state"], row["released_s"], row["sold_s"]


def charges(sale: SimulatedSale) -> list[tuple[str, float, float | None]]:
    """State, and moments of decision and capture."""
    rows = sale.charges.to_pylist()
    return [(row["state"], row["decided_s"], row["captured_s"]) for row in rows]


@pytest.mark.parametrize("kind", ["freeze of provider", "provider_outage", "kill_provider"])
def test_a_lock_is_kept_until_the_provider_can_be_asked(sell: Sell, kind: str) -> None:
    """Money would come at 265 ms: the sweep at 100 can close nothing, that at 150 can."""
    sale = sell("query_before_cancel", kind, 90, 130, latency_ms=200)
    assert order(sale) == ("released", 0.15, None)
    assert charges(sale) == [("declined", 0.15, None)]
    assert of_visitor(sale, 0)[2] == "pay 54-151 expired"


def test_money_that_comes_before_the_provider_can_be_asked_buys(sell: Sell) -> None:
    """The outage lets it come at 115 ms."""
    sale = sell("query_before_cancel", "provider_outage", 90, 130, latency_ms=50)
    assert (order(sale), charges(sale)) == (("sold", None, 0.115), [("captured", 0.115, 0.115)])


@pytest.mark.parametrize("kind", ["kill_shop", "freeze of shop"])
@pytest.mark.parametrize("decline_fraction", [0.0, 1.0])
def test_the_sweep_learns_what_was_decided_while_the_shop_was_away(
    sell: Sell, kind: str, decline_fraction: float
) -> None:
    """Decided at 145 ms, asked about at 160: sold, or released by the very same sweep."""
    more = {"decline_fraction": decline_fraction}
    sale = sell("query_before_cancel", kind, 99, 160, latency_ms=80, **more)
    if decline_fraction:
        assert (order(sale)[:2], charges(sale)[0][:2]) == (("released", 0.16), ("declined", 0.16))
    else:
        assert (order(sale), charges(sale)) == (("sold", None, 0.16), [("captured", 0.16, 0.16)])


@pytest.mark.parametrize("latency_ms", [95, 96, 200])
def test_the_sweep_closes_what_is_not_decided_when_the_shop_is_back(
    sell: Sell, latency_ms: int
) -> None:
    """The provider would decide at 160 ms, right after the sweep, or later."""
    sale = sell("query_before_cancel", "kill_shop", 99, 160, latency_ms=latency_ms)
    assert (order(sale), charges(sale)) == (("released", 0.16, None), [("declined", 0.16, None)])


@pytest.mark.parametrize(
    ("until_ms", "told_ms", "released_s"),
    [
        (150, 151, 0.15),  # closed by the sweep that comes first
        (140, 141, 0.15),  # dropped: it may be asked for again, and its lock is past its time
        (98, 99, 0.1),  # likewise
    ],
)
@pytest.mark.parametrize("kind", ["provider_outage", "kill_provider"])
def test_a_charge_that_nobody_has_heard_of_never_takes_money(
    sell: Sell, kind: str, until_ms: int, told_ms: int, released_s: float
) -> None:
    """Asked for at 65 ms, in the outage."""
    sale = sell("query_before_cancel", kind, 60, until_ms, latency_ms=80)
    assert (order(sale), charges(sale)) == (("released", released_s, None), [])
    assert of_visitor(sale, 0)[2] == f"pay 54-{told_ms} expired"
    assert sale.audit.payments_captured == 0


def test_a_charge_that_was_asked_for_again_is_closed_once(sell: Sell) -> None:
    """Asked for again at 97 ms, when the lock still lives; closed at 100."""
    sale = sell("query_before_cancel", "provider_outage", 60, 97, latency_ms=80)
    assert (order(sale), charges(sale)) == (("released", 0.1, None), [("declined", 0.1, None)])
    assert sale.charges.to_pylist()[0]["asked_s"] == 0.097


@pytest.mark.parametrize("policy", ["refund", "recheck_stock"])
def test_a_lock_that_lapses_in_an_outage_takes_its_charge_along(sell: Sell, policy: str) -> None:
    """Nothing holds it: released at 100 ms, and at 140 there is nothing to ask for."""
    sale = sell(policy, "provider_outage", 60, 140, latency_ms=80)
    assert (order(sale), charges(sale)) == (("released", 0.1, None), [])
    assert of_visitor(sale, 0)[2] == "pay 54-141 expired"


@pytest.mark.parametrize("kind", ["freeze of provider", "kill_provider", "kill_shop"])
def test_money_that_comes_after_a_fault_is_late(sell: Sell, kind: str) -> None:
    """Due at 145 ms, heard at 220: the unit was released at 100, or at 220 by a shop just back."""
    released_s = 0.22 if kind == "kill_shop" else 0.1
    sale = sell("recheck_stock", kind, 99 if kind == "kill_shop" else 105, 220, latency_ms=80)
    assert order(sale) == ("sold", released_s, 0.22)
    sale = sell("refund", kind, 99 if kind == "kill_shop" else 105, 220, latency_ms=80)
    assert order(sale) == ("released", released_s, None)
    assert sale.charges.to_pylist()[0]["refunded_s"] == 0.22
