"""The shop's store on its own, law by law, over every database and every correct strategy."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.shop_stores import CORRECT, ITEMS, LOCK_S, OPENS_S, TERMS, Kept, kept_store, on

from doorbuster_shop.store.opening import open_store
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.session import SCHEMA_VERSION, DatabaseError, StoreError
from doorbuster_shop.store.sqlite import SqliteStore
from doorbuster_shop.terms import RefundTerms, Terms, terms_from_json, terms_to_json


@pytest.fixture(params=on(CORRECT))
def shop(request: pytest.FixtureRequest) -> Iterator[Kept]:
    """Each store in turn; a clock that the test turns."""
    database, strategy = request.param
    with kept_store(database, strategy, request) as kept:
        yield kept


def test_an_item_before_and_after_the_opening(shop: Kept) -> None:
    """A sale refuses before its opening and sells at the very second."""
    wish = Wish("k", "console", "a", 1)
    assert shop.reserve(wish, OPENS_S - 1e-6, LOCK_S) is Refusal.NOT_OPEN
    # The refusal left nothing behind: the same key is judged anew.
    assert isinstance(shop.reserve(wish, OPENS_S, LOCK_S), Reservation)
    item = shop.read_item("console")
    assert item is not None
    assert item.available_units == 4
    assert shop.read_item("lamp") is None


def test_the_limit_is_judged_before_the_stock(shop: Kept) -> None:
    """Who may not buy hears so, also when everything is gone."""
    for key in range(5):
        shop.reserved(key=str(key), account="ab"[key % 2] if key < 4 else "c")
    assert shop.reserve(Wish("x", "console", "a", 1), OPENS_S, LOCK_S) is Refusal.LIMIT_REACHED
    assert shop.reserve(Wish("y", "console", "d", 1), OPENS_S, LOCK_S) is Refusal.SOLD_OUT


def test_a_repeated_payment_is_the_same_payment(shop: Kept) -> None:
    """The key of a payment leads to it in whatever state it is by then."""
    reservation = shop.reserved()
    payment = shop.begun(reservation)
    shop.settle_captured(payment.id, "ch", OPENS_S)
    again = shop.begin_payment(Offer("p", reservation.id, "card", "m"), OPENS_S + 99)
    assert isinstance(again, Payment)
    assert (again.id, again.state) == (payment.id, "paid")
    other = Offer("p", reservation.id, "card", "another card")
    assert shop.begin_payment(other, OPENS_S) is Refusal.KEY_REUSED
    assert shop.begin_payment(Offer("q", "nobody's", "card", "m"), 0.0) is (
        Refusal.UNKNOWN_RESERVATION
    )


REFUSED = (sqlite3.IntegrityError, StoreError)


def test_two_live_payments_cannot_even_be_written(shop: Kept) -> None:
    """The database itself refuses a second payment in flight, whatever the code does."""
    payment = shop.begun(shop.reserved())
    twin = payment._replace(id="pay_2", idempotency_key="q")
    with pytest.raises(REFUSED, match=r"(?i)unique"):
        shop.sql("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", twin)
    assert [payment.id for payment in shop.open_payments()] == [payment.id]


def test_the_database_refuses_to_oversell(shop: Kept) -> None:
    """The law of conservation is a constraint of the table."""
    for change in (
        "available_units = available_units - 6, locked_units = locked_units + 6",
        "sold_units = sold_units + 1",
    ):
        with pytest.raises(REFUSED, match=r"(?i)check"):
            shop.sql(f"UPDATE stock SET {change}")


def test_a_lock_lapses_at_its_second_and_not_before(shop: Kept) -> None:
    """Until then it can be paid and the sweep passes it by; from then on it is the reverse."""
    reservation = shop.reserved()
    end_s = reservation.expires_at_s
    assert shop.release_lapsed(end_s - 1e-6) == 0
    late = shop.begin_payment(Offer("late", reservation.id, "card", "m"), end_s)
    assert late is Refusal.RESERVATION_EXPIRED
    in_time = shop.begin_payment(Offer("in time", reservation.id, "card", "m"), end_s - 1e-6)
    assert isinstance(in_time, Payment)
    shop.settle_declined(in_time.id, None, end_s)
    assert shop.release_lapsed(end_s) == 1


def test_a_lock_that_a_refusal_has_just_set_free_is_not_overdue(shop: Kept) -> None:
    payment = shop.begun(shop.reserved())
    refused_s = OPENS_S + 2 * LOCK_S
    shop.settle_declined(payment.id, "ch", refused_s)
    assert shop.audit(refused_s + 0.9, 1.0, None).items[0].lapsed_locks == 0
    assert shop.audit(refused_s + 1.1, 1.0, None).items[0].lapsed_locks == 1


def test_a_payment_holds_its_lock_beyond_its_time(shop: Kept) -> None:
    """The sweep passes over a payment in flight and releases the lock after its decline."""
    reservation = shop.reserved()
    payment = shop.begun(reservation)
    assert shop.release_lapsed(OPENS_S + 2 * LOCK_S) == 0
    assert shop.audit(OPENS_S + 2 * LOCK_S, 1.0, None).items[0].lapsed_locks == 0
    shop.settle_declined(payment.id, "ch", OPENS_S)
    assert shop.audit(OPENS_S + 2 * LOCK_S, 1.0, None).items[0].lapsed_locks == 1
    assert shop.release_lapsed(OPENS_S + 2 * LOCK_S) == 1
    released = shop.read_reservation(reservation.id)
    assert released is not None
    assert released.state == "released"


def test_an_old_payment_that_nobody_charged_is_dropped(shop: Kept) -> None:
    """`expired` is an end of its own and lets go of the lock."""
    payment = shop.begun(shop.reserved())
    shop.settle_expired(payment.id, OPENS_S + 99)
    settled = shop.read_payment(payment.id)
    assert settled is not None
    assert settled.state == "expired"
    assert shop.release_lapsed(OPENS_S + 99) == 1


def test_the_audit_sees_money_without_goods(shop: Kept) -> None:
    """Each fault that the money part looks for is found when it is planted."""
    sold, gone = shop.reserved(), shop.reserved(key="k2", account="b")
    shop.settle_captured(shop.begun(sold).id, "ch", OPENS_S)
    shop.cancel(gone.id, OPENS_S)
    planted = [(sold.id, 49_900), (sold.id, 49_900), (gone.id, 49_900), ("unheard of", 1)]
    account = shop.audit(OPENS_S, 1.0, planted)
    assert account.payments_captured == 4
    assert account.captured_cents == 3 * 49_900 + 1
    assert account.paid_cents == 49_900
    assert account.orders_captured_twice == 1
    assert account.payments_without_order == 2
    silent = shop.audit(OPENS_S, 1.0, None)
    assert (silent.paid_cents, silent.payments_captured) == (49_900, None)


def test_the_audit_sees_stock_that_does_not_add_up(shop: Kept) -> None:
    """A stock row that disagrees with the reservations cannot hide behind its own sum."""
    shop.reserved()
    shop.sql(
        "UPDATE stock SET available_units = available_units + 1, locked_units = locked_units - 1 "
        "WHERE sku = 'console' AND locked_units > 0"
    )
    line = shop.audit(OPENS_S, 1.0, None).items[0]
    assert line.available_units + line.locked_units + line.sold_units == line.initial_units + 1


@pytest.mark.parametrize("strategy", CORRECT)
def test_no_buyer_waits_for_a_table_scan(strategy: str, request: pytest.FixtureRequest) -> None:
    """Every statement of a purchase and of the sweep finds its rows by an index."""
    statements: set[str] = set()
    with kept_store("sqlite", strategy, request) as shop:
        assert isinstance(shop.store, SqliteStore)
        db = shop.store.db
        db.set_trace_callback(statements.add)
        first = shop.sold("k")
        second = shop.reserved(key="k2", account="b")
        shop.settle_declined(shop.begun(second, key="p2").id, "ch", OPENS_S)
        shop.read_item("console")
        shop.release_lapsed(OPENS_S + 99)
        shop.cancel(shop.reserved(key="k3").id, OPENS_S)
        shop.open_payments()
        shop.late_payments(OPENS_S)
        shop.store.late_payment = "recheck_stock"
        third = shop.begun(shop.reserved(key="k4", account="e"), key="p4")
        shop.release_lapsed(OPENS_S + 99)
        bought = shop.settle_captured(third.id, "ch late", OPENS_S + 99)
        assert bought is not None
        assert bought.state == "paid"
        shop.store.refunds = RefundTerms((0.0,))
        granted = shop.refund(first.id, OPENS_S)
        shop.settle_refunded(granted.payment.id)
        db.set_trace_callback(None)
        plans = {
            statement: [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in statements
            if not statement.startswith(("BEGIN", "COMMIT"))
        }
    assert len(plans) > 15
    scans = {
        statement: step
        for statement, steps in plans.items()
        for step in steps
        # The table `sale` has one row; an index may be walked in its order.
        if step.startswith("SCAN") and step != "SCAN sale" and "USING INDEX" not in step
    }
    assert not scans


def on_file(path: Path, terms: Terms, strategy: str = "conditional_update") -> None:
    """Open a store and go on with its sale, as a starting shop does."""

    async def resume() -> None:
        store = await open_store(str(path), strategy)
        try:
            await store.resume_sale(terms, OPENS_S + 500)
        finally:
            await store.close()

    asyncio.run(resume())


def test_a_database_outlives_its_connection(tmp_path: Path) -> None:
    """A reopened database goes on with its sale, and refuses every other one."""
    path = tmp_path / "shop.db"
    on_file(path, TERMS)

    async def reserve() -> Reservation | Refusal:
        store = await open_store(str(path), "conditional_update")
        made = await store.reserve(Wish("k", "console", "a", 1), OPENS_S + 500, LOCK_S)
        await store.close()
        return made

    reservation = asyncio.run(reserve())
    assert isinstance(reservation, Reservation)
    on_file(path, terms_from_json(terms_to_json(TERMS)))
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT id FROM reservations").fetchall() == [(reservation.id,)]
    with pytest.raises(DatabaseError, match="other items"):
        on_file(path, Terms(ITEMS[:1], LOCK_S, 1.0, 2.0, ("card",), "CNY"))
    with pytest.raises(DatabaseError, match=r"got row_lock.*allowed conditional_update"):
        on_file(path, TERMS, "row_lock")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(DatabaseError, match=rf"got 99.*allowed {SCHEMA_VERSION}"):
        on_file(path, TERMS)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Anything else is refused with its name, not with a traceback."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at as one\n" * 99)
    with pytest.raises(DatabaseError, match=r"notes\.txt"):
        on_file(path, TERMS)


def test_the_orders_tell_when_everything_happened(shop: Kept) -> None:
    """One row a reservation, with times from the opening."""
    sold = shop.sold("sold", at_s=OPENS_S + 1)
    lapsed = shop.reserved(key="lapsed", account="b", at_s=OPENS_S + 2)
    cancelled = shop.reserved(key="cancelled", account="c", at_s=OPENS_S + 3)
    shop.cancel(cancelled.id, OPENS_S + 4)
    shop.release_lapsed(OPENS_S + 12.5)
    locked = shop.reserved(key="locked", account="d", at_s=OPENS_S + 13, sku="headset")
    found = [order._asdict() for order in shop.read_orders()]
    assert [order["order_id"] for order in found] == [
        row.id for row in (sold, lapsed, cancelled, locked)
    ]
    times = [
        (o["state"], o["reserved_s"], o["expires_s"], o["released_s"], o["sold_s"]) for o in found
    ]
    assert times == [
        ("sold", 1, 11, None, 1),
        ("released", 2, 12, 12.5, None),
        ("cancelled", 3, 13, 4, None),
        ("locked", 13, 23, None, None),
    ]
    told = {key: found[-1][key] for key in ("account", "sku", "quantity", "amount_cents")}
    assert told == {"account": "d", "sku": "headset", "quantity": 1, "amount_cents": 2_990}
