"""The shop's store against a model, in any order of events: stock and money are conserved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.shop_stores import CORRECT, ITEMS, LOCK_S, OPENS_S, TERMS, Kept, kept_store, on

from doorbuster.scenario.shop import LATE_PAYMENTS, LOCKING_AT_PAYMENT
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.reservations import UNPAID, Refusal, Reservation, Wish

ENDED = ("released", "cancelled")


@dataclass
class Lock:
    """What the model knows of a reservation."""

    id: str
    wish: Wish
    expires_s: float
    state: str = "locked"
    pending: str | None = None


class Sale(RuleBasedStateMachine):
    """Any order of reserving, paying, answers, lapses, sweeps and cancellations.

    The model is a few lines of Python without a database; every answer and every level must agree.
    """

    locks = Bundle("locks")
    payments = Bundle("payments")

    def __init__(self, shop: Kept, late_payment: str, lock_point: str) -> None:
        super().__init__()
        self.shop = shop
        self.late_payment = late_payment
        self.unpaid = "open" if lock_point == "payment" else "locked"
        terms = replace(TERMS, late_payment=late_payment, lock_point=lock_point)
        shop.begin_sale(terms, OPENS_S)
        self.now_s = OPENS_S - 5
        self.key_count = 0
        self.model: dict[str, Lock] = {}
        self.captures: list[tuple[str, int]] = []
        """Money that the provider keeps."""
        self.forgotten_cents: list[int] = []

    def new_key(self) -> str:
        self.key_count += 1
        return f"key-{self.key_count}"

    def units(self, sku: str, *states: str, account: str | None = None) -> int:
        return sum(
            lock.wish.quantity
            for lock in self.model.values()
            if lock.wish.sku == sku and lock.state in states
            and account in (None, lock.wish.account)
        )  # fmt: skip

    def expected_refusal(self, wish: Wish) -> Refusal | None:
        item = next((item for item in ITEMS if item.sku == wish.sku), None)
        if item is None:
            return Refusal.UNKNOWN_ITEM
        if self.now_s < OPENS_S:
            return Refusal.NOT_OPEN
        held = self.units(wish.sku, "locked", "open", "sold", account=wish.account)
        if held + wish.quantity > item.per_account_limit:
            return Refusal.LIMIT_REACHED
        return Refusal.SOLD_OUT if self.are_gone(wish) else None

    @rule(
        target=locks,
        sku=st.sampled_from(["console", "console", "headset", "lamp"]),
        account=st.sampled_from("abcd"),
        quantity=st.integers(1, 3),
    )
    def reserve(self, sku: str, account: str, quantity: int) -> object:
        wish = Wish(self.new_key(), sku, account, quantity)
        expected = self.expected_refusal(wish)
        got = self.shop.reserve(wish, self.now_s, LOCK_S)
        if expected is not None:
            assert got is expected
            return multiple()
        assert isinstance(got, Reservation)
        assert got.amount_cents == quantity * next(i.price_cents for i in ITEMS if i.sku == sku)
        self.model[got.id] = Lock(got.id, wish, self.now_s + LOCK_S, self.unpaid)
        return got.id

    @rule(lock=locks)
    def reserve_again_with_the_same_key(self, lock: str) -> None:
        got = self.shop.reserve(self.model[lock].wish, self.now_s, LOCK_S)
        assert isinstance(got, Reservation)
        assert got.id == lock
        other = self.model[lock].wish._replace(account="somebody else")
        assert self.shop.reserve(other, self.now_s, LOCK_S) is Refusal.KEY_REUSED

    @rule(target=payments, lock=locks)
    def pay(self, lock: str) -> object:
        known = self.model[lock]
        got = self.shop.begin_payment(Offer(self.new_key(), lock, "card", "m"), self.now_s)
        if known.pending is not None:
            assert got is Refusal.PAYMENT_IN_PROGRESS
        elif known.state == "sold":
            assert got is Refusal.ALREADY_PAID
        elif known.state in ENDED or self.now_s >= known.expires_s:
            assert got is Refusal.RESERVATION_EXPIRED
        elif known.state == "open" and self.are_gone(known.wish):
            assert got is Refusal.SOLD_OUT
            known.state = "released"
        else:
            assert isinstance(got, Payment)
            known.pending, known.state = got.id, "locked"
            return (lock, got.id)
        return multiple()

    def are_gone(self, wish: Wish) -> bool:
        """Whether too few units are left."""
        item = next(item for item in ITEMS if item.sku == wish.sku)
        return self.units(wish.sku, "locked", "sold") + wish.quantity > item.initial_units

    @rule(payment=consumes(payments), twice=st.booleans())
    def capture(self, payment: tuple[str, str], twice: bool) -> None:
        lock, payment_id = payment
        known = self.model[lock]
        if known.pending != payment_id:
            return  # Closed at the provider: no money comes.
        if known.state == "locked" or self.is_bought_again(known):
            known.state = "sold"
        for _ in range(1 + twice):
            settled = self.shop.settle_captured(payment_id, f"ch-{payment_id}", self.now_s)
            assert settled is not None
            gone = "expired" if self.late_payment == "forget" else "refunding"
            assert settled.state == (gone if known.state in ENDED else "paid")
        known.pending = None
        if known.state == "sold":
            self.captures.append((lock, settled.amount_cents))
        elif self.late_payment == "forget":
            self.captures.append((lock, settled.amount_cents))
            self.forgotten_cents.append(settled.amount_cents)
            assert payment_id not in {payment.id for payment in self.shop.open_payments()}
        else:
            self.shop.settle_refunded(payment_id)

    def is_bought_again(self, lock: Lock) -> bool:
        if self.late_payment != "recheck_stock" or lock.state != "released":
            return False
        return self.expected_refusal(lock.wish) is None

    @rule(payment=consumes(payments))
    def decline(self, payment: tuple[str, str]) -> None:
        lock, payment_id = payment
        if self.model[lock].pending != payment_id:
            return
        settled = self.shop.settle_declined(payment_id, None, self.now_s)
        assert settled is not None
        assert settled.state == "declined"
        self.model[lock].pending = None
        if self.model[lock].state == "locked":
            self.model[lock].state = self.unpaid

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(batch_max=st.integers(1, 3))
    def sweep(self, batch_max: int) -> None:
        late = {payment.id for payment in self.shop.late_payments(self.now_s)}
        lapsed = [
            lock
            for lock in self.model.values()
            if lock.state in UNPAID and lock.expires_s <= self.now_s
        ]
        assert late == {lock.pending for lock in lapsed} - {None}
        if self.late_payment == "query_before_cancel":
            for payment in late:
                self.shop.settle_expired(payment, self.now_s)
            for lock in lapsed:
                lock.pending = None
        while self.shop.release_lapsed(self.now_s, batch_max) == batch_max:
            pass
        self.shop.end_sweep(self.now_s)
        for lock in lapsed:
            if lock.pending is None or self.late_payment != "hold":
                lock.state = "released"

    @rule(lock=locks)
    def cancel(self, lock: str) -> None:
        known = self.model[lock]
        assert self.shop.cancel(lock, self.now_s) == (known.state in UNPAID)
        if known.state in UNPAID:
            known.state = "cancelled"

    @rule(lock=locks, twice=st.booleans())
    def withdraw(self, lock: str, twice: bool) -> None:
        known = self.model[lock]
        told = {"sold": Refusal.ALREADY_PAID, "released": Refusal.RESERVATION_EXPIRED}
        expected = told.get(known.state)
        if known.state == "locked" and known.pending is not None:
            expected = Refusal.PAYMENT_IN_PROGRESS
        for _ in range(1 + twice):
            assert self.shop.withdraw(lock, self.now_s) is expected
        if expected is None:
            known.state = "cancelled"

    @invariant()
    def levels_and_audit_agree_with_the_model(self) -> None:
        account = self.shop.audit(self.now_s, 0.0, self.captures)
        for item, level, line in zip(ITEMS, self.shop.read_levels(), account.items, strict=True):
            locked, sold = self.units(item.sku, "locked"), self.units(item.sku, "sold")
            available = item.initial_units - locked - sold
            assert level == (item.sku, available, locked, sold)
            assert (line.available_units, line.locked_units) == (available, locked)
            assert line.sold_units == sold
            assert line.orders_paid == sum(
                lock.state == "sold" and lock.wish.sku == item.sku for lock in self.model.values()
            )
            assert line.available_units + line.locked_units + line.sold_units == item.initial_units
            assert line.max_units_per_account <= item.per_account_limit
        assert account.captured_cents == account.paid_cents + sum(self.forgotten_cents)
        assert account.payments_without_order == len(self.forgotten_cents)
        assert account.orders_captured_twice == 0


@pytest.mark.requirement("A060")
@pytest.mark.parametrize("late_payment", LATE_PAYMENTS)
@pytest.mark.parametrize("kept", on(CORRECT))
def test_the_store_agrees_with_the_model(
    kept: tuple[str, str], late_payment: str, request: pytest.FixtureRequest
) -> None:
    """Every database, every correct strategy, whatever becomes of late money."""
    agree(kept, request, late_payment, "order")


@pytest.mark.parametrize("kept", on(LOCKING_AT_PAYMENT))
def test_so_it_does_where_payments_lock(
    kept: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    agree(kept, request, "hold", "payment")


def agree(
    kept: tuple[str, str], request: pytest.FixtureRequest, late_payment: str, lock_point: str
) -> None:
    """Play sales of this kind."""
    example_count = {"sqlite": 30, "postgresql": 6}[kept[0]]
    with kept_store(*kept, request) as shop:
        run_state_machine_as_test(
            cast(type[RuleBasedStateMachine], lambda: Sale(shop, late_payment, lock_point)),
            settings=settings(
                max_examples=example_count,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
