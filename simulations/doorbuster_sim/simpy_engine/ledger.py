"""The stock ledger: who holds, pays, cancels and gives back which units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from doorbuster.records.audit import ItemAudit
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.scenario.shop import EXTENDING, Coupon, LatePayment, LockPoint, Strategy
from doorbuster.vocabulary import Reply
from doorbuster_sim.simpy_engine.bundles import BundleStock
from doorbuster_sim.simpy_engine.coupons import CouponBook
from doorbuster_sim.simpy_engine.keeping import keeping_of
from doorbuster_sim.simpy_engine.reservation import LockState, Reservation
from doorbuster_sim.simpy_engine.stock import ItemStock, Stock
from doorbuster_sim.simpy_engine.sweeping import sweep_of
from doorbuster_sim.strategies import OVERTAKEN, TOO_FEW

_FIRST_STATES: dict[LockPoint, LockState] = {
    "order": LockState.LOCKED,
    "payment": LockState.OPEN,
    "cart": LockState.CART,
}


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
        self._first_state = _FIRST_STATES[lock_point]
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

        Where payments lock, it is enough that the units are there; where carts do, it is a cart.

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
            state=self._first_state,
        )
        self._locks.append(reservation)
        return Reply.OK, reservation

    def _is_within_limit(self, account: int, item: int, units: int) -> bool:
        held = self._held_units[account, item]
        return within_purchase_limit(held, units, self.items[item].limit)

    def order(self, cart: Reservation, now_ns: int) -> Reply:
        """Make an order of a cart: OK, also when it is one already, or EXPIRED. No unit moves."""
        if cart.state in (LockState.RELEASED, LockState.CANCELLED):
            return Reply.EXPIRED
        if cart.state is LockState.CART:
            if cart.has_lapsed(now_ns):
                return Reply.EXPIRED
            cart.state = LockState.LOCKED
        return Reply.OK

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
                lock.item == item and lock.is_locked and lock.has_lapsed(overdue_ns)
                for lock in self._locks
            ),
        )
