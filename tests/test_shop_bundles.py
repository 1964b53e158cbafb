"""Orders of several lines in the reference shop, on every store: all of their units or none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.shop_stores import CORRECT, LOCK_S, OPENS_S, TERMS, Kept, at_once, kept_store, on, word
from tests.test_shop_store import on_file

from doorbuster.scenario.bundles import WITHOUT_BUNDLES
from doorbuster_shop.store.payments import Offer
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.session import DatabaseError, Session, StoreUnavailableError
from doorbuster_shop.store.strategies import conditional_update
from doorbuster_shop.terms import (
    CouponTerms,
    ItemTerms,
    RefundTerms,
    terms_from_json,
    terms_to_json,
)

Variant = tuple[str, str]
CAN = tuple(name for name in CORRECT if name not in WITHOUT_BUNDLES)
A, B = ItemTerms("a", 700, 9, 10), ItemTerms("b", 500, 9, 7)
SET = ItemTerms("set", 1_500, 3, 0, (("a", 1), ("b", 2)))
PAIR = ItemTerms("pair", 1_100, 3, 0, (("a", 1), ("b", 1)))
SALE = replace(TERMS, items=(SET, A, B, PAIR))
"""The bundle first: neither its place nor that of its parts may matter."""


@pytest.fixture(params=on(CAN))
def shop(request: pytest.FixtureRequest) -> Iterator[Kept]:
    terms = replace(SALE, refund=RefundTerms((5.0,)), late_payment="recheck_stock")
    database, strategy = request.param
    with kept_store(database, strategy, request, terms) as kept:
        yield kept


def levels(shop: Kept) -> dict[str, tuple[int, int, int]]:
    """Available, locked and sold units of what has a stock."""
    return {level.sku: tuple(level[1:]) for level in shop.read_levels()}


def audited(shop: Kept, at_s: float = OPENS_S) -> dict[str, tuple[int | None, ...]]:
    """The same as the audit adds it up from the orders; then orders paid and sets sold."""
    found: dict[str, tuple[int | None, ...]] = {}
    for line in shop.audit(at_s, 1.0, []).items:
        stock = (line.available_units, line.locked_units, line.sold_units)
        found[line.sku] = (*stock, line.orders_paid, line.sets_sold)
        assert sum(map(int, stock)) == line.initial_units
    return found


def offered(shop: Kept, sku: str) -> int:
    """Units that the page shows."""
    units: int = shop.read_item(sku).available_units
    return units


def refusal(shop: Kept, sku: str, quantity: int = 1, *, account: str = "x") -> str:
    return word(shop.reserve(Wish(f"{sku} {account}", sku, account, quantity), OPENS_S, LOCK_S))


@pytest.mark.requirement("A049")
def test_a_set_takes_all_its_lines(shop: Kept) -> None:
    """Two sets of one a and two b in one order: 2 of 10 a, 4 of 7 b, one set more on the page."""
    assert (offered(shop, "set"), offered(shop, "pair")) == (3, 7)
    order = shop.reserve(Wish("k", "set", "x", 2), OPENS_S, LOCK_S)
    assert isinstance(order, Reservation)
    assert (order.sku, order.quantity, order.amount_cents) == ("set", 2, 3_000)
    assert levels(shop) == {"a": (8, 2, 0), "b": (3, 4, 0)}
    assert (offered(shop, "set"), offered(shop, "pair"), offered(shop, "b")) == (1, 3, 3)
    nothing = (0, 0, 0, 0, 0)
    assert audited(shop) == {
        "set": nothing,
        "a": (8, 2, 0, 0, 0),
        "b": (3, 4, 0, 0, 0),
        "pair": nothing,
    }
    shop.settle_captured(shop.begun(order).id, "ch", OPENS_S)
    assert levels(shop) == {"a": (8, 0, 2), "b": (3, 0, 4)}
    assert audited(shop)["set"] == (0, 0, 0, 1, 2)
    assert audited(shop)["b"] == (3, 0, 4, 0, 0)
    audit = shop.audit(OPENS_S, 1.0, [(order.id, 3_000)])
    assert (audit.paid_cents, audit.payments_without_order) == (3_000, 0)
    assert refusal(shop, "set", 2, account="x") == "limit_reached"
    assert [(row.sku, row.quantity) for row in shop.read_orders()] == [("set", 2)]


def test_a_set_that_lacks_one_line_takes_none(shop: Kept) -> None:
    """One b is left: no set, and its a is there for others; a pair is, and then nothing of b."""
    assert refusal(shop, "b", 6) == "Reservation"
    before = levels(shop)
    assert before == {"a": (10, 0, 0), "b": (1, 6, 0)}
    assert refusal(shop, "set") == "sold_out"
    assert levels(shop) == before
    assert refusal(shop, "pair") == "Reservation"
    assert refusal(shop, "pair", account="y") == "sold_out"
    assert levels(shop) == {"a": (9, 1, 0), "b": (0, 7, 0)}
    # What was refused is no unit less: all that is left of a can be had, also at the counter.
    assert refusal(shop, "a", 9) == "Reservation"
    assert levels(shop)["a"] == (0, 10, 0)


@pytest.mark.parametrize("way", ["lapsed", "cancelled", "withdrawn", "refunded"])
def test_all_lines_come_back_together(shop: Kept, way: str) -> None:
    """And somebody else can have them, at the counter, too."""
    order = shop.reserved(sku="set")
    assert levels(shop) == {"a": (9, 1, 0), "b": (5, 2, 0)}
    if way == "refunded":
        shop.settle_captured(shop.begun(order).id, "ch", OPENS_S)
        shop.refund(order.id, OPENS_S + 1)
    elif way == "withdrawn":
        shop.withdraw(order.id, OPENS_S + 1)
    elif way == "cancelled":
        shop.cancel(order.id, OPENS_S + 1)
    else:
        assert shop.release_lapsed(OPENS_S + LOCK_S) == 1
    assert levels(shop) == {"a": (10, 0, 0), "b": (7, 0, 0)}
    audited(shop)
    assert refusal(shop, "b", 7) == "Reservation"


@pytest.mark.parametrize("is_gone", [False, True])
def test_late_money_finds_all_lines_or_none(shop: Kept, is_gone: bool) -> None:
    """The lock lapses under the payment; meanwhile somebody takes one b of two that are left."""
    refusal(shop, "b", 5)
    order = shop.reserved(sku="set")
    payment = shop.begun(order)
    shop.sql("UPDATE reservations SET state = 'released', released_at_s = 1005 WHERE sku = 'set'")
    shop.sql("UPDATE stock SET available_units = 10, locked_units = 0 WHERE sku = 'a'")
    shop.sql("UPDATE stock SET available_units = 2, locked_units = 5 WHERE sku = 'b'")
    shop.end_sweep(OPENS_S + 6)
    if is_gone:
        assert refusal(shop, "b", account="y") == "Reservation"
    settled = shop.settle_captured(payment.id, "ch", OPENS_S + 7)
    assert settled.state == ("refunding" if is_gone else "paid")
    taken = {"a": (9, 0, 1), "b": (0, 5, 2)}
    assert levels(shop) == ({"a": (10, 0, 0), "b": (1, 6, 0)} if is_gone else taken)
    audited(shop, OPENS_S + 7)


@pytest.mark.parametrize("kept", on(CAN))
def test_a_whole_sale_of_sets_at_once(kept: Variant, request: pytest.FixtureRequest) -> None:
    """Sets, pairs and single units, bought, cancelled and left: every unit is somewhere."""
    things = (replace(A, initial_units=60), replace(B, initial_units=90))
    wishes = ("set", "pair", "b", "pair", "a", "set", "b")

    async def visit(shop: Kept, number: int) -> tuple[str, str]:
        sku = wishes[number % len(wishes)]
        got = await shop.store.reserve(Wish(f"k{number}", sku, f"x{number}", 1), OPENS_S, LOCK_S)
        if isinstance(got, Refusal):
            return sku, got.value
        if number % 4 == 0:
            return sku, "lets it lapse"
        if number % 4 == 1:
            await shop.store.cancel(got.id, OPENS_S)
            return sku, "cancelled"
        payment = await shop.store.begin_payment(Offer(f"p{number}", got.id, "card", "m"), OPENS_S)
        if isinstance(payment, Refusal):
            return sku, f"not paid: {payment.value}"
        settled = await shop.store.settle_captured(payment.id, "ch", OPENS_S)
        assert settled is not None
        return sku, settled.state

    async def sweep(shop: Kept) -> tuple[str, str]:
        for _ in range(10):
            await shop.store.release_lapsed(OPENS_S + LOCK_S, 5)
            await asyncio.sleep(0.005)
        return "", "swept"

    terms = replace(SALE, items=(SET, *things, PAIR))
    with kept_store(*kept, request, terms) as shop:
        told = Counter(at_once(shop, [sweep(shop), *(visit(shop, n) for n in range(420))]))
        assert {sku for sku, what in told if what == "paid"} == set(wishes)
        assert any(what == "sold_out" for _, what in told)
        lines = {item.sku: item.lines or ((item.sku, 1),) for item in terms.items}
        paid = {item.sku: 0 for item in things}
        for (sku, what), orders in told.items():
            for part, units in lines[sku] if what == "paid" else ():
                paid[part] += units * orders
        assert {sku: level[2] for sku, level in levels(shop).items()} == paid
        found = audited(shop)
        assert {sku: found[sku][:3] for sku in paid} == levels(shop)
        assert found["set"][3:] == (told["set", "paid"], told["set", "paid"])
        # Nothing is in flight: what is left can be had to the last unit, at the counter, too.
        while shop.release_lapsed(OPENS_S + 2 * LOCK_S):
            pass
        shop.end_sweep(OPENS_S + 2 * LOCK_S)
        for sku, (available, locked, _) in levels(shop).items():
            assert locked == 0
            rest = [
                word(shop.reserve(Wish(f"r{sku}{n}", sku, f"r{n}", 1), OPENS_S + 2, LOCK_S))
                for n in range(available + 1)
            ]
            assert Counter(rest)["Reservation"] == available


@pytest.mark.services
@pytest.mark.parametrize("is_in_order", [True, False])
def test_one_order_of_the_rows_is_what_keeps_out_of_the_circle(
    is_in_order: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty sets and pairs at once, each with time between its two rows: no deadlock.

    Were the lines of the pair taken in the order in which somebody may have written them, b before
    a, PostgreSQL would find the circle and end one of the two.
    """
    lock_units = conditional_update.lock_units

    async def slowly(session: Session, sku: str, bucket: int, quantity: int) -> bool:
        is_locked = await lock_units(session, sku, bucket, quantity)
        await asyncio.sleep(0.02)
        return is_locked

    monkeypatch.setattr(conditional_update, "lock_units", slowly)
    pair = PAIR if is_in_order else replace(PAIR, lines=PAIR.lines[::-1])
    things = (replace(A, initial_units=100), replace(B, initial_units=100))
    terms = replace(SALE, items=(SET, *things, pair))
    with kept_store("postgresql", "conditional_update", request, terms) as shop:

        async def reserve(number: int) -> str:
            wish = Wish(f"k{number}", ("set", "pair")[number % 2], f"x{number}", 1)
            try:
                return word(await shop.store.reserve(wish, OPENS_S, LOCK_S))
            except StoreUnavailableError as error:
                return str(error)

        told = Counter(at_once(shop, [reserve(number) for number in range(40)]))
        deadlocks = sum(orders for what, orders in told.items() if "deadlock" in what.lower())
        # Who waits too long behind a circle gets no connection.
        assert (deadlocks == 0) == is_in_order == (told["Reservation"] == 40)
        # A transaction that was ended has left nothing of its first line either.
        audited(shop)


def test_a_coupon_is_for_the_set(request: pytest.FixtureRequest) -> None:
    """One discount an order, however many lines it has."""
    terms = replace(SALE, coupon=CouponTerms(1, 300, 1, "conditional_update"))
    with kept_store("sqlite", "conditional_update", request, terms) as shop:
        first, second = (
            shop.reserve(Wish(f"k{n}", "set", f"x{n}", 1), OPENS_S, LOCK_S, brings_coupon=True)
            for n in range(2)
        )
        assert (first.amount_cents, second.amount_cents) == (1_200, 1_500)


def test_the_lines_reach_the_shop_and_its_file(tmp_path: Path) -> None:
    """As JSON to its process; and a file with other lines is another sale."""
    assert terms_from_json(terms_to_json(SALE)) == SALE

    path = tmp_path / "shop.db"
    on_file(path, SALE)
    on_file(path, SALE)
    with pytest.raises(DatabaseError, match=r"other items.* bundles"):
        on_file(path, replace(SALE, items=(replace(SET, lines=(("a", 1), ("b", 1))), A, B, PAIR)))
