"""The two ways of losing a buyer's money on purpose, in a running shop, on every store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.test_provider_shop import PROMPT, SILENT, Buyer, shop_with, until

from doorbuster_shop.provider.charges import Books, Demand
from doorbuster_shop.provider.decisions import Attempt, Decision

PRICE_CENTS = 49_900
DECIDES_S, TIMEOUT_S = 1.0, 0.4
AGAIN = {"unanswered_charge": "charge_again", "payment_timeout": f"{TIMEOUT_S}s"}
FORGET = {"lock_time": "400ms", "release_sweep": "100ms", "late_payment": "forget"}
STORES = [
    pytest.param("sqlite", marks=pytest.mark.live),
    pytest.param("postgresql", marks=[pytest.mark.live, pytest.mark.services]),
]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> dict[str, str]:
    """The options of a shop on this store."""
    if request.param == "postgresql":
        request.getfixturevalue("postgresql_address")  # Skips where there is no server.
        return {"store": "postgresql"}
    return {}


def charges(buyer: Buyer) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = buyer.ask("/admin/charges")["charges"]
    return rows


def test_late_money_is_forgotten(tmp_path: Path, store: dict[str, str]) -> None:
    """Locked for 0.4 s, captured after 1 s: told `expired`, no order, and the money is gone."""
    with shop_with(tmp_path, {"latency": f"{DECIDES_S}s"}, terms=FORGET, **store) as (_, buyer):
        full = buyer.stock["available"]
        assert buyer.pay(buyer.reserve(1)).status_code == 410
        time.sleep(0.5)  # Nobody gives it back later either.
        [order], [charge] = buyer.ask("/admin/orders")["orders"], charges(buyer)
        assert (order["state"], order["sold_s"], charge["state"]) == ("released", None, "captured")
        assert buyer.stock["available"] == full
        audit = buyer.ask("/admin/audit")
        assert (audit["captured_cents"], audit["paid_cents"]) == (PRICE_CENTS, 0)
        assert (audit["payments_captured"], audit["payments_without_order"]) == (1, 1)


@pytest.mark.live
def test_a_callback_on_a_closed_order_is_acknowledged(tmp_path: Path) -> None:
    """As in macrozheng/mall: the provider is told that all is well, and nothing happens."""
    channel = {**PROMPT, "latency": f"{DECIDES_S}s"}
    with shop_with(tmp_path, channel, terms=FORGET) as (_, buyer):
        assert buyer.pay(buyer.reserve(1)).status_code == 410
        time.sleep(1.5)  # Two deliveries, a second apart.
        assert [charge["state"] for charge in charges(buyer)] == ["captured"]
        assert buyer.ask("/admin/audit")["payments_without_order"] == 1


def test_silence_is_charged_again(tmp_path: Path, store: dict[str, str]) -> None:
    """Asked at once and after 0.4 s, captured after 1 and 1.4 s: one order, paid twice."""
    channel = {"latency": f"{DECIDES_S}s"}
    with shop_with(tmp_path, channel, terms=AGAIN, **store) as (_, buyer):
        began_s = time.monotonic()
        told = buyer.pay(buyer.reserve(1))
        assert (told.status_code, told.json()["status"]) == (202, "pending")
        assert TIMEOUT_S - 0.05 < time.monotonic() - began_s < DECIDES_S
        until(lambda: [row["state"] for row in charges(buyer)] == ["captured"] * 2, "both captures")
        first, second = charges(buyer)
        assert second["asked_s"] - first["asked_s"] == pytest.approx(TIMEOUT_S, abs=0.2)
        assert first["order_id"] == second["order_id"]
        audit = buyer.ask("/admin/audit")
        assert (audit["payments_captured"], audit["orders_captured_twice"]) == (2, 1)
        assert (audit["captured_cents"], audit["paid_cents"]) == (2 * PRICE_CENTS, PRICE_CENTS)
        assert (buyer.stock["sold"], audit["payments_without_order"]) == (1, 0)
        poll = buyer.http.get(f"/payments/{told.json()['payment_id']}")
        assert poll.json()["status"] == "paid"


@pytest.mark.live
def test_an_answer_in_time_is_charged_once(tmp_path: Path) -> None:
    channel = {"latency": "100ms"}
    with shop_with(tmp_path, channel, terms=AGAIN) as (_, buyer):
        assert buyer.pay(buyer.reserve(1)).status_code == 200
        time.sleep(2 * TIMEOUT_S)
        assert len(charges(buyer)) == 1


@pytest.mark.live
@pytest.mark.parametrize("told_by", [PROMPT, {}], ids=["a notification", "a query"])
def test_answers_that_never_come_make_it_worse(tmp_path: Path, told_by: dict[str, Any]) -> None:
    """Both charges take the money and say nothing; whatever the shop learns, both are kept."""
    channel = {**SILENT, **told_by, "latency": f"{DECIDES_S}s"}
    with shop_with(tmp_path, channel, terms=AGAIN) as (_, buyer):
        assert buyer.pay(buyer.reserve(1)).status_code == 202
        until(lambda: buyer.ask("/admin/audit")["orders_captured_twice"] == 1, "both captures")
        until(lambda: buyer.stock["sold"] == 1, "the word of one of them")
        assert buyer.ask("/admin/audit")["payments_without_order"] == 0


@pytest.mark.live
def test_two_refusals_are_one(tmp_path: Path) -> None:
    """Declined twice, the second after 1.4 s: only then is the lock free for another try."""
    channel = {"latency": f"{DECIDES_S}s", "decline_fraction": 1.0}
    with shop_with(tmp_path, channel, terms=AGAIN) as (_, buyer):
        order = buyer.reserve(1)
        began_s = time.monotonic()
        told = buyer.pay(order)
        path = f"/payments/{told.json()['payment_id']}"
        until(lambda: buyer.http.get(path).json()["status"] == "declined", "the refusal")
        assert time.monotonic() - began_s > DECIDES_S + TIMEOUT_S - 0.1
        assert [row["state"] for row in charges(buyer)] == ["declined"] * 2


def test_test_means_that_come_again_have_draws_of_their_own() -> None:
    """As the simulation names them: the number of the payment, plus CHARGED_AGAIN."""
    books, decision = Books(), Decision(0.0, approved=True, decline_kind="", is_answered=True)
    assert books.attempt("test-7-2") == Attempt(7, 2)
    demand = Demand("key", "card", "test-7-2", 1, "order")
    books.enter(books.new(demand, Attempt(7, 2), decision, 0.0))
    assert books.attempt("test-7-2") == Attempt(7, 2 + 2**19)
    assert books.attempt("test-7-3") == Attempt(7, 3)
