"""Coupons in the reference shop, on every store: asked of its tables, by SQL of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.shop_stores import CORRECT, ITEMS, LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on
from tests.test_provider_shop import PROMPT, shop_with

from doorbuster.scenario.shop import REDEEMS
from doorbuster_shop.store.opening import open_store
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.session import DatabaseError
from doorbuster_shop.terms import CouponTerms, terms_from_json, terms_to_json

Variant = tuple[str, str]
LIMIT, OFF = 7, 1_000
PLENTY = tuple(replace(item, initial_units=60, per_account_limit=3) for item in ITEMS)
COUPON = CouponTerms(LIMIT, OFF, 1, "conditional_update")
SALE = replace(TERMS, items=PLENTY, coupon=COUPON)
LOOKING = replace(SALE, coupon=replace(COUPON, redeem="check_then_write"))
_LIVE = "FROM reservations WHERE discount_cents > 0 AND state IN ('locked', 'sold')"


def counted(shop: Kept) -> tuple[int, int, int]:
    """Orders that carry the coupon, the most of one account, and what the shop has counted."""

    async def count() -> tuple[int, int, int]:
        async with shop.store.reading() as session:
            live = await session.one(f"SELECT count(*) {_LIVE}")
            uses = await session.all(f"SELECT count(*) {_LIVE} GROUP BY account")
            told = await session.one("SELECT redeemed FROM coupons")
        assert live is not None
        assert told is not None
        return live[0], max((row[0] for row in uses), default=0), told[0]

    found: tuple[int, int, int] = shop.wait(count())
    return found


def bringing(
    shop: Kept, key: str, account: str, *, sku: str = "console", at_s: float = OPENS_S
) -> Coroutine[Any, Any, Reservation | Refusal]:
    """A reservation of one unit that brings the coupon."""
    return shop.store.reserve(Wish(key, sku, account, 1), at_s, LOCK_S, brings_coupon=True)


def reserved(shop: Kept, key: str, account: str, **changes: Any) -> Reservation:
    made = shop.wait(bringing(shop, key, account, **changes))
    assert isinstance(made, Reservation), made
    return made


@pytest.mark.requirement("A029")
@pytest.mark.parametrize("kept", on(CORRECT))
def test_a_rush_redeems_as_many_as_there_are(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Forty at once for two items: seven pay 1,000 cents less, and nobody is refused."""
    with kept_store(*kept, request, SALE) as shop:
        skus = ("console", "headset")
        told: list[Any] = []
        left = [(f"k{n}", f"a{n}", skus[n % 2]) for n in range(40)]
        while left:  # Who loses eight races in a row (optimistic) comes again.
            answers = at_once(shop, [bringing(shop, k, a, sku=s) for k, a, s in left])
            told += [answer for answer in answers if answer is not Refusal.OVERLOADED]
            assert len(told) > 0
            left = [w for w, a in zip(left, answers, strict=True) if a is Refusal.OVERLOADED]
        assert all(isinstance(answer, Reservation) for answer in told)
        assert sorted(answer.discount_cents for answer in told) == [0] * 33 + [OFF] * LIMIT
        prices = {item.sku: item.price_cents for item in ITEMS}
        assert all(a.amount_cents == prices[a.sku] - a.discount_cents for a in told)
        assert counted(shop) == (LIMIT, 1, LIMIT)


