"""The simulated shop: stations, stock, locks and a till behind its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import NamedTuple

import simpy

from doorbuster.compiling import plain
from doorbuster.draws import DistributionTables, Purpose, draw, sample
from doorbuster.records.audit import Audit
from doorbuster.rules.lines import Lines
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.scenario.shop import MAX_LINES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.books import OrderColumns
from doorbuster_sim.event_order import Rank
from doorbuster_sim.faults import Change, Faults, next_sweep_plain, put_off_plain
from doorbuster_sim.lock_time import lock_span_ns
from doorbuster_sim.simpy_engine.environment import Environment, to_ns
from doorbuster_sim.simpy_engine.ledger import StockLedger
from doorbuster_sim.simpy_engine.payments import Till
from doorbuster_sim.simpy_engine.recorder import columns_of
from doorbuster_sim.simpy_engine.refunds import RefundDesk, is_paid_out
from doorbuster_sim.simpy_engine.request import Request
from doorbuster_sim.simpy_engine.reservation import LockState, Reservation
from doorbuster_sim.simpy_engine.stations import Stations, Waiting
from doorbuster_sim.simpy_engine.stock import stocks_of
from doorbuster_sim.strategies import LEAKS, code_of
from doorbuster_sim.strategies.optimistic import REPEATS_MAX

_lock_span_ns = plain(lock_span_ns)
_SERVICE = int(Purpose.SERVICE)  # Compiled functions take plain integers far faster.
_LINE_SERVICE = int(Purpose.LINE_SERVICE)

_ORDER_STATES = tuple(LockState)


class _Passage(NamedTuple):
    station: str
    row: int


class SimulatedShop:
    """Serves requests on the simulated clock; the stock decision falls after the stations."""

    def __init__(
        self, env: Environment, scenario: Scenario, faults: Faults, seed: int, system_seed: int
    ) -> None:
        self._env = env
        self._faults = faults
        self._is_dead = False
        self._inside: dict[tuple[int, int], simpy.Process] = {}
        """Requests without an answer, by visitor and number."""
        self._system_seed = system_seed
        self._start_ns: int = env.now_ns
        self._stations = Stations(env, faults, scenario.service, scenario.skus)
        book = DistributionBook()
        self._passages = {
            Action[step.upper()]: [_Passage(p.station, book.add(p.time)) for p in passages]
            for step, passages in scenario.service.by_step.items()
        }
        self._times: DistributionTables = book.tables()
        self._lines = Lines.of(scenario.shop.items)
        self._per_item = {s.name for s in scenario.service.stations if s.per_item}
        self._prices_cents = [item.price_cents for item in scenario.shop.items]
        self._reservations: dict[tuple[int, int], Reservation] = {}
        """By visitor and logical attempt. Refusals are not remembered: a repeated attempt at a
        reservation is judged anew."""
        self._sweep_ns = to_ns(scenario.shop.release_sweep)
        is_guarded = code_of(scenario.shop.strategy) not in LEAKS
        self.ledger = StockLedger(
            stocks_of(scenario.shop.items, self._lines, is_guarded=is_guarded),
            sweep_ns=self._sweep_ns,
            strategy=scenario.shop.strategy,
            late_payment=scenario.shop.late_payment,
            coupon=scenario.shop.coupon,
            lock_point=scenario.shop.lock_point,
        )
        has_cart = scenario.shop.lock_point == "cart"
        self._asks_for_units = Action.CART if has_cart else Action.RESERVE
        self._coupon = scenario.shop.coupon
        refund = scenario.shop.refund
        self._refunds = RefundDesk(refund, self.ledger, faults, system_seed) if refund else None
        self._lock_ns = to_ns(scenario.shop.lock_time)
        self._jitter_ns = to_ns(scenario.shop.release_jitter)
        self.till = Till(env, scenario, faults, seed, self.ledger)
        env.process(self._sweep())
        for change in faults.changes:
            env.process(self._suffer(change))

    def _suffer(self, change: Change) -> Waiting:
        """A fault strikes, or is over."""
        rank = Rank.FAULT_BEGINS if change.begins else Rank.FAULT_OVER
        yield self._env.moment(change.at_ns - self._env.now_ns, rank, 0, change.number)
        if change.kind == "kill_shop":
            self._is_dead = change.begins
            if change.begins:
                for process in self._inside.values():
                    process.interrupt(Reply.ERROR)
            return
        for pool in self._stations.pools(change.station):
            if change.kind == "kill_worker":
                (pool.lose_server if change.begins else pool.regain_server)()
            else:
                (pool.restart if change.begins else pool.resume)()

    def serve(self, request: Request) -> Waiting:
        """A process that ends with the Reply to a request; ERROR is a broken connection."""
        if self._is_dead:
            return Reply.ERROR
        name = request.visitor, request.number
        self._inside[name] = self._env.current
        try:
            return (yield from self._serve(request))
        except simpy.Interrupt as struck:
            return struck.cause
        finally:
            del self._inside[name]

    def silent_ns(self, reply: Reply) -> int:
        """For how long an answer of this moment does not leave the shop.

        A frozen shop answers nobody; a connection breaks all the same.
        """
        now_ns = self._env.now_ns
        return 0 if reply is Reply.ERROR else put_off_plain(self._faults.frozen, now_ns) - now_ns

    def _serve(self, request: Request) -> Waiting:
        if request.action == self._asks_for_units:
            return (yield from self._serve_reservation(request))
        for index in range(len(self._passages[request.action])):
            if not (yield from self._pass(request, index)):
                return Reply.OVERLOADED
        if request.action == Action.BROWSE:
            return self._show(request)
        if request.action == Action.RESERVE:
            return self._order(request)
        if request.action == Action.PAY:
            return (yield from self.till.pay(request, self._paid_for(request)))
        if request.action == Action.CANCEL:
            return self._cancel(request)
        if request.action == Action.REFUND:
            return self._refund(request)
        if request.action == Action.CART:
            return Reply.ERROR  # A shop without carts; only a behaviour of the user's asks it.
        return self.till.tell(request)

    def _pass(
        self, request: Request, index: int, is_in_vain: Callable[[], bool] = lambda: False
    ) -> Waiting:
        """Pass one station. Returns False when its queue was full.

        Where it has a pool for each item, a bundle passes those of its items, in key order.
        """
        passage = self._passages[request.action][index]
        attempt = request.number * MAX_PASSAGES + index
        items = [request.item]
        if passage.station in self._per_item:
            items = [item for item, _ in self._lines[request.item]]
        for line, item in enumerate(items):
            names = (_LINE_SERVICE, attempt * MAX_LINES + line) if line else (_SERVICE, attempt)
            uniform = draw(self._system_seed, request.visitor, *names)
            service_ns = to_ns(sample(self._times, passage.row, uniform))
            pool = self._stations.pool(passage.station, item)
            if not (yield from pool.serve(service_ns, request.visitor, request.number, is_in_vain)):
                return False
        return True

    def _serve_reservation(self, request: Request) -> Waiting:
        """All stations, with a look at the stock before the last one; overtaken, it looks again."""
        last = len(self._passages[request.action]) - 1
        for index in range(last):
            if not (yield from self._pass(request, index)):
                return Reply.OVERLOADED
        reply, seen = None, 0
        for _ in range(1 + REPEATS_MAX):
            looked = self._look(request)
            if isinstance(looked, Reply):
                return looked
            seen, coupon_seen = looked, self._look_at_coupon(request)
            if not (yield from self._pass(request, last, partial(self._is_in_vain, request, seen))):
                break
            reply = self._reserve(request, seen, coupon_seen)
            if reply is not None:
                break
        if reply is not Reply.OK:
            self.ledger.refuse(request.item, seen)
        return Reply.OVERLOADED if reply is None else reply

    def _look(self, request: Request) -> int | Reply:
        looked = self.ledger.look(request.item, request.account, request.units)
        if not isinstance(looked, Reply):
            return looked
        if (request.visitor, request.logical_attempt) in self._reservations:
            return 0
        return Reply.NOT_OPEN if self._env.now_ns < 0 else looked

    def _look_at_coupon(self, request: Request) -> int | None:
        """What a wish sees that brings the coupon, None for one that does not."""
        if not request.brings_coupon or self.ledger.coupons is None:
            return None
        return self.ledger.coupons.look(request.account)

    def _is_in_vain(self, request: Request, seen: int) -> bool:
        """Whether the last station cannot help who saw this, unless the reservation is made."""
        is_known = (request.visitor, request.logical_attempt) in self._reservations
        return not is_known and self.ledger.is_in_vain(request.item, seen)

    def audit(self) -> Audit:
        """The shop's own account of the sale, as a live target would give it."""
        items = [
            self.ledger.audit(item, self._env.now_ns) for item in range(len(self.ledger.items))
        ]
        kept = [(c, order) for c, order in self.till.captures if not self._is_paid_out(order)]
        owed = [cents for cents, order in kept if order.state is LockState.REFUNDING]
        captures = Counter(id(reservation) for _, reservation in kept)
        carrying = [order for _, _, order in self._orders() if order.discount_cents]
        held = [order.state not in (LockState.RELEASED, LockState.CANCELLED) for order in carrying]
        discount_cents = sum(o.discount_cents for o in carrying if o.state is LockState.PAID)
        coupon = self._coupon
        return Audit(
            items=items,
            payments_captured=len(kept),
            captured_cents=sum(cents for cents, _ in kept),
            orders_captured_twice=sum(count > 1 for count in captures.values()),
            paid_cents=sum(
                order.units * self._prices_cents[order.item]
                for _, _, order in self._orders()
                if order.state is LockState.PAID
            )
            - discount_cents,
            coupon_limit=None if coupon is None else coupon.limit,
            coupon_redemptions=None if coupon is None else sum(held),
            discount_cents=None if coupon is None else discount_cents,
            payments_without_order=sum(
                order.state not in (LockState.PAID, LockState.REFUNDING) for _, order in kept
            ),
            refunds_open=None if self._refunds is None else len(owed),
            refunds_open_cents=None if self._refunds is None else sum(owed),
        )

    def _is_paid_out(self, order: Reservation) -> bool:
        """Whether the money of a refund is back by now."""
        return is_paid_out(order, self._env.now_ns)

    def order_columns(self) -> OrderColumns:
        """The book of orders."""
        rows = [
            (
                *(visitor, attempt, order.account, order.item, order.units),
                *(self._state_of(order), order.reserved_ns, order.expires_ns),
                *(order.released_ns, order.sold_ns, order.discount_cents),
                *(order.refund_asked_ns, order.returned_ns),
            )
            for visitor, attempt, order in self._orders()
        ]
        return OrderColumns(*columns_of(rows, len(fields(OrderColumns))))

    def _state_of(self, order: Reservation) -> int:
        """Its place in ORDER_STATES, by what is paid out."""
        return _ORDER_STATES.index(LockState.REFUNDED if self._is_paid_out(order) else order.state)

    def _orders(self) -> Iterator[tuple[int, int, Reservation]]:
        """Every reservation by visitor and logical attempt."""
        for (visitor, attempt), order in self._reservations.items():
            yield visitor, attempt, order

    def discount_cents(self, request: Request) -> int:
        """What the coupon takes off the reservation that a request pays or polls for."""
        return self._reservations[request.visitor, request.reserving_attempt].discount_cents

    def station_uses(self) -> list[dict[str, object]]:
        """How busy each station was, for run.json."""
        return [use.__dict__ for use in self._stations.uses(self._env.now_ns - self._start_ns)]

    def _paid_for(self, request: Request) -> Reservation | None:
        """The reservation that a request pays, cancels or wants the money back for."""
        return self._reservations.get((request.visitor, request.reserving_attempt))

    def _show(self, request: Request) -> Reply:
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        return Reply.OK if self.ledger.items[request.item].available > 0 else Reply.SOLD_OUT

    def _reserve(self, request: Request, seen: int, coupon_seen: int | None) -> Reply | None:
        """The stock decision; None for who was overtaken since the look."""
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        name = request.visitor, request.logical_attempt
        if name in self._reservations:
            self.ledger.know_again(request.item, seen)
            return Reply.OK
        now_ns = self._env.now_ns
        lapses_ns = now_ns + _lock_span_ns(self._lock_ns, self._jitter_ns, self._system_seed, *name)
        reply, reservation = self.ledger.reserve(
            request.item, request.account, request.units, now_ns, lapses_ns, seen, coupon_seen
        )
        if reservation is not None:
            self._reservations[name] = reservation
        return reply

    def _order(self, request: Request) -> Reply:
        """Make an order of the cart that a visitor has."""
        cart = self._reservations.get((request.visitor, request.logical_attempt))
        return Reply.EXPIRED if cart is None else self.ledger.order(cart, self._env.now_ns)

    def _cancel(self, request: Request) -> Reply:
        reservation = self._paid_for(request)
        if reservation is None:
            return Reply.EXPIRED
        return self.ledger.cancel(reservation, self._env.now_ns)

    def _refund(self, request: Request) -> Reply:
        order = self._paid_for(request)
        if order is None:
            return Reply.EXPIRED
        if self._refunds is None:
            return Reply.ERROR
        return self._refunds.refund(
            order, request.visitor, request.reserving_attempt, self._env.now_ns
        )

    def _sweep(self) -> Waiting:
        """Releases lapsed locks at the opening and at whole multiples of the sweep after it."""
        env, faults, before_ns = self._env, self._faults, self._start_ns - 1
        while True:
            due_ns = next_sweep_plain(faults.restarts, self._sweep_ns, before_ns)
            at_ns = put_off_plain(faults.still, due_ns)
            yield env.moment(at_ns - env.now_ns, Rank.SWEEP)
            if put_off_plain(faults.apart, env.now_ns) == env.now_ns:
                self.till.end_late_charges()
            self.ledger.sweep(env.now_ns)
            before_ns = env.now_ns
