"""The stock ledger: every unit is available, locked or sold, at every moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from doorbuster.compiling import plain
from doorbuster.records.audit import ItemAudit
from doorbuster.rules.lines import Lines
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.scenario.shop import EXTENDING, Coupon, Item, LatePayment, LockPoint, Strategy
from doorbuster.vocabulary import Reply
from doorbuster_sim.simpy_engine.bundles import BundleStock
from doorbuster_sim.simpy_engine.coupons import CouponBook
from doorbuster_sim.simpy_engine.keeping import OVERTAKEN, TOO_FEW, keeping_of
from doorbuster_sim.simpy_engine.sweeping import sweep_of
from doorbuster_sim.strategies.buckets import BUCKET_COUNT, share
from doorbuster_sim.tables import ABSENT_NS


class LockState(Enum):
    """Where a reservation stands."""

    LOCKED = "locked"
    PAID = "paid"
    RELEASED = "released"
    CANCELLED = "cancelled"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    OPEN = "open"


@dataclass
class Reservation:
    """Stock that one account holds until it is paid or lapses.

    Where `is_extended`, a payment in flight holds the lock beyond its time, until the provider has
    answered; it lapses at that moment then.
    """

    item: int
    account: int
    units: int
    lapses_ns: int
    state: LockState = LockState.LOCKED
    payments_in_flight: int = 0
    expires_ns: int = ABSENT_NS
    """When it was to lapse at first."""
    reserved_ns: int = ABSENT_NS
    released_ns: int = ABSENT_NS
    sold_ns: int = ABSENT_NS
    bucket: int = 0
    discount_cents: int = 0
    """What its coupon takes off."""
    refund_asked_ns: int = ABSENT_NS
    returned_ns: int = ABSENT_NS
    """When a refund put its units back on the shelf."""
    paid_out_ns: int = ABSENT_NS
    """When the money of a refund is back, perhaps after the end of the sale."""
    is_extended: bool = True

    @property
    def is_locked(self) -> bool:
        """Whether it holds units that nobody has paid."""
        return self.state is LockState.LOCKED

    @property
    def is_unpaid(self) -> bool:
        """Whether it may be paid, whether or not it holds units."""
        return self.state in (LockState.LOCKED, LockState.OPEN)

    @property
    def is_held(self) -> bool:
        """Whether a payment in flight keeps it from lapsing."""
        return self.is_extended and self.payments_in_flight > 0

    def has_lapsed(self, now_ns: int) -> bool:
        """Whether the lock is gone, or its time is over and no payment holds it."""
        if self.is_unpaid:
            return now_ns >= self.lapses_ns and not self.is_held
        return self.state is not LockState.PAID

    def end_hold(self, now_ns: int) -> None:
        """The provider has answered."""
        self.payments_in_flight -= 1
        if self.is_extended:
            self.lapses_ns = max(self.lapses_ns, now_ns)


@dataclass
class ItemStock:
    """One item's units. Conservation is asserted after every change, unless they may leak."""

    sku: str
    initial: int
    limit: int
    is_guarded: bool = True
    """Whether the three counts must add up; some broken strategies lose or invent units."""
    available: int = field(init=False)
    locked: int = 0
    sold: int = 0
    orders: int = 0
    refunds: int = 0
    unreturned: int = 0
    """Of the units sold, those whose buyer has the goods and the money."""
    version: int = 0
    """Counts the changes."""
    counter: int = field(init=False)
    """Of `prededuct`: units that the crowd may still ask the database for."""
    buckets: list[int] = field(init=False)
    """Of `buckets`: where the available units lie."""
    is_flagged: bool = False
    """Of `stuck_sold_out`: somebody has found too few units."""

    def __post_init__(self) -> None:
        self.available = self.counter = self.initial
        self.buckets = [plain(share)(self.initial, bucket) for bucket in range(BUCKET_COUNT)]

    def move(self, *, available: int = 0, locked: int = 0, sold: int = 0) -> None:
        """Change the three counts at once; they keep adding up to the initial stock."""
        self.available += available
        self.locked += locked
        self.sold += sold
        self.version += 1
        if self.is_guarded:
            assert self.available + self.locked + self.sold == self.initial
            assert min(self.available, self.locked, self.sold) >= 0

    def count(self, units: int) -> None:
        """So many units more at the counter of `prededuct`."""
        self.counter += units

    def keep_away(self, units: int) -> None:
        """So many units were sent and are paid by nobody any more."""
        self.unreturned += units

    def note_orders(self, orders: int, units: int) -> None:
        """So many paid orders more."""
        del units
        self.orders += orders


Stock = ItemStock | BundleStock
"""What an order takes."""


def stocks_of(items: Sequence[Item], lines: Lines, *, is_guarded: bool) -> list[Stock]:
    """All items as they are before the sale."""
    own = {
        number: ItemStock(item.sku, item.stock, item.per_account_limit, is_guarded=is_guarded)
        for number, item in enumerate(items)
        if item.bundle is None
    }
    return [
        own[number]
        if number in own
        else BundleStock(
            item.sku, item.per_account_limit, [(own[part], units) for part, units in lines[number]]
        )
        for number, item in enumerate(items)
    ]


