"""A payment in flight when its lock lapses, in a running shop: four policies."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.test_provider_shop import SILENT, Buyer, shop_with, until

pytestmark = pytest.mark.live

LOCK_S, DECIDES_S = 0.6, 1.5


def terms(policy: str) -> dict[str, Any]:
    return {"lock_time": f"{LOCK_S}s", "release_sweep": "100ms", "late_payment": policy}


def paid_late(buyer: Buyer, account: int = 1) -> tuple[int, float]:
    """Reserve and pay: the status of the answer, and seconds until it came."""
    order = buyer.reserve(account)
    began_s = time.monotonic()
    return buyer.pay(order).status_code, time.monotonic() - began_s


def the_only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    [row] = rows
    return row


def books(buyer: Buyer) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The order, the charge, and the audit."""
    order = the_only(buyer.ask("/admin/orders")["orders"])
    return order, the_only(buyer.ask("/admin/charges")["charges"]), buyer.ask("/admin/audit")


@pytest.mark.parametrize("policy", ["hold", "refund", "recheck_stock", "query_before_cancel"])
def test_late_money(tmp_path: Path, policy: str) -> None:
    """Locked for 0.6 s, decided by the provider after 1.5 s."""
    with shop_with(tmp_path, {"latency": f"{DECIDES_S}s"}, terms=terms(policy)) as (_, buyer):
        full = buyer.stock["available"]
        status, took_s = paid_late(buyer)
        if policy == "query_before_cancel":
            assert LOCK_S - 0.1 < took_s < DECIDES_S - 0.2, "told by the sweep"
            time.sleep(DECIDES_S - took_s + 0.2)
        order, charge, audit = books(buyer)
        gone = policy in {"refund", "query_before_cancel"}
        assert status == (410 if gone else 200)
        assert (order["state"], charge["state"]) == {
            "hold": ("sold", "captured"),
            "refund": ("released", "refunded"),
            "recheck_stock": ("sold", "captured"),
            "query_before_cancel": ("released", "declined"),
        }[policy]
        assert (order["released_s"] is None) == (policy == "hold")
        if policy == "recheck_stock":
            assert order["reserved_s"] < order["released_s"] < order["sold_s"]
        assert audit["captured_cents"] == audit["paid_cents"] == (0 if gone else 49_900)
        assert (buyer.stock["available"], buyer.stock["sold"]) == (
            (full, 0) if gone else (full - 1, 1)
        )


def test_query_finds_money_that_nobody_told_of(tmp_path: Path) -> None:
    """The provider has captured and never answers: the sweep asks, and the order is sold."""
    with shop_with(tmp_path, SILENT, terms=terms("query_before_cancel")) as (_, buyer):
        status, took_s = paid_late(buyer)
        assert (status, took_s < 3) == (200, True)
        order, charge, audit = books(buyer)
        assert (order["state"], order["released_s"], charge["state"]) == ("sold", None, "captured")
        assert audit["captured_cents"] == audit["paid_cents"] == 49_900


def test_recheck_refunds_when_the_units_are_gone(tmp_path: Path) -> None:
    """Everything is locked by somebody else when the money comes: it goes back."""
    channel, wait_s = {"latency": f"{DECIDES_S}s"}, DECIDES_S + 0.5
    items = [{"sku": "console", "stock": 1, "price": 499}]
    changed = {**terms("recheck_stock"), "items": items}
    with shop_with(tmp_path, channel, terms=changed) as (_, buyer):
        buyer.begin()
        offer = {"channel": "card", "means": "test-1-0"}
        order = buyer.reserve(1)
        began_s = time.monotonic()
        with pytest.raises(Exception, match="timed out"):
            buyer.http.post(
                f"/reservations/{order}/payments",
                json=offer,
                headers={"Idempotency-Key": "late"},
                timeout=0.2,
            )
        until(lambda: buyer.stock["available"] == 1, "the release")
        while time.monotonic() - began_s < DECIDES_S - 0.2:
            time.sleep(0.05)  # Its lock covers the moment of the money.
        other = buyer.reserve(2)
        until(lambda: buyer.ask("/admin/charges")["charges"][0]["state"] == "refunded", "a refund")
        assert time.monotonic() - began_s < wait_s
        states = {row["order_id"]: row["state"] for row in buyer.ask("/admin/orders")["orders"]}
        assert (states[order], states[other]) == ("released", "locked")
        assert buyer.ask("/admin/audit")["captured_cents"] == 0


def test_query_waits_for_a_provider_that_is_out(tmp_path: Path) -> None:
    """It takes no question for 4 s: until then the lock outlives its time, which is 2 s."""
    channel, changed = {"latency": "60s"}, terms("query_before_cancel") | {"lock_time": "2s"}
    with shop_with(tmp_path, channel, terms=changed) as (running, buyer):
        outage = {"answer": "refuse", "duration_s": 4.0}
        order = buyer.reserve(1)
        with ThreadPoolExecutor(1) as pool:
            paying = pool.submit(buyer.pay, order)
            until(lambda: len(ledger(running.provider_url)) == 1, "the charge")
            httpx.put(f"{running.provider_url}/outage", json=outage).raise_for_status()
            out_s = time.monotonic()
            status = paying.result().status_code
        assert status == 410
        assert 3.5 <= time.monotonic() - out_s < 8
        until(lambda: buyer.stock["locked"] == 0, "the release")
        row, charge, _ = books(buyer)
        assert (row["state"], charge["state"]) == ("released", "declined")
        assert row["released_s"] - row["expires_s"] > 1


def ledger(provider_url: str) -> list[dict[str, Any]]:
    charges: list[dict[str, Any]] = httpx.get(f"{provider_url}/ledger").json()["charges"]
    return charges
