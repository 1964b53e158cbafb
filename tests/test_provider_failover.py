"""A channel that is out: the breaker opens, payments that are not in flight go another way."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.providers import CARD, scenario_file
from tests.test_provider_shop import Buyer, shop_with, until

from doorbuster.cli.main import main
from doorbuster_shop.breaker import FAILURES_TO_OPEN, Breaker

WALLET = CARD | {"name": "wallet"}


def test_a_breaker_opens_tries_and_closes() -> None:
    """Five failures in a row; a probe lets one trial through; its outcome decides."""
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        assert not breaker.failed()
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN - 1):
        assert not breaker.failed()
        assert breaker.lets_pass()
    assert breaker.failed()
    assert (breaker.state, breaker.lets_pass()) == ("open", False)
    assert not breaker.failed()
    breaker.probed_well()
    assert breaker.state == "half_open"
    assert [breaker.lets_pass() for _ in range(3)] == [True, False, False]
    breaker.probed_well()
    assert [breaker.lets_pass() for _ in range(2)] == [True, False], (
        "the next probe, the next trial"
    )
    assert breaker.failed()
    assert not breaker.lets_pass()
    breaker.probed_well()
    assert breaker.lets_pass()
    breaker.succeeded()
    breaker.probed_well()
    assert [breaker.lets_pass() for _ in range(3)] == [True, True, True]


def pay_at_once(buyer: Buyer, orders: list[str]) -> list[int]:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda order=order: statuses.append(buyer.pay(order).status_code))
        for order in orders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def charges_by_order(buyer: Buyer) -> dict[str, dict[str, Any]]:
    rows = buyer.ask("/admin/charges")["charges"]
    by_order = {row["order_id"]: row for row in rows}
    assert len(by_order) == len(rows), "an order has two charges"
    return by_order


@pytest.mark.live
def test_an_outage_is_gone_around_and_the_channel_comes_back(tmp_path: Path) -> None:
    """In the outage all are paid by the other channel, after it by their own again."""
    outage = {"start": "0s", "duration": "6s"}
    card = {"failover_to": "wallet", "outages": [outage]}
    with shop_with(tmp_path, card, WALLET, terms={"lock_time": "60s"}) as (_, buyer):
        buyer.begin()
        began_s = time.monotonic()
        orders = [buyer.reserve(account) for account in range(FAILURES_TO_OPEN + 3)]
        assert pay_at_once(buyer, orders) == [200] * len(orders)
        assert time.monotonic() - began_s < 5, "paid in the outage, not after it"
        next_order = buyer.reserve(100)
        assert buyer.pay(next_order).status_code == 200
        rows = charges_by_order(buyer)
        assert {rows[order]["channel"] for order in [*orders, next_order]} == {"wallet"}
        time.sleep(max(0.0, began_s + 8 - time.monotonic()))
        last = buyer.reserve(101)
        assert buyer.pay(last).status_code == 200
        assert charges_by_order(buyer)[last]["channel"] == "card"
        assert all(row["state"] == "captured" for row in charges_by_order(buyer).values())


@pytest.mark.live
def test_what_may_be_in_flight_stays(tmp_path: Path) -> None:
    """Attempts without answer are queried, never sent by another channel; new ones go around."""
    silent = {"failover_to": "wallet", "timeouts": {"fraction": 1, "captured_fraction": 1}}
    with shop_with(tmp_path, silent, WALLET, terms={"lock_time": "60s"}) as (_, buyer):
        orders = [buyer.reserve(account) for account in range(FAILURES_TO_OPEN + 1)]
        assert set(pay_at_once(buyer, orders)) <= {202, 200, 402}
        until(lambda: buyer.stock["sold"] == len(orders), "the queries")
        rows = charges_by_order(buyer)
        assert [rows[order]["channel"] for order in orders] == ["card"] * len(orders)
        next_order = buyer.reserve(100)
        assert buyer.pay(next_order).status_code == 200
        assert charges_by_order(buyer)[next_order]["channel"] == "wallet"
        account = buyer.ask("/admin/audit")
        assert account["orders_captured_twice"] == account["payments_without_order"] == 0


def test_a_channel_takes_over_from_another_that_exists(tmp_path: Path) -> None:
    for name, what in (("card", "cannot take over from itself"), ("walet", "unknown channel")):
        path = scenario_file(tmp_path, {"failover_to": name}, WALLET)
        told = CliRunner().invoke(main, ["check", str(path)])
        assert told.exit_code == 2
        assert what in told.stderr