class StockLedger:
    """All items of a sale, the reservations on them, and what each account holds."""

    def __init__(
        self,
        items: Sequence[Stock],
        *,
        sweep_ns: int,
        strategy: Strategy = "conditional_update",
        late_payment: LatePayment = "hold",
        coupon: Coupon | None = None,
        lock_point: LockPoint = "order",
    ) -> None:
        self.items = items
        self.coupons = CouponBook(coupon) if coupon is not None else None
        self._late_payment = late_payment
        self._locks_at_payment = lock_point == "payment"
        self._sweep_ns = sweep_ns
        self._swept_ns: int | None = None
        self._held_units: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._locks: list[Reservation] = []
        """What a sweep may have to release."""
        self._keeping, self._sweep = keeping_of(strategy), sweep_of(strategy)

    def look(self, item: int, account: int, units: int) -> int | Reply:
        """What a wish sees before it waits for the last station, or why it is not let in."""
        if self._locks_at_payment:
            return 0
        stock = self.items[item]
        seen = self._keeping.look(stock, units)
        if seen is not None:
            return seen
        return Reply.SOLD_OUT if self._is_within_limit(account, item, units) else Reply.LIMITED

    def is_in_vain(self, item: int, seen: int) -> bool:
        """Whether a wish that had looked gets its server for nothing."""
        return not self._locks_at_payment and self._keeping.is_in_vain(self.items[item], seen)

    def refuse(self, item: int, seen: int) -> None:
        """A wish that had looked is refused."""
        self._keeping.refuse(self.items[item], seen)

    def know_again(self, item: int, seen: int) -> None:
        """A wish that had looked was fulfilled by an earlier request."""
        self._keeping.know_again(self.items[item], seen)

    def reserve(
        self,
        item: int,
        account: int,
        units: int,
        now_ns: int,
        lapses_ns: int,
        seen: int = 0,
        coupon_seen: int | None = None,
    ) -> tuple[Reply | None, Reservation | None]:
        """Lock units for an account: OK with the reservation, or LIMITED, or SOLD_OUT.

        Where payments lock, it is enough that the units are there.

        None instead of a reply: somebody was faster, look again. coupon_seen: None for a wish
        that brings no coupon.
        """
        stock = self.items[item]
        if not self._is_within_limit(account, item, units):
            return Reply.LIMITED, None
        if self._locks_at_payment:
            bucket = 0 if stock.available >= units else TOO_FEW
        else:
            bucket = self._keeping.take(stock, account, units, seen)
        if bucket < 0:
            return None if bucket == OVERTAKEN else Reply.SOLD_OUT, None
        self._held_units[account, item] += units
        discount_cents = 0
        if self.coupons is not None and coupon_seen is not None:
            discount_cents = self.coupons.redeem(account, coupon_seen)
        reservation = Reservation(
            item,
            account,
            units,
            lapses_ns,
            expires_ns=lapses_ns,
            reserved_ns=now_ns,
            bucket=bucket,
            discount_cents=discount_cents,
            is_extended=self._late_payment in EXTENDING,
            state=LockState.OPEN if self._locks_at_payment else LockState.LOCKED,
        )
        self._locks.append(reservation)
        return Reply.OK, reservation

    def _is_within_limit(self, account: int, item: int, units: int) -> bool:
        held = self._held_units[account, item]
        return within_purchase_limit(held, units, self.items[item].limit)

    def lock_for_payment(self, reservation: Reservation, now_ns: int) -> bool:
        """Take the units of an open order; where there are too few, the order is gone."""
        if reservation.state is not LockState.OPEN:
            return True
        account, units = reservation.account, reservation.units
        bucket = self._keeping.take_again(self.items[reservation.item], account, units)
        if bucket < 0:
            self._give_back(reservation, now_ns)
            return False
        reservation.state, reservation.bucket = LockState.LOCKED, bucket
        return True

    def unlock_unpaid(self, reservation: Reservation) -> None:
        """The attempt to pay has failed: what it has locked is for sale again."""
        if self._locks_at_payment:
            assert reservation.is_locked
            self._put_back(reservation)
            reservation.state = LockState.OPEN

    def settle(self, reservation: Reservation, now_ns: int) -> bool:
        """The provider has taken the money: sell the units; False when it must go back."""
        stock, units = self.items[reservation.item], reservation.units
        if reservation.is_locked or self._lock_again(reservation):
            stock.move(locked=-units, sold=units)
        elif self._sweep.sells_released:
            # Nobody takes the units from the shelf, to which the sweep has returned them.
            stock.move(sold=units)
            self._held_units[reservation.account, reservation.item] += units
        else:
            return False
        reservation.state, reservation.sold_ns = LockState.PAID, now_ns
        stock.note_orders(1, units)
        return True

    def _lock_again(self, reservation: Reservation) -> bool:
        """Take the units of a released order once more, if the shop does and they are free."""
        assert self._sweep.may_release_paid or not reservation.is_extended
        assert reservation.state is LockState.RELEASED
        item, account, units = reservation.item, reservation.account, reservation.units
        if self._late_payment != "recheck_stock" or not self._is_within_limit(account, item, units):
            return False
        if reservation.discount_cents and not self._coupons_of(reservation).is_left(account):
            return False
        bucket = self._keeping.take_again(self.items[item], account, units)
        if bucket < 0:
            return False
        reservation.bucket = bucket
        self._held_units[account, item] += units
        if reservation.discount_cents:
            self._coupons_of(reservation).take(account)
        return True

    def _coupons_of(self, reservation: Reservation) -> CouponBook:
        """Where the coupon of a reservation is counted."""
        assert reservation.discount_cents
        assert self.coupons is not None
        return self.coupons

    def sweep(self, now_ns: int) -> None:
        """Release every lapsed reservation."""
        self._swept_ns = now_ns
        for reservation in self._sweep.lapsed(self._locks, now_ns):
            self._give_back(reservation, now_ns)
        self._locks = self._sweep.watched(self._locks)
        self._keeping.end_sweep([item for item in self.items if isinstance(item, ItemStock)])

    def cancel(self, reservation: Reservation, now_ns: int) -> Reply:
        """On behalf of the buyer: OK, also when it is cancelled already, or why not."""
        if reservation.state is LockState.CANCELLED:
            return Reply.OK
        if reservation.state is LockState.RELEASED:
            return Reply.EXPIRED
        if not reservation.is_unpaid or reservation.payments_in_flight:
            return Reply.ERROR  # Paid, or about to be: the shop refuses with a 409.
        self._give_back(reservation, now_ns)
        reservation.state = LockState.CANCELLED
        return Reply.OK

    def refund(self, reservation: Reservation, now_ns: int, *, returns_stock: bool) -> Reply:
        """On behalf of a buyer who has paid: OK, also when it was granted before, or why not."""
        if reservation.state in (LockState.REFUNDING, LockState.REFUNDED):
            return Reply.OK
        if reservation.is_unpaid:
            return Reply.ERROR  # Not paid yet: the shop refuses with a 409.
        if reservation.state is not LockState.PAID:
            return Reply.EXPIRED
        stock, units = self.items[reservation.item], reservation.units
        stock.note_orders(-1, -units)
        stock.refunds += 1
        reservation.state, reservation.refund_asked_ns = LockState.REFUNDING, now_ns
        if returns_stock:
            stock.move(available=units, sold=-units)
            self._held_units[reservation.account, reservation.item] -= units
            self._keeping.give_back(stock, reservation)
            reservation.returned_ns = now_ns
        else:
            stock.keep_away(units)
        return Reply.OK

    def _give_back(self, reservation: Reservation, now_ns: int) -> None:
        """Put the units of an order back on the shelf, if it holds any."""
        if reservation.state is not LockState.OPEN:
            self._put_back(reservation)
        reservation.state, reservation.released_ns = LockState.RELEASED, now_ns
        self._held_units[reservation.account, reservation.item] -= reservation.units
        if reservation.discount_cents:
            self._coupons_of(reservation).give_back(reservation.account)

    def _put_back(self, reservation: Reservation) -> None:
        """The units of a locked or paid order are available again."""
        stock, units = self.items[reservation.item], reservation.units
        if reservation.is_locked:
            stock.move(available=units, locked=-units)
        else:
            assert self._sweep.may_release_paid
            stock.move(available=units, sold=-units)
            stock.note_orders(-1, -units)
        self._keeping.give_back(stock, reservation)

    def audit(self, item: int, now_ns: int) -> ItemAudit:
        """What the ledger says about one item, in the form of a live target's read-back."""
        stock = self.items[item]
        # Until before the last sweep at the latest they could be released. (A lock that lapses in
        # the very moment of a sweep may have been made after it.)
        overdue_ns = now_ns - self._sweep_ns - 1
        if self._swept_ns is not None:
            overdue_ns = min(overdue_ns, self._swept_ns - 1)
        return ItemAudit(
            sku=stock.sku,
            initial_units=stock.initial,
            available_units=stock.available if isinstance(stock, ItemStock) else 0,
            locked_units=stock.locked,
            sold_units=stock.sold,
            orders_paid=stock.orders,
            max_units_per_account=max(
                (units for (_, held), units in self._held_units.items() if held == item), default=0
            ),
            sets_sold=stock.sets_sold if isinstance(stock, BundleStock) else 0,
            orders_refunded=stock.refunds,
            unreturned_units=stock.unreturned,
            lapsed_locks=sum(
                lock.item == item and lock.state is LockState.LOCKED and lock.has_lapsed(overdue_ns)
                for lock in self._locks
            ),
        )
