"""The shop's store on its own, law by law, with a clock that the test turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from doorbuster_shop.store.audit import audit
from doorbuster_shop.store.database import DatabaseError, Transaction, open_database
from doorbuster_shop.store.payments import (
    Offer,
    Payment,
    begin_payment,
    open_payments,
    read_payment,
    settle_captured,
    settle_declined,
    settle_expired,
)
from doorbuster_shop.store.reservations import (
    Refusal,
    Reservation,
    Wish,
    cancel,
    read_reservation,
    release_lapsed,
    reserve,
)
from doorbuster_shop.store.stock import begin_sale, read_item, resume_sale
from doorbuster_shop.terms import ItemTerms, Terms, terms_from_json, terms_to_json

OPENS_S = 1_000.0
LOCK_S = 10.0
ITEMS = (ItemTerms("console", 49_900, 2, 5), ItemTerms("headset", 2_990, 3, 4))
TERMS = Terms(ITEMS, LOCK_S, 1.0, 2.0, ("card", "wallet"), "CNY")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(open_database(":memory:")) as connection:
        begin_sale(connection, TERMS, OPENS_S)
        yield connection


def reserved(
    db: sqlite3.Connection, *, key: str = "k", account: str = "a", at_s: float = OPENS_S
) -> Reservation:
    reservation = reserve(db, Wish(key, "console", account, 1), at_s, LOCK_S)
    assert isinstance(reservation, Reservation)
    return reservation


def begun(db: sqlite3.Connection, reservation: Reservation, *, key: str = "p") -> Payment:
    payment = begin_payment(db, Offer(key, reservation.id, "card", "m"), OPENS_S)
    assert isinstance(payment, Payment)
    return payment


def test_an_item_before_and_after_the_opening(db: sqlite3.Connection) -> None:
    """A sale refuses before its opening and sells at the very second."""
    wish = Wish("k", "console", "a", 1)
    assert reserve(db, wish, OPENS_S - 1e-6, LOCK_S) is Refusal.NOT_OPEN
    # The refusal left nothing behind: the same key is judged anew.
    assert isinstance(reserve(db, wish, OPENS_S, LOCK_S), Reservation)
    item = read_item(db, "console")
    assert item is not None
    assert item.available_units == 4
    assert read_item(db, "lamp") is None


def test_the_limit_is_judged_before_the_stock(db: sqlite3.Connection) -> None:
    """Who may not buy hears so, also when everything is gone."""
    for key in range(5):
        reserved(db, key=str(key), account="ab"[key % 2] if key < 4 else "c")
    assert reserve(db, Wish("x", "console", "a", 1), OPENS_S, LOCK_S) is Refusal.LIMIT_REACHED
    assert reserve(db, Wish("y", "console", "d", 1), OPENS_S, LOCK_S) is Refusal.SOLD_OUT


def test_a_repeated_payment_is_the_same_payment(db: sqlite3.Connection) -> None:
    """The key of a payment leads to it in whatever state it is by then."""
    reservation = reserved(db)
    payment = begun(db, reservation)
    settle_captured(db, payment.id, "ch", OPENS_S)
    again = begin_payment(db, Offer("p", reservation.id, "card", "m"), OPENS_S + 99)
    assert isinstance(again, Payment)
    assert (again.id, again.state) == (payment.id, "paid")
    other = Offer("p", reservation.id, "card", "another card")
    assert begin_payment(db, other, OPENS_S) is Refusal.KEY_REUSED
    assert begin_payment(db, Offer("q", "nobody's", "card", "m"), 0.0) is (
        Refusal.UNKNOWN_RESERVATION
    )


def test_two_live_payments_cannot_even_be_written(db: sqlite3.Connection) -> None:
    """The database itself refuses a second payment in flight, whatever the code does."""
    payment = begun(db, reserved(db))
    twin = payment._replace(id="pay_2", idempotency_key="q")

    def write_twin() -> None:
        with Transaction(db):
            db.execute("INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", twin)

    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        write_twin()
    assert [payment.id for payment in open_payments(db)] == [payment.id]


def test_the_database_refuses_to_oversell(db: sqlite3.Connection) -> None:
    """The law of conservation is a constraint of the table."""
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("UPDATE items SET available_units = -1, locked_units = 6")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("UPDATE items SET sold_units = sold_units + 1")


def test_a_lock_lapses_at_its_second_and_not_before(db: sqlite3.Connection) -> None:
    """Until then it can be paid and the sweep passes it by; from then on it is the reverse."""
    reservation = reserved(db)
    end_s = reservation.expires_at_s
    assert release_lapsed(db, end_s - 1e-6) == 0
    late = begin_payment(db, Offer("late", reservation.id, "card", "m"), end_s)
    assert late is Refusal.RESERVATION_EXPIRED
    in_time = begin_payment(db, Offer("in time", reservation.id, "card", "m"), end_s - 1e-6)
    assert isinstance(in_time, Payment)
    settle_declined(db, in_time.id, None, end_s)
    assert release_lapsed(db, end_s) == 1


def test_a_lock_that_a_refusal_has_just_set_free_is_not_overdue(db: sqlite3.Connection) -> None:
    payment = begun(db, reserved(db))
    refused_s = OPENS_S + 2 * LOCK_S
    settle_declined(db, payment.id, "ch", refused_s)
    assert audit(db, refused_s + 0.9, 1.0, None).items[0].lapsed_locks == 0
    assert audit(db, refused_s + 1.1, 1.0, None).items[0].lapsed_locks == 1


def test_a_payment_holds_its_lock_beyond_its_time(db: sqlite3.Connection) -> None:
    """The sweep passes over a payment in flight and releases the lock after its decline."""
    reservation = reserved(db)
    payment = begun(db, reservation)
    assert release_lapsed(db, OPENS_S + 2 * LOCK_S) == 0
    assert audit(db, OPENS_S + 2 * LOCK_S, 1.0, None).items[0].lapsed_locks == 0
    settle_declined(db, payment.id, "ch", OPENS_S)
    assert audit(db, OPENS_S + 2 * LOCK_S, 1.0, None).items[0].lapsed_locks == 1
    assert release_lapsed(db, OPENS_S + 2 * LOCK_S) == 1
    released = read_reservation(db, reservation.id)
    assert released is not None
    assert released.state == "released"


def test_an_old_payment_that_nobody_charged_is_dropped(db: sqlite3.Connection) -> None:
    """`expired` is an end of its own and lets go of the lock."""
    payment = begun(db, reserved(db))
    settle_expired(db, payment.id, OPENS_S + 99)
    settled = read_payment(db, payment.id)
    assert settled is not None
    assert settled.state == "expired"
    assert release_lapsed(db, OPENS_S + 99) == 1


def test_the_audit_sees_money_without_goods(db: sqlite3.Connection) -> None:
    """Each fault that the money part looks for is found when it is planted."""
    sold, gone = reserved(db), reserved(db, key="k2", account="b")
    settle_captured(db, begun(db, sold).id, "ch", OPENS_S)
    cancel(db, gone.id)
    planted = [(sold.id, 49_900), (sold.id, 49_900), (gone.id, 49_900), ("unheard of", 1)]
    account = audit(db, OPENS_S, 1.0, planted)
    assert account.payments_captured == 4
    assert account.captured_cents == 3 * 49_900 + 1
    assert account.paid_cents == 49_900
    assert account.orders_captured_twice == 1
    assert account.payments_without_order == 2
    silent = audit(db, OPENS_S, 1.0, None)
    assert (silent.paid_cents, silent.payments_captured) == (49_900, None)


def test_the_audit_sees_stock_that_does_not_add_up(db: sqlite3.Connection) -> None:
    """A stock row that disagrees with the reservations cannot hide behind its own sum."""
    reserved(db)
    db.execute(
        "UPDATE items SET available_units = available_units + 1, locked_units = 0 "
        "WHERE sku = 'console'"
    )
    line = audit(db, OPENS_S, 1.0, None).items[0]
    assert line.available_units + line.locked_units + line.sold_units == line.initial_units + 1


def test_no_buyer_waits_for_a_table_scan(db: sqlite3.Connection) -> None:
    """Every statement of a purchase and of the sweep finds its rows by an index."""
    statements: set[str] = set()
    db.set_trace_callback(statements.add)
    first, second = reserved(db), reserved(db, key="k2", account="b")
    settle_captured(db, begun(db, first).id, "ch", OPENS_S)
    settle_declined(db, begun(db, second, key="p2").id, "ch", OPENS_S)
    read_item(db, "console")
    release_lapsed(db, OPENS_S + 99)
    cancel(db, reserved(db, key="k3").id)
    open_payments(db)
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


def test_a_database_outlives_its_connection(tmp_path: Path) -> None:
    """A reopened database goes on with its sale, and refuses the sale of other items."""
    path = tmp_path / "shop.db"
    first = open_database(path)
    resume_sale(first, TERMS, OPENS_S)
    reservation = reserved(first)
    first.close()
    second = open_database(path)
    resume_sale(second, terms_from_json(terms_to_json(TERMS)), OPENS_S + 500)
    assert read_reservation(second, reservation.id) == reservation
    other = Terms(ITEMS[:1], LOCK_S, 1.0, 2.0, ("card",), "CNY")
    with pytest.raises(DatabaseError, match="other items"):
        resume_sale(second, other, OPENS_S)
    second.execute("PRAGMA user_version = 99")
    second.close()
    with pytest.raises(DatabaseError, match=r"got 99.*allowed 1"):
        open_database(path)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Anything else is refused with its name, not with a traceback."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at as one\n" * 99)
    with pytest.raises(DatabaseError, match=r"notes\.txt"):
        open_database(path)
