"""Units that only payments lock, in the reference shop: on every store, and when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.shop_stores import LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on, word
from tests.test_provider_shop import Buyer, shop_with, until

from doorbuster.scenario.bundles import WITHOUT_BUNDLES
from doorbuster.scenario.shop import LOCKING_AT_PAYMENT
from doorbuster_shop.store.payments import Offer
from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.terms import (
    CouponTerms,
    ItemTerms,
    RefundTerms,
    terms_from_json,
    terms_to_json,
)

Variant = tuple[str, str]
LATE = replace(TERMS, lock_point="payment")
FEW = replace(LATE, items=(ItemTerms("console", 700, 2, 1), ItemTerms("headset", 500, 2, 4)))
UNITS = 40
RUSH = replace(LATE, items=(ItemTerms("console", 700, 2, UNITS),))
CAN_BUNDLE = tuple(name for name in LOCKING_AT_PAYMENT if name not in WITHOUT_BUNDLES)


def levels(shop: Kept) -> tuple[int, int, int]:
    """Available, locked and sold units of the console, as its row and its orders both have it."""
    level = next(level for level in shop.read_levels() if level.sku == "console")
    items = shop.audit(OPENS_S, 1.0, []).items
    line = next(line for line in items if line.sku == "console")
    found = (level.available, level.locked, level.sold)
    assert (line.available_units, line.locked_units, line.sold_units) == found
    return found


def pay(shop: Kept, order: str, key: str, at_s: float = OPENS_S) -> Any:
    return shop.begin_payment(Offer(key, order, "card", "m"), at_s)


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
def test_the_first_to_pay_has_the_last_unit(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Two orders for one unit; the second payment finds none, and ends its order for good."""
    with kept_store(*kept, request, FEW) as shop:
        first, second = shop.reserved(key="k0", account="a"), shop.reserved(key="k1", account="b")
        assert (first.state, levels(shop)) == ("open", (1, 0, 0))
        payment = shop.begun(first)
        assert levels(shop) == (0, 1, 0)
        assert shop.reserve(Wish("k2", "console", "c", 1), OPENS_S, LOCK_S) is Refusal.SOLD_OUT
        assert pay(shop, second.id, "p1", OPENS_S + 3) is Refusal.SOLD_OUT
        assert pay(shop, second.id, "p1") is Refusal.RESERVATION_EXPIRED
        [ended] = [o for o in shop.read_orders() if o.order_id == second.id]
        assert (ended.state, ended.released_s, ended.sold_s) == ("released", 3.0, None)
        shop.settle_captured(payment.id, "ch", OPENS_S + 4)
        assert levels(shop) == (0, 0, 1)
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 0


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
@pytest.mark.parametrize("end", ["declined", "expired"])
def test_a_failed_payment_gives_its_units_back(
    kept: Variant, end: str, request: pytest.FixtureRequest
) -> None:
    """At once, to the row that they came from, and once; the next attempt takes them anew."""
    with kept_store(*kept, request, LATE) as shop:
        order = shop.reserve(Wish("k", "console", "a", 2), OPENS_S, LOCK_S)
        for key in ("p0", "p1"):
            payment = shop.begun(order, key=key)
            assert levels(shop) == (3, 2, 0)
            for _ in range(2):
                if end == "declined":
                    told = shop.settle_declined(payment.id, None, OPENS_S + 1)
                else:
                    told = shop.settle_expired(payment.id, OPENS_S + 1)
                assert (told.state, levels(shop)) == (end, (5, 0, 0))
            assert shop.read_reservation(order.id).state == "open"
        shop.settle_captured(shop.begun(order, key="p2").id, "ch", OPENS_S + 2)
        # A word about the first payment that comes late changes nothing.
        shop.settle_declined(payment.id, None, OPENS_S + 3)
        assert levels(shop) == (3, 0, 2)


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
def test_open_orders_lapse_and_are_cancelled(kept: Variant, request: pytest.FixtureRequest) -> None:
    """No unit moves; one that is being paid is held, and lapses once its payment has failed."""
    with kept_store(*kept, request, LATE) as shop:
        orders = [shop.reserved(key=f"k{n}", account=f"a{n}") for n in range(5)]
        payment = shop.begun(orders[0])
        assert shop.withdraw(orders[0].id, OPENS_S) is Refusal.PAYMENT_IN_PROGRESS
        assert shop.withdraw(orders[1].id, OPENS_S) is None
        assert shop.cancel(orders[2].id, OPENS_S) is True
        assert shop.refund(orders[3].id, OPENS_S) is Refusal.NO_REFUNDS
        assert levels(shop) == (4, 1, 0)
        end_s = OPENS_S + LOCK_S
        assert [shop.release_lapsed(end_s, 1) for _ in range(3)] == [1, 1, 0]
        assert pay(shop, orders[3].id, "late") is Refusal.RESERVATION_EXPIRED
        assert (levels(shop), shop.read_reservation(orders[0].id).state) == ((4, 1, 0), "locked")
        shop.settle_declined(payment.id, None, end_s + 1)
        assert pay(shop, orders[0].id, "again", end_s + 1) is Refusal.RESERVATION_EXPIRED
        assert shop.release_lapsed(end_s + 1) == 1
        assert levels(shop) == (5, 0, 0)
        assert Counter(order.state for order in shop.read_orders()) == {
            "cancelled": 2,
            "released": 3,
        }


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_limit_and_coupon_count_open_orders(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Both come back when a payment is too late, and when the order lapses."""
    coupon = CouponTerms(1, 100, 1, "conditional_update")
    with kept_store(*kept, request, replace(FEW, coupon=coupon)) as shop:
        order = shop.reserve(Wish("k", "console", "a", 1), OPENS_S, LOCK_S, brings_coupon=True)
        assert (order.state, order.discount_cents) == ("open", 100)
        shop.reserved(key="k1", account="a")
        assert shop.reserve(Wish("k2", "console", "a", 1), OPENS_S, LOCK_S) is (
            Refusal.LIMIT_REACHED
        )
        audit = shop.audit(OPENS_S, 1.0, [])
        assert (audit.coupon_redemptions, audit.items[0].max_units_per_account) == (1, 2)
        assert audit.items[0].lapsed_locks == 0
        shop.begun(shop.reserved(key="other", account="b"), key="first")
        assert pay(shop, order.id, "p") is Refusal.SOLD_OUT
        audit = shop.audit(OPENS_S, 1.0, [])
        assert (audit.coupon_redemptions, audit.items[0].max_units_per_account) == (0, 1)
        again = shop.reserve(Wish("h", "headset", "a", 1), OPENS_S, LOCK_S, brings_coupon=True)
        assert again.discount_cents == 100
        shop.release_lapsed(OPENS_S + LOCK_S)
        assert shop.audit(OPENS_S, 1.0, []).coupon_redemptions == 0


@pytest.mark.parametrize("kept", on(CAN_BUNDLE))
def test_a_set_is_paid_whole_or_not(kept: Variant, request: pytest.FixtureRequest) -> None:
    """The set lacks its second line: the first stays on the shelf, and the order is gone."""
    items = (
        ItemTerms("console", 700, 9, 3),
        ItemTerms("b", 500, 9, 2),
        ItemTerms("set", 1_500, 3, 0, (("b", 2), ("console", 1))),
    )
    with kept_store(*kept, request, replace(LATE, items=items)) as shop:
        one, two = (shop.reserved(key=f"k{n}", account=f"a{n}", sku="set") for n in range(2))
        payment = shop.begun(one)
        assert levels(shop) == (2, 1, 0)
        assert pay(shop, two.id, "p1") is Refusal.SOLD_OUT
        assert levels(shop) == (2, 1, 0)
        shop.settle_declined(payment.id, None, OPENS_S)
        assert [level[1:] for level in shop.read_levels()] == [(3, 0, 0), (2, 0, 0)]
        shop.settle_captured(shop.begun(one, key="again").id, "ch", OPENS_S)
        assert [level[1:] for level in shop.read_levels()] == [(2, 0, 1), (0, 0, 2)]


@pytest.mark.parametrize("kept", on(("conditional_update", "buckets")))
def test_who_has_paid_is_refunded_as_ever(kept: Variant, request: pytest.FixtureRequest) -> None:
    with kept_store(*kept, request, replace(LATE, refund=RefundTerms((5.0,)))) as shop:
        order, unpaid = shop.sold("k0"), shop.reserved(key="k1")
        assert shop.refund(unpaid.id, OPENS_S) is Refusal.NOT_PAID
        assert shop.refund(order.id, OPENS_S + 1).payment is not None
        assert levels(shop) == (5, 0, 0)


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
def test_many_at_the_till_at_once(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Everybody reserves, 300 orders for 40 units; then all pay at once, some in vain, some twice.

    Nothing is sold twice, nobody waits in a circle, and what was declined can be bought.
    """

    async def visit(shop: Kept, number: int) -> str:
        for attempt in range(3):
            offer = Offer(f"{number}-{attempt}", orders[number].id, "card", "m")
            payment = await shop.store.begin_payment(offer, OPENS_S)
            while payment is Refusal.OVERLOADED:  # Eight were faster than this one.
                await asyncio.sleep(0.002)
                payment = await shop.store.begin_payment(offer, OPENS_S)
            if isinstance(payment, Refusal):
                return str(payment.value)
            await asyncio.sleep(0.002)
            if (number + attempt) % 2:
                await shop.store.settle_declined(payment.id, None, OPENS_S)
                continue
            settled = await shop.store.settle_captured(payment.id, "ch", OPENS_S)
            assert settled is not None
            return str(settled.state)
        return "declined"

    async def sweep(shop: Kept) -> str:
        for _ in range(10):
            await shop.store.release_lapsed(OPENS_S + LOCK_S - 1, 3)
            await asyncio.sleep(0.005)
        return "swept"

    with kept_store(*kept, request, RUSH) as shop:
        orders = [shop.reserved(key=f"k{n}", account=f"a{n}") for n in range(300)]
        told = Counter(at_once(shop, [sweep(shop), *(visit(shop, n) for n in range(300))]))
        assert told["paid"] + told["sold_out"] == 300
        assert told["paid"] == UNITS, "the units that were declined were bought by others"
        assert levels(shop) == (0, 0, UNITS)
        states = Counter(order.state for order in shop.read_orders())
        assert states == {"sold": UNITS, "released": 300 - UNITS}


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
def test_twins_at_the_till_take_once(kept: Variant, request: pytest.FixtureRequest) -> None:
    with kept_store(*kept, request, RUSH) as shop:
        order = shop.reserved()
        offer = Offer("p", order.id, "card", "m")
        told = at_once(shop, [shop.store.begin_payment(offer, OPENS_S) for _ in range(20)])
        assert (len(set(told)), word(told[0])) == (1, "Payment")
        others = [Offer(f"p{n}", order.id, "card", "m") for n in range(20)]
        told = at_once(shop, [shop.store.begin_payment(offer, OPENS_S) for offer in others])
        assert Counter(map(word, told)) == {"payment_in_progress": 20}
        assert levels(shop) == (UNITS - 1, 1, 0)


def test_the_terms_travel() -> None:
    assert terms_from_json(terms_to_json(LATE)) == LATE


# --- over HTTP


def tell(reply: Any) -> tuple[int, str]:
    content = reply.json()
    return reply.status_code, content.get("status") or content["code"]


def state_of(buyer: Buyer, order: str) -> str:
    [row] = [o for o in buyer.ask("/admin/orders")["orders"] if o["order_id"] == order]
    return str(row["state"])


def where(buyer: Buyer) -> tuple[int, int, int]:
    stock = buyer.stock
    return stock["available"], stock["locked"], stock["sold"]


TERMS_LATE = {
    "lock_point": "payment",
    "items": [{"sku": "console", "stock": 1, "price": 499}],
    "release_sweep": "100ms",
}


@pytest.mark.live
def test_a_payment_that_comes_too_late(tmp_path: Path) -> None:
    """409, as a reservation that is refused; nothing is charged."""
    with shop_with(tmp_path, {}, terms=TERMS_LATE) as (_, buyer):
        first, second = buyer.reserve(1), buyer.reserve(2)
        assert tell(buyer.pay(first)) == (200, "paid")
        assert tell(buyer.pay(second)) == (409, "sold_out")
        assert tell(buyer.pay(second)) == (410, "reservation_expired")
        assert (state_of(buyer, second), where(buyer)) == ("released", (0, 0, 1))
        [charge] = buyer.ask("/admin/charges")["charges"]
        assert charge["order_id"] == first


@pytest.mark.live
@pytest.mark.parametrize("is_late", [False, True])
def test_a_shop_that_dies_between_the_units_and_the_charge(tmp_path: Path, is_late: bool) -> None:
    """The units are taken, the provider has not heard of it, and the shop is killed.

    The payment stands in the database, in the transaction that took the units. The next shop
    charges it while the order lives; else it closes the payment, and the unit is for sale again.
    """
    terms = {**TERMS_LATE, "lock_time": "1500ms" if is_late else "60s"}
    with shop_with(tmp_path, {}, terms=terms) as (running, buyer):
        order = buyer.reserve(1)
        os.kill(running.provider_pid, signal.SIGKILL)
        buyer.http.timeout = 0.5
        with pytest.raises(Exception, match="timed out"):
            buyer.pay(order)
        assert (state_of(buyer, order), where(buyer)) == ("locked", (0, 1, 0))
        os.kill(running.shop_pid, signal.SIGKILL)
        if is_late:
            time.sleep(1.5)
        running.restart_provider()
        running.restart_shop()
        again = Buyer(running)
        with again.http:
            end, units = ("released", (1, 0, 0)) if is_late else ("sold", (0, 0, 1))
            until(lambda: state_of(again, order) == end, "the end of the payment")
            assert where(again) == units
            audit = again.ask("/admin/audit")
            assert audit["captured_cents"] == audit["paid_cents"] == 49_900 * (not is_late)