@pytest.mark.parametrize("kept", on(CORRECT))
def test_an_account_that_asks_for_everything_at_once(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Three of each item within the purchase limit, one coupon among them."""
    with kept_store(*kept, request, SALE) as shop:
        wishes = [
            bringing(shop, f"{s} {n}", "a", sku=s) for s in ("console", "headset") for n in "abc"
        ]
        told = at_once(shop, wishes)
        assert sum(isinstance(answer, Reservation) for answer in told) == 6
        assert counted(shop) == (1, 1, 1)


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_what_gives_it_back(kept: Variant, request: pytest.FixtureRequest) -> None:
    """A lapse, the buyer, the operator; a sale keeps it, and a repeated request redeems once."""
    with kept_store(*kept, request, SALE) as shop:
        made = [reserved(shop, f"k{n}", f"a{n}") for n in range(4)]
        assert shop.wait(bringing(shop, "k0", "a0")) == made[0]
        assert counted(shop) == (4, 1, 4)
        shop.withdraw(made[0].id, OPENS_S)
        shop.withdraw(made[0].id, OPENS_S)
        shop.cancel(made[1].id, OPENS_S)
        assert counted(shop) == (2, 1, 2)
        payment = shop.begun(made[2])
        assert payment.amount_cents == ITEMS[0].price_cents - OFF
        shop.settle_captured(payment.id, "ch", OPENS_S)
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 1
        assert counted(shop) == (1, 1, 1)
        assert reserved(shop, "again", "a3", at_s=OPENS_S + LOCK_S).discount_cents == OFF
        audit = shop.audit(OPENS_S, 1.0, [(made[2].id, payment.amount_cents)])
        assert (audit.coupon_limit, audit.coupon_redemptions) == (LIMIT, 2)
        assert audit.captured_cents == audit.paid_cents == ITEMS[0].price_cents - OFF
        assert audit.discount_cents == OFF


@pytest.mark.parametrize("kept", on(CORRECT))
def test_late_money_needs_a_coupon_that_is_left(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """Released and paid: bought again with its coupon, or, where another has it, given back."""
    terms = replace(SALE, late_payment="recheck_stock", coupon=replace(COUPON, limit=1))
    for is_left in (True, False):
        with kept_store(*kept, request, terms) as shop:
            order = reserved(shop, "k", "a")
            payment = shop.begun(order)
            assert shop.release_lapsed(OPENS_S + LOCK_S) == 1
            other = "a" if is_left else "b"
            if not is_left:
                assert reserved(shop, "o", other, at_s=OPENS_S + LOCK_S).discount_cents == OFF
            settled = shop.settle_captured(payment.id, "ch", OPENS_S + LOCK_S)
            assert settled.state == ("paid" if is_left else "refunding")
            assert counted(shop) == (1, 1, 1)
            [console, _] = shop.read_levels()
            sold, locked = (1, 0) if is_left else (0, 1)
            assert (console.sold, console.locked, console.available) == (sold, locked, 59)


@pytest.mark.parametrize("kept", on(("conditional_update", "buckets", "optimistic")))
def test_a_count_by_a_look_gives_away_too_many(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    """All look before anybody writes: the coupon is there for each, and the table says one."""
    with kept_store(*kept, request, LOOKING) as shop:
        at_once(shop, [bringing(shop, f"k{n}", f"a{n}") for n in range(20)])
        live, _, told = counted(shop)
        assert live > LIMIT
        assert told <= LIMIT
        assert shop.audit(OPENS_S, 1.0, []).coupon_redemptions == live


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_count_by_a_look_does_not_hold_the_account(
    kept: Variant, request: pytest.FixtureRequest
) -> None:
    with kept_store(*kept, request, LOOKING) as shop:
        at_once(shop, [bringing(shop, f"k{n}", "a") for n in range(3)])
        assert counted(shop)[1] > 1


@pytest.mark.parametrize("kept", on(("conditional_update",)))
def test_a_shop_without_a_coupon(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Who brings one all the same pays the full price."""
    with kept_store(*kept, request, TERMS) as shop:
        assert reserved(shop, "k", "a").discount_cents == 0
        audit = shop.audit(OPENS_S, 1.0, [])
        assert (audit.coupon_limit, audit.coupon_redemptions, audit.discount_cents) == (None,) * 3


def test_another_coupon_is_another_sale(tmp_path: Path) -> None:
    """A database goes on with its own coupon alone."""
    path = str(tmp_path / "shop.db")

    async def resume(coupon: CouponTerms | None) -> None:
        store = await open_store(path, "conditional_update")
        try:
            await store.resume_sale(replace(SALE, coupon=coupon), OPENS_S)
        finally:
            await store.close()

    for _ in range(2):
        asyncio.run(resume(COUPON))
    for coupon in (None, replace(COUPON, limit=8), replace(COUPON, redeem=REDEEMS[1])):
        with pytest.raises(DatabaseError, match="coupon"):
            asyncio.run(resume(coupon))


def test_the_terms_travel() -> None:
    assert terms_from_json(terms_to_json(SALE)) == SALE
    assert terms_from_json(terms_to_json(TERMS)) == TERMS


@pytest.mark.live
def test_the_api_tells_of_it(tmp_path: Path) -> None:
    """Answer, order, charge and account of two orders, one with the coupon of the sale."""
    coupon = {"coupon": {"limit": 1, "off": 100.00}}
    with shop_with(tmp_path, PROMPT, terms=coupon) as (_, buyer):
        told = []
        for account in (1, 2):
            wish = {"sku": "console", "quantity": 1, "account": account, "coupon": True}
            headers = {"Idempotency-Key": f"w{account}"}
            answer = buyer.http.post("/reservations", json=wish, headers=headers).json()
            assert buyer.pay(answer["reservation_id"]).status_code == 200
            told.append((answer["amount_cents"], answer["discount_cents"]))
        assert told == [(39_900, 10_000), (49_900, 0)]
        orders = buyer.ask("/admin/orders")["orders"]
        assert [(o["amount_cents"], o["discount_cents"]) for o in orders] == told
        charges = buyer.ask("/admin/charges")["charges"]
        assert sorted(charge["amount_cents"] for charge in charges) == [39_900, 49_900]
        audit = buyer.ask("/admin/audit")
        assert audit["captured_cents"] == audit["paid_cents"] == 89_800
        assert (audit["coupon_limit"], audit["coupon_redemptions"]) == (1, 1)
        assert audit["discount_cents"] == 10_000
