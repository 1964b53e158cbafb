"""The stock ledger: every unit is available, locked or sold, at every moment."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum

from doorbuster.records.audit import ItemAudit
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.vocabulary import Reply
from doorbuster_sim.tables import ABSENT_NS


class LockState(Enum):
    """Where a reservation stands."""

    LOCKED = "locked"
    PAID = "paid"
    RELEASED = "released"


@dataclass
class Reservation:
    """Stock that one account holds until it is paid or lapses.

    A payment in flight holds the lock beyond its time, until the provider has answered; it lapses
    at that moment then.
    """

    item: int
    account: int
    units: int
    lapses_ns: int
    state: LockState = LockState.LOCKED
    payments_in_flight: int = 0
    reserved_ns: int = ABSENT_NS
    released_ns: int = ABSENT_NS
    sold_ns: int = ABSENT_NS

    def has_lapsed(self, now_ns: int) -> bool:
        """Whether the lock is gone, or its time is over and no payment holds it."""
        if self.state is LockState.LOCKED:
            return now_ns >= self.lapses_ns and not self.payments_in_flight
        return self.state is LockState.RELEASED

    def end_hold(self, now_ns: int) -> None:
        """The provider has answered."""
        self.payments_in_flight -= 1
        self.lapses_ns = max(self.lapses_ns, now_ns)


@dataclass
class ItemStock:
    """One item's units. Conservation is asserted after every change."""

    sku: str
    initial: int
    limit: int
    available: int = field(init=False)
    locked: int = 0
    sold: int = 0
    orders: int = 0

    def __post_init__(self) -> None:
        self.available = self.initial

    def move(self, *, available: int = 0, locked: int = 0, sold: int = 0) -> None:
        """Change the three counts at once; they keep adding up to the initial stock."""
        self.available += available
        self.locked += locked
        self.sold += sold
        assert self.available + self.locked + self.sold == self.initial
        assert min(self.available, self.locked, self.sold) >= 0


class StockLedger:
    """All items of a sale, the reservations on them, and what each account holds."""

    def __init__(self, items: list[ItemStock], *, lock_ns: int, sweep_ns: int) -> None:
        self.items = items
        self._lock_ns = lock_ns
        self._sweep_ns = sweep_ns
        self._held_units: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._locks: list[Reservation] = []

    def reserve(
        self, item: int, account: int, units: int, now_ns: int
    ) -> tuple[Reply, Reservation | None]:
        """Lock units for an account: OK with the reservation, or LIMITED, or SOLD_OUT."""
        stock = self.items[item]
        if not within_purchase_limit(self._held_units[account, item], units, stock.limit):
            return Reply.LIMITED, None
        if stock.available < units:
            return Reply.SOLD_OUT, None
        stock.move(available=-units, locked=units)
        self._held_units[account, item] += units
        reservation = Reservation(item, account, units, now_ns + self._lock_ns, reserved_ns=now_ns)
        self._locks.append(reservation)
        return Reply.OK, reservation

    def settle(self, reservation: Reservation, now_ns: int) -> None:
        """The provider has taken the money: the locked units are sold."""
        assert reservation.state is LockState.LOCKED
        reservation.state, reservation.sold_ns = LockState.PAID, now_ns
        stock = self.items[reservation.item]
        stock.move(locked=-reservation.units, sold=reservation.units)
        stock.orders += 1

    def sweep(self, now_ns: int) -> None:
        """Release every lapsed reservation."""
        kept = []
        for reservation in self._locks:
            if reservation.state is not LockState.LOCKED:
                continue
            if not reservation.has_lapsed(now_ns):
                kept.append(reservation)
                continue
            reservation.state, reservation.released_ns = LockState.RELEASED, now_ns
            self._held_units[reservation.account, reservation.item] -= reservation.units
            stock = self.items[reservation.item]
            stock.move(available=reservation.units, locked=-reservation.units)
        self._locks = kept

    def audit(self, item: int, now_ns: int) -> ItemAudit:
        """What the ledger says about one item, in the form of a live target's read-back."""
        stock = self.items[item]
        # Until before the last sweep at the latest they could be released. (A lock that lapses in
        # the very moment of a sweep may have been made after it.)
        overdue_ns = now_ns - self._sweep_ns - 1
        return ItemAudit(
            sku=stock.sku,
            initial_units=stock.initial,
            available_units=stock.available,
            locked_units=stock.locked,
            sold_units=stock.sold,
            orders_paid=stock.orders,
            max_units_per_account=max(
                (units for (_, held), units in self._held_units.items() if held == item), default=0
            ),
            lapsed_locks=sum(
                lock.item == item and lock.state is LockState.LOCKED and lock.has_lapsed(overdue_ns)
                for lock in self._locks
            ),
        )
