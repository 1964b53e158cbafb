"""Money back in the reference shop: on every store, over HTTP, and when processes die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.shop_stores import CORRECT, ITEMS, LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on
from tests.test_provider_shop import Buyer, shop_with, until

from doorbuster.records.audit import Audit
from doorbuster_shop.store.payments import Offer
from doorbuster_shop.store.refunds import Refunded
from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.terms import CouponTerms, RefundTerms, terms_from_json, terms_to_json

Variant = tuple[str, str]
PRICE = ITEMS[0].price_cents
REFUND = RefundTerms((5.0,))
SALE = replace(TERMS, refund=REFUND)
ASKED_S = OPENS_S + 2


def levels(shop: Kept) -> tuple[int, int, int]:
    """Available, locked and sold units of the console."""
    console, _ = shop.read_levels()
    return console.available, console.locked, console.sold


def money(audit: Audit) -> tuple[int | None, ...]:
    """Cents kept by the provider, of paid orders, of open refunds; and what is orphaned."""
    cents = audit.captured_cents, audit.paid_cents, audit.refunds_open_cents
    return (*cents, audit.refunds_open, audit.payments_without_order)


@pytest.mark.requirement("A100")
@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_paid_order_is_given_back(kept: Variant, request: pytest.FixtureRequest) -> None:
    """The unit is for sale at once, the money when it is due; asked twice is once."""
    with kept_store(*kept, request, SALE) as shop:
        order, other = shop.sold("k0", account="a0"), shop.sold("k1", account="a1")
        assert levels(shop) == (3, 0, 2)
        granted, again = shop.refund(order.id, ASKED_S), shop.refund(order.id, ASKED_S + 1)
        assert isinstance(granted, Refunded)
        assert granted.payment is not None
        assert granted.payment.refund_due_at_s == ASKED_S + 5.0
        assert (again.payment, again.returned) == (None, None)
        assert levels(shop) == (4, 0, 1)
        captures = [(order.id, PRICE), (other.id, PRICE)]
        audit = shop.audit(ASKED_S, 1.0, captures)
        assert money(audit) == (2 * PRICE, PRICE, PRICE, 1, 0)
        assert [(p.id, p.state) for p in shop.open_payments()] == [
            (granted.payment.id, "refunding")
        ]
        for _ in range(2):
            shop.settle_refunded(granted.payment.id)
        rows = [(o.state, o.refund_asked_s, o.returned_s) for o in shop.read_orders()]
        assert sorted(rows, key=str) == [("refunded", 2.0, 2.0), ("sold", None, None)]
        audit = shop.audit(ASKED_S, 1.0, captures[1:])
        assert money(audit) == (PRICE, PRICE, 0, 0, 0)
        assert (audit.items[0].orders_paid, audit.items[0].orders_refunded) == (1, 1)
        assert shop.open_payments() == []
        assert shop.refund(order.id, ASKED_S + 9).order.state == "refunded"
        # Who has given it back may buy again, as many as the limit says.
        for key in ("again", "and again"):
            shop.sold(key, account="a0", at_s=ASKED_S)


@pytest.mark.parametrize("kept", on(CORRECT))
def test_many_at_once_are_one(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Of twelve requests for the same money one sets it going, whatever the provider says again."""
    with kept_store(*kept, request, SALE) as shop:
        order = shop.sold("k")
        calls: list[Coroutine[Any, Any, Any]] = [
            shop.store.refund(order.id, ASKED_S) for _ in range(12)
        ]
        told = at_once(shop, calls)
        assert sum(answer.payment is not None for answer in told) == 1
        assert sum(answer.returned is not None for answer in told) == 1
        assert levels(shop) == (5, 0, 0)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_what_is_not_paid_is_not_given_back(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Unknown, locked, in flight, cancelled, released; and nothing moves."""
    with kept_store(*kept, request, SALE) as shop:
        assert shop.refund("none", ASKED_S) is Refusal.UNKNOWN_RESERVATION
        locked, paying = shop.reserved(key="k0"), shop.reserved(key="k1", account="b")
        payment = shop.begun(paying)
        for order in (locked, paying):
            assert shop.refund(order.id, ASKED_S) is Refusal.NOT_PAID
        shop.withdraw(locked.id, ASKED_S)
        assert shop.refund(locked.id, ASKED_S) is Refusal.RESERVATION_EXPIRED
        lapsed = shop.reserved(key="k2", account="c")
        shop.settle_declined(payment.id, None, ASKED_S)
        shop.release_lapsed(OPENS_S + LOCK_S)
        assert shop.refund(lapsed.id, ASKED_S) is Refusal.RESERVATION_EXPIRED
        assert levels(shop) == (5, 0, 0)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_what_comes_after_a_refund(kept: Variant, request: pytest.FixtureRequest) -> None:
    """The provider's word again, a late no, a cancel, a payment, a sweep: all change nothing."""
    with kept_store(*kept, request, SALE) as shop:
        order = shop.reserved()
        payment = shop.begun(order)
        shop.settle_captured(payment.id, "ch", OPENS_S)
        shop.refund(order.id, ASKED_S)
        shop.settle_captured(payment.id, "ch", ASKED_S)
        shop.settle_declined(payment.id, "ch", ASKED_S)
        shop.settle_expired(payment.id, ASKED_S)
        assert shop.withdraw(order.id, ASKED_S) is Refusal.ALREADY_PAID
        assert shop.cancel(order.id, ASKED_S) is False
        refused = shop.begin_payment(Offer("again", order.id, "card", "m"), ASKED_S)
        assert refused is Refusal.RESERVATION_EXPIRED
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 0
        assert shop.read_payment(payment.id).state == "refunding"
        assert shop.read_reservation(order.id).state == "refunding"
        assert levels(shop) == (5, 0, 0)


@pytest.mark.requirement("A101")
@pytest.mark.parametrize("kept", on(("conditional_update", "buckets")))
def test_goods_that_were_sent(kept: Variant, request: pytest.FixtureRequest) -> None:
    """They stay sold and count against the limit of their account; nobody pays for them."""
    terms = replace(SALE, refund=replace(REFUND, returns_stock=False))
    with kept_store(*kept, request, terms) as shop:
        for key in ("k0", "k1"):
            order = shop.sold(key)
        shop.refund(order.id, ASKED_S)
        assert levels(shop) == (3, 0, 2)
        [console, _] = shop.audit(ASKED_S, 1.0, [(order.id, PRICE), ("other", PRICE)]).items
        assert (console.sold_units, console.unreturned_units, console.orders_paid) == (2, 1, 1)
        assert console.max_units_per_account == 2
        refused = shop.reserve(Wish("k2", "console", "a", 1), ASKED_S, LOCK_S)
        assert refused is Refusal.LIMIT_REACHED


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_coupon_stays_used(kept: Variant, request: pytest.FixtureRequest) -> None:
    coupon = CouponTerms(1, 100, 1, "conditional_update")
    with kept_store(*kept, request, replace(SALE, coupon=coupon)) as shop:
        order = shop.reserve(Wish("k", "console", "a", 1), OPENS_S, LOCK_S, brings_coupon=True)
        payment = shop.begun(order)
        assert payment.amount_cents == PRICE - 100
        shop.settle_captured(payment.id, "ch", OPENS_S)
        shop.refund(order.id, ASKED_S)
        next_one = shop.reserve(Wish("k2", "console", "b", 1), ASKED_S, LOCK_S, brings_coupon=True)
        assert next_one.discount_cents == 0
        audit = shop.audit(ASKED_S, 1.0, [(order.id, PRICE - 100)])
        assert (audit.coupon_redemptions, audit.discount_cents) == (1, 0)
        assert money(audit) == (PRICE - 100, 0, PRICE - 100, 1, 0)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_shop_that_only_marks_the_order(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Broken: nobody is told to pay, and the audit sees it."""
    terms = replace(SALE, refund=replace(REFUND, is_marked_only=True))
    with kept_store(*kept, request, terms) as shop:
        order = shop.sold("k")
        granted = shop.refund(order.id, ASKED_S)
        assert (granted.order.state, granted.payment) == ("refunded", None)
        assert shop.open_payments() == []
        assert money(shop.audit(ASKED_S, 1.0, [(order.id, PRICE)])) == (PRICE, 0, 0, 0, 1)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_shop_without_refunds(kept: Variant, request: pytest.FixtureRequest) -> None:
    with kept_store(*kept, request) as shop:
        assert shop.refund(shop.sold("k").id, ASKED_S) is Refusal.NO_REFUNDS
        assert shop.audit(ASKED_S, 1.0, []).refunds_open is None


def test_the_terms_travel() -> None:
    """As JSON and back; the delay of an order is drawn from all of its values."""
    terms = replace(SALE, refund=RefundTerms(tuple(float(n) for n in range(1000)), False, True))
    assert terms_from_json(terms_to_json(terms)) == terms
    assert terms.refund is not None
    drawn = [terms.refund.delay_s(f"key {n}") for n in range(10_000)]
    assert drawn[:3] == [terms.refund.delay_s(f"key {n}") for n in range(3)]
    # The mean of 10,000 of 0 to 999, within 4 standard errors.
    assert abs(sum(drawn) / len(drawn) - 499.5) < 4 * 2.9
    assert (min(drawn) < 10, max(drawn) > 990) == (True, True)


# --- over HTTP


def refund(buyer: Buyer, order: str) -> tuple[int, str]:
    reply = buyer.http.post(f"/reservations/{order}/refund")
    content = reply.json()
    return reply.status_code, content.get("status") or content["code"]


def charge_of(buyer: Buyer, order: str) -> dict[str, Any]:
    [charge] = [c for c in buyer.ask("/admin/charges")["charges"] if c["order_id"] == order]
    return dict(charge)


def order_of(buyer: Buyer, order: str) -> dict[str, Any]:
    [row] = [o for o in buyer.ask("/admin/orders")["orders"] if o["order_id"] == order]
    return dict(row)


def audit_of(buyer: Buyer) -> Audit:
    return Audit.model_validate(buyer.ask("/admin/audit"))


@pytest.mark.live
def test_a_buyer_gets_its_money_back(tmp_path: Path) -> None:
    """Granted at once, paid out 0.6 s later; every refusal has its status."""
    terms = {"refund": {"delay": "600ms"}}
    with shop_with(tmp_path, {}, terms=terms) as (_, buyer):
        full = buyer.stock["available"]
        order, unpaid = buyer.reserve(1), buyer.reserve(2)
        assert buyer.pay(order).status_code == 200
        assert refund(buyer, unpaid) == (409, "not_paid")
        assert refund(buyer, "none") == (404, "unknown_reservation")
        assert [refund(buyer, order) for _ in range(2)] == [(200, "refunding")] * 2
        assert buyer.stock["available"] == full - 1
        assert money(audit_of(buyer)) == (PRICE, 0, PRICE, 1, 0)
        until(lambda: charge_of(buyer, order)["state"] == "refunded", "the money")
        until(lambda: order_of(buyer, order)["state"] == "refunded", "the shop's word")
        took_s = charge_of(buyer, order)["refunded_s"] - order_of(buyer, order)["refund_asked_s"]
        assert 0.6 <= took_s < 3
        assert refund(buyer, order) == (200, "refunded")
        assert money(audit_of(buyer)) == (0, 0, 0, 0, 0)
        buyer.cancel(unpaid)
        assert refund(buyer, unpaid) == (410, "reservation_expired")


@pytest.mark.live
@pytest.mark.parametrize("dies", ["shop", "provider", "both"])
def test_no_refund_is_lost_when_processes_die(tmp_path: Path, dies: str) -> None:
    """kill -9 between the yes and the money: it is back all the same, once, to the cent."""
    terms = {"refund": {"delay": {"kind": "uniform", "low": "500ms", "high": "1500ms"}}}
    with shop_with(tmp_path, {}, terms=terms) as (running, buyer):
        orders = [buyer.reserve(account) for account in range(1, 5)]
        for order in orders:
            assert buyer.pay(order).status_code == 200
        for order in orders[:3]:
            assert refund(buyer, order) == (200, "refunding")
        if dies in {"shop", "both"}:
            os.kill(running.shop_pid, signal.SIGKILL)
        if dies in {"provider", "both"}:
            os.kill(running.provider_pid, signal.SIGKILL)
            time.sleep(1.0)  # Some are due while it is away.
            running.restart_provider()
        if dies in {"shop", "both"}:
            running.restart_shop()
        again = Buyer(running)
        with again.http:
            assert refund(again, orders[0])[0] == 200, "asked again, it is the same refund"
            until(lambda: audit_of(again).refunds_open == 0, "the money of all three")
            states = [charge_of(again, order)["state"] for order in orders]
            assert states == ["refunded"] * 3 + ["captured"]
            assert [order_of(again, order)["state"] for order in orders] == [
                *["refunded"] * 3,
                "sold",
            ]
            assert money(audit_of(again)) == (PRICE, PRICE, 0, 0, 0)


@pytest.mark.live
def test_a_provider_that_is_out_delays_the_money(tmp_path: Path) -> None:
    """It refuses for a second: the buyer has the yes at once and the money after that."""
    terms = {"refund": {"delay": "0s"}}
    with shop_with(tmp_path, {}, terms=terms) as (running, buyer):
        order = buyer.reserve(1)
        assert buyer.pay(order).status_code == 200
        outage_s = 1.0
        began_s = time.monotonic()
        body = {"duration_s": outage_s, "answer": "refuse"}
        assert httpx.put(f"{running.provider_url}/outage", json=body).status_code == 200
        assert refund(buyer, order) == (200, "refunding")
        until(lambda: order_of(buyer, order)["state"] == "refunded", "the money")
        assert time.monotonic() - began_s >= outage_s
        assert charge_of(buyer, order)["state"] == "refunded"
