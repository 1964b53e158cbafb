"""The store: everything that the shop asks of its database, whichever it is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial

from doorbuster.records.audit import Audit
from doorbuster_shop.store import audit as auditing
from doorbuster_shop.store import (
    carts,
    coupons,
    open_orders,
    payments,
    refunds,
    reservations,
    shipments,
    stock,
)
from doorbuster_shop.store.coupons import Redeem
from doorbuster_shop.store.orders import Order, read_orders
from doorbuster_shop.store.payments import Offer, Payment
from doorbuster_shop.store.refunds import Refunded
from doorbuster_shop.store.reservations import (
    RELEASE_BATCH_MAX,
    Refusal,
    Reservation,
    Wish,
)
from doorbuster_shop.store.session import DatabaseError, DuplicateKeyError, Lines, Session
from doorbuster_shop.store.shipments import Shipment, Unsent, WarehouseLevel
from doorbuster_shop.store.stock import Item, StockLevel
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate
from doorbuster_shop.terms import CouponTerms, RefundTerms, Terms


class TakenAgain:
    """Locks the units of a released order once more, and keeps in mind for whom it did."""

    def __init__(self, strategy: ConditionalUpdate, redeem: Redeem | None) -> None:
        self._strategy, self._redeem = strategy, redeem
        self.wish: Wish | None = None

    async def hold(self, session: Session, order: Reservation) -> None:
        """As for a new reservation: nobody reserves for the same account meanwhile."""
        await session.hold(f"{order.sku} for {order.account}")
        if self._redeem is not None and order.discount_cents:
            await self._redeem.hold(session, order.account)

    async def __call__(self, session: Session, order: Reservation) -> int | Refusal:
        """Move units from available to locked: the bucket that they came from, or why not.

        An order that carried the coupon needs one that is left.
        """
        wish = Wish(order.idempotency_key, order.sku, order.account, order.quantity)
        bucket = await self._strategy.take_again(session, wish)
        if isinstance(bucket, Refusal):
            return bucket
        if self._redeem is not None and order.discount_cents:
            is_left = await self._redeem(session, order.account) > 0
            if not is_left:
                await stock.return_units(session, [(order.sku, bucket, order.quantity)])
                return Refusal.SOLD_OUT
        self.wish = wish
        return bucket


class Store(ABC):
    """A database and the strategy that keeps its stock. Times in seconds since the epoch."""

    def __init__(self, strategy: ConditionalUpdate) -> None:
        self.strategy = strategy
        self.clock: Callable[[], float] | None = None
        """By which a lock begins when its units are taken, not when they were asked for."""
        self.extra_s = 0.0
        """How much longer than needed each transaction takes, seconds: a slow database."""
        self.on_return: Callable[[], Awaitable[object]] | None = None
        """Called when a database that was gone is back: what was under way is unknown."""
        self.late_payment = "hold"
        """What becomes of a payment in flight when its lock lapses; of the terms of the sale."""
        self.locks_at_payment = False
        """Whether an order takes no units before it is paid; of these, too."""
        self.locks_in_cart = False
        """Whether units are taken by a cart that is ordered later; of these, too."""
        self.coupon: CouponTerms | None = None
        """Of these, too."""
        self.refunds: RefundTerms | None = None
        """Likewise."""
        self.has_warehouses = False
        """Likewise: whether orders are split by warehouse."""
        self._lines: dict[str, Lines] = {}

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """All that is done in it happens, or nothing. Raises: StoreUnavailableError."""

    @abstractmethod
    def reading(self) -> AbstractAsyncContextManager[Session]:
        """Each statement for itself."""

    @abstractmethod
    async def close_database(self) -> None:
        """Let go of the database."""

    async def close(self) -> None:
        """Let go of the database and of what the strategy keeps beside it."""
        await self.strategy.close()
        await self.close_database()

    # The sale as a whole.

    def lines_of(self, sku: str) -> Lines:
        """What one unit of an item takes from the shelf: itself, or the lines of a bundle."""
        return self._lines.get(sku) or ((sku, 1),)

    async def begin_sale(self, terms: Terms, opens_at_s: float) -> None:
        """Forget all orders, put the full stock on the shelf and set the opening."""
        name, bucket_count = self.strategy.name, self.strategy.bucket_count
        self._set_terms(terms)
        async with self.transaction() as session:
            await shipments.forget(session)
            await stock.begin_sale(session, terms, opens_at_s, name, bucket_count)
            await shipments.begin(session, terms)
        await self.strategy.start(self)

    async def resume_sale(self, terms: Terms, opens_at_s: float) -> None:
        """Go on with the sale that the database holds, or begin one in an empty database.

        Raises: DatabaseError if it holds another sale.
        """
        self._set_terms(terms)
        async with self.reading() as session:
            is_held = await stock.holds_sale(session, terms, self.strategy.name)
            if is_held and not await shipments.holds(session, terms):
                message = (
                    "the database holds a sale with other warehouses than the scenario; give "
                    "another file, or remove this one"
                )
                raise DatabaseError(message)
        if is_held:
            await self.strategy.start(self)
        else:
            await self.begin_sale(terms, opens_at_s)

    def _set_terms(self, terms: Terms) -> None:
        self.late_payment, self.coupon = terms.late_payment, terms.coupon
        self.refunds, self.locks_at_payment = terms.refund, terms.lock_point == "payment"
        self.locks_in_cart = terms.lock_point == "cart"
        self._lines = {item.sku: item.lines for item in terms.items if item.lines}
        self.has_warehouses = any(item.warehouses for item in terms.items)

    async def opening_s(self) -> float:
        """When the sale opens."""
        async with self.reading() as session:
            return await stock.opening_s(session)

    # Buyers.

    async def read_item(self, sku: str) -> Item | None:
        """One item, or None if it is not for sale here."""
        async with self.reading() as session:
            return await stock.read_item(session, sku)

    async def reserve(
        self, wish: Wish, now_s: float, lock_time_s: float, *, brings_coupon: bool = False
    ) -> Reservation | Refusal:
        """Lock units for a buyer, all or none; the same key again gives the same reservation.

        A coupon that is used up refuses nobody: the order costs the full price. Where payments
        lock, it is enough that the units are there; where carts do, orders are made of them.
        """
        if self.locks_in_cart:
            return Refusal.NEEDS_CART
        if brings_coupon and self.coupon is not None:
            redeem = await coupons.redeem_of(self, self.coupon, wish.account)
            wish = wish._replace(redeem=redeem)
        return await self._reserve(wish, now_s, lock_time_s)

    async def fill_cart(
        self, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """Lock units by putting them into a cart, all or none; the same key again is the same."""
        if not self.locks_in_cart:
            return Refusal.NO_CARTS
        return await self._reserve(wish._replace(is_cart=True), now_s, lock_time_s)

    async def order_cart(self, cart_id: str, now_s: float) -> Reservation | Refusal:
        """Make an order of a cart whose lock lives; twice is once."""
        async with self.transaction() as session:
            return await carts.order(session, cart_id, now_s)

    async def _reserve(self, wish: Wish, now_s: float, lock_time_s: float) -> Reservation | Refusal:
        reserve = self._open if self.locks_at_payment else partial(self.strategy.reserve, self)
        try:
            return await reserve(wish, now_s, lock_time_s)
        except DuplicateKeyError:
            # Its twin has come first in this very moment, and can be found now.
            return await reserve(wish, now_s, lock_time_s)

    async def _open(self, wish: Wish, now_s: float, lock_time_s: float) -> Reservation | Refusal:
        async with self.transaction() as session:
            return await reservations.reserve(
                session, wish, now_s, lock_time_s, open_orders.look, state="open"
            )

    async def read_reservation(self, reservation_id: str) -> Reservation | None:
        """One reservation, or None if there is none with this id."""
        async with self.reading() as session:
            return await reservations.read_reservation(session, reservation_id)

    async def withdraw(self, reservation_id: str, now_s: float) -> Refusal | None:
        """Cancel a reservation for its buyer, and tell why not; twice is once."""
        async with self.transaction() as session:
            told = await reservations.withdraw(session, reservation_id, now_s)
        if told is None or isinstance(told, Refusal):
            return told
        await self.strategy.on_returned([told])
        return None

    async def begin_payment(self, offer: Offer, now_s: float) -> Payment | Refusal:
        """Write a payment down before the provider hears of it; it holds the lock from now on."""
        try:
            return await self._begin_payment(offer, now_s)
        except DuplicateKeyError:
            return await self._begin_payment(offer, now_s)

    async def _begin_payment(self, offer: Offer, now_s: float) -> Payment | Refusal:
        """The units of an open order are taken in the same transaction, in the last way at last."""
        *ways, last = self.strategy.takes
        locks: list[payments.Lock] = [partial(open_orders.try_to_lock, take=way) for way in ways]
        locks.append(partial(open_orders.lock_or_end, take=last, now_s=now_s))
        told: Payment | Refusal = Refusal.SOLD_OUT
        for lock in locks:
            async with self.transaction() as session:
                told = await payments.begin_payment(session, offer, now_s, lock)
            if told is not Refusal.SOLD_OUT:
                break
        return told

    async def read_payment(self, payment_id: str) -> Payment | None:
        """One payment, or None if there is none with this id."""
        async with self.reading() as session:
            return await payments.read_payment(session, payment_id)

    async def refund(self, reservation_id: str, now_s: float) -> Refunded | Refusal:
        """Grant the buyer of a paid order its money back, or tell why not; twice is once."""
        if self.refunds is None:
            return Refusal.NO_REFUNDS
        async with self.transaction() as session:
            told = await refunds.refund(session, reservation_id, self.refunds, now_s)
            if self.has_warehouses and isinstance(told, Refunded) and told.returned is not None:
                await shipments.come_back(session, told.order)
        if isinstance(told, Refunded) and told.returned is not None:
            await self.strategy.on_returned([told.returned])
        return told

    # The cashier.

    async def open_payments(self) -> list[Payment]:
        """Payments whose outcome or refund is not known yet, oldest first."""
        async with self.reading() as session:
            return await payments.open_payments(session)

    async def settle_captured(
        self, payment_id: str, charge_id: str, now_s: float
    ) -> Payment | None:
        """The provider took the money: sell the units, or mark the payment for its refund."""
        is_guarded = self.strategy.guards_sales
        again = None
        if self.late_payment == "recheck_stock":
            redeem = coupons.ConditionalUpdate(self.coupon) if self.coupon is not None else None
            again = TakenAgain(self.strategy, redeem)
        async with self.transaction() as session:
            settled = await payments.settle_captured(
                session,
                payment_id,
                charge_id,
                now_s,
                is_guarded=is_guarded,
                take_again=again,
                is_forgotten=self.late_payment == "forget",
                is_sent=self.has_warehouses,
            )
        if again is not None and again.wish is not None:
            await self.strategy.on_taken_again(again.wish)
        return settled

    async def late_payments(self, now_s: float) -> list[Payment]:
        """Payments in flight whose locks are past their time."""
        async with self.reading() as session:
            return await payments.late_payments(session, now_s)

    async def settle_declined(
        self, payment_id: str, charge_id: str | None, now_s: float
    ) -> Payment | None:
        """The provider refused: the lock stays as it is, unless payments lock."""
        return await self._settle_unpaid(payment_id, "declined", charge_id, now_s)

    async def settle_expired(self, payment_id: str, now_s: float) -> Payment | None:
        """The provider will take no money for the payment, whose lock has lapsed: drop it."""
        return await self._settle_unpaid(payment_id, "expired", None, now_s)

    async def _settle_unpaid(
        self, payment_id: str, state: str, charge_id: str | None, now_s: float
    ) -> Payment | None:
        is_unlocking = self.locks_at_payment
        async with self.transaction() as session:
            return await payments.settle_unpaid(
                session, payment_id, state, charge_id, now_s, is_unlocking=is_unlocking
            )

    async def settle_refunded(self, payment_id: str) -> None:
        """The money is back with the buyer."""
        async with self.transaction() as session:
            await payments.settle_refunded(session, payment_id)

    # The dispatcher.

    async def dispatch_all(self, clock: Callable[[], float]) -> int:
        """Split the paid orders that are not, oldest first, and tell how many that were.

        Each in a transaction of its own. Of several shops that do so at once, one splits an order.
        """
        last: Unsent | None = None
        count = 0
        while True:
            async with self.reading() as session:
                found = await shipments.next_unsent(session, last)
            for unsent in found:
                async with self.transaction() as session:
                    count += await shipments.dispatch(session, unsent.reservation_id, clock())
                await asyncio.sleep(0)  # Let buyers in between two orders.
            if len(found) < shipments.DISPATCH_BATCH_MAX:
                return count
            last = found[-1]

    async def read_shipments(self) -> list[Shipment]:
        """What every warehouse has sent."""
        async with self.reading() as session:
            return await shipments.read_shipments(session)

    async def read_warehouses(self) -> list[WarehouseLevel]:
        """What lies in every warehouse."""
        async with self.reading() as session:
            return await shipments.read_warehouses(session)

    # The sweep and the operator.

    async def release_lapsed(self, now_s: float, batch_max: int = RELEASE_BATCH_MAX) -> int:
        """Release lapsed locks, and tell how many; call again while it is batch_max."""
        count = await self.strategy.release_lapsed(self, now_s, batch_max)
        if self.locks_at_payment and count < batch_max:
            async with self.transaction() as session:
                count += await open_orders.release_lapsed(session, now_s, batch_max - count)
        return count

    async def end_sweep(self, now_s: float) -> None:
        """All that had lapsed is released: let the strategy put its own affairs in order."""
        await self.strategy.end_sweep(self, now_s)

    async def cancel(self, reservation_id: str, now_s: float) -> bool:
        """Release a lock at once; false when it is not locked (any more)."""
        async with self.transaction() as session:
            returned = await reservations.cancel(session, reservation_id, now_s)
        if returned is not None:
            await self.strategy.on_returned([returned])
        return returned is not None

    async def read_levels(self) -> list[StockLevel]:
        """Stock of all items in the order of the scenario."""
        async with self.reading() as session:
            return await stock.read_levels(session)

    async def read_orders(self) -> list[Order]:
        """Every reservation and what became of it."""
        async with self.reading() as session:
            return await read_orders(session)

    async def audit(
        self, now_s: float, release_sweep_s: float, captures: Iterable[auditing.Capture] | None
    ) -> Audit:
        """What the database and, if it answered, the provider say about the sale."""
        async with self.reading() as session:
            return await auditing.audit(
                session,
                now_s,
                release_sweep_s,
                captures,
                grants_refunds=self.refunds is not None,
            )
