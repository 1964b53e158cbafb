"""The simulated shop: stations, stock, locks and payments behind four steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import NamedTuple

import simpy

from doorbuster.compiling import plain
from doorbuster.draws import DistributionTables, Purpose, draw, sample
from doorbuster.provider import CHARGED_AGAIN, Provider, provider_answer, provider_of
from doorbuster.records.audit import Audit
from doorbuster.rules.lines import Lines
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.scenario.shop import MAX_LINES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.books import CHARGE_STATES, ChargeColumns, OrderColumns
from doorbuster_sim.event_order import Rank
from doorbuster_sim.faults import NEVER_NS, Change, Faults, next_sweep_plain, put_off_plain
from doorbuster_sim.lock_time import lock_span_ns
from doorbuster_sim.simpy_engine.environment import Environment, to_ns
from doorbuster_sim.simpy_engine.ledger import LockState, Reservation, StockLedger, stocks_of
from doorbuster_sim.simpy_engine.recorder import columns_of
from doorbuster_sim.simpy_engine.refunds import RefundDesk, is_paid_out
from doorbuster_sim.simpy_engine.stations import Stations, Waiting
from doorbuster_sim.strategies import LEAKS, code_of
from doorbuster_sim.strategies.optimistic import REPEATS_MAX
from doorbuster_sim.tables import ABSENT_NS

_lock_span_ns = plain(lock_span_ns)
_SERVICE = int(Purpose.SERVICE)  # Compiled functions take plain integers far faster.
_LINE_SERVICE = int(Purpose.LINE_SERVICE)

_ORDER_STATES = tuple(LockState)
_PROCESSING, _CAPTURED, _DECLINED, _REFUNDED = range(len(CHARGE_STATES))


class Request(NamedTuple):
    """One request as it reaches the shop."""

    visitor: int
    number: int
    """Counts the visitor's requests from 0; names the draws of its service times."""
    action: Action
    item: int
    units: int
    account: int
    channel: int
    logical_attempt: int
    """Of reserve and pay: repeated requests with the same one are the same order or payment."""
    reserving_attempt: int
    """Of pay and poll: the logical attempt that made the reservation."""
    brings_coupon: bool = False
    """Of reserve."""


class _Passage(NamedTuple):
    station: str
    row: int


@dataclass
class _Charge:
    """One demand for money and what the provider says about it."""

    reservation: Reservation
    order_attempt: int
    channel: int
    asked_ns: int
    decided_ns: int = ABSENT_NS
    """When the shop has learnt of the outcome, or has had it closed: it takes no money then."""
    captured_ns: int = ABSENT_NS
    refunded_ns: int = ABSENT_NS
    is_known: bool = True
    """Whether the provider has heard of it."""
    is_approved: bool = False
    """What the provider says, once it has heard of it."""
    known_ns: int = NEVER_NS
    """When the provider decides."""
    heard_ns: int = NEVER_NS
    """When the shop hears of it."""

    def state_when(self, is_paid_out: bool) -> int:
        """Its place in CHARGE_STATES; a charge that was closed took no money, as a declined one.

        is_paid_out: whether its order was refunded.
        """
        if self.captured_ns != ABSENT_NS:
            is_kept = self.refunded_ns == ABSENT_NS and not is_paid_out
            return _CAPTURED if is_kept else _REFUNDED
        return _PROCESSING if self.decided_ns == ABSENT_NS else _DECLINED


@dataclass
class _Payment:
    """One logical payment: what its buyer is told of it."""

    decided: simpy.Event
    charge: _Charge
    reply: Reply = Reply.PENDING
    open_charges: int = 0
    """Charges whose outcome the provider has not told: two where the shop charges again."""

    @property
    def reservation(self) -> Reservation:
        """What is paid."""
        return self.charge.reservation


@dataclass
class _Customer:
    """What the shop remembers of one visitor.

    Refusals are not remembered: a repeated attempt at a reservation is judged anew.
    """

    reservations: dict[int, Reservation] = field(default_factory=dict)
    """By logical attempt."""
    payments: dict[int, _Payment] = field(default_factory=dict)
    charges: dict[int, _Charge] = field(default_factory=dict)
    """By logical attempt, too; a second one by that plus CHARGED_AGAIN."""


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
        self._provider: Provider = provider_of(scenario.payments, seed)
        self._payment_timeout_ns = to_ns(scenario.payments.timeout)
        self._stations = Stations(env, faults, scenario.service.stations, scenario.skus)
        book = DistributionBook()
        self._passages = {
            Action[step.upper()]: [_Passage(p.station, book.add(p.time)) for p in passages]
            for step, passages in scenario.service.by_step.items()
        }
        self._times: DistributionTables = book.tables()
        self._lines = Lines.of(scenario.shop.items)
        self._per_item = {s.name for s in scenario.service.stations if s.per_item}
        self._prices_cents = [item.price_cents for item in scenario.shop.items]
        self._captures: list[tuple[int, Reservation]] = []
        """The provider's ledger: amount in cents, and what was paid for."""
        self._customers: dict[int, _Customer] = {}
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
        self._coupon = scenario.shop.coupon
        refund = scenario.shop.refund
        self._refunds = RefundDesk(refund, self.ledger, faults, system_seed) if refund else None
        self._lock_ns = to_ns(scenario.shop.lock_time)
        self._jitter_ns = to_ns(scenario.shop.release_jitter)
        self._closes_charges = scenario.shop.late_payment == "query_before_cancel"
        self._forgets = scenario.shop.late_payment == "forget"
        self._charges_again = scenario.shop.unanswered_charge == "charge_again"
        self._open_payments: list[_Payment] = []
        """Those that a sweep may have to close, and some that are decided."""
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
        if request.action == Action.RESERVE:
            return (yield from self._serve_reservation(request))
        for index in range(len(self._passages[request.action])):
            if not (yield from self._pass(request, index)):
                return Reply.OVERLOADED
        if request.action == Action.BROWSE:
            return self._show(request)
        if request.action == Action.PAY:
            return (yield from self._pay(request))
        if request.action == Action.CANCEL:
            return self._cancel(request)
        if request.action == Action.REFUND:
            return self._refund(request)
        return self._tell_payment(request)

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
        last = len(self._passages[Action.RESERVE]) - 1
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
        if request.logical_attempt in self._customer(request.visitor).reservations:
            return 0
        return Reply.NOT_OPEN if self._env.now_ns < 0 else looked

    def _look_at_coupon(self, request: Request) -> int | None:
        """What a wish sees that brings the coupon, None for one that does not."""
        if not request.brings_coupon or self.ledger.coupons is None:
            return None
        return self.ledger.coupons.look(request.account)

    def _is_in_vain(self, request: Request, seen: int) -> bool:
        """Whether the last station cannot help who saw this, unless the reservation is made."""
        is_known = request.logical_attempt in self._customer(request.visitor).reservations
        return not is_known and self.ledger.is_in_vain(request.item, seen)

    def audit(self) -> Audit:
        """The shop's own account of the sale, as a live target would give it."""
        items = [
            self.ledger.audit(item, self._env.now_ns) for item in range(len(self.ledger.items))
        ]
        kept = [(c, order) for c, order in self._captures if not self._is_paid_out(order)]
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
        for visitor, customer in self._customers.items():
            for attempt, order in customer.reservations.items():
                yield visitor, attempt, order

    def charge_columns(self) -> ChargeColumns:
        """The provider's book: what it was asked for before the end."""
        rows = [
            (
                *(visitor, attempt, charge.order_attempt, charge.channel),
                *(charge.reservation.item, charge.reservation.units),
                *(charge.state_when(self._is_paid_out(charge.reservation)), charge.asked_ns),
                *(charge.decided_ns, charge.captured_ns, self._refunded_ns(charge)),
                charge.reservation.discount_cents,
            )
            for visitor, customer in self._customers.items()
            for attempt, charge in customer.charges.items()
            if charge.is_known and charge.asked_ns < self._env.now_ns
        ]
        return ChargeColumns(*columns_of(rows, len(fields(ChargeColumns))))

    def _refunded_ns(self, charge: _Charge) -> int:
        order = charge.reservation
        if charge.captured_ns == ABSENT_NS or not self._is_paid_out(order):
            return charge.refunded_ns
        return order.paid_out_ns

    def discount_cents(self, request: Request) -> int:
        """What the coupon takes off the reservation that a request pays or polls for."""
        reservation = self._customer(request.visitor).reservations[request.reserving_attempt]
        return reservation.discount_cents

    def station_uses(self) -> list[dict[str, object]]:
        """How busy each station was, for run.json."""
        return [use.__dict__ for use in self._stations.uses(self._env.now_ns - self._start_ns)]

    def _customer(self, visitor: int) -> _Customer:
        return self._customers.setdefault(visitor, _Customer())

    def _show(self, request: Request) -> Reply:
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        return Reply.OK if self.ledger.items[request.item].available > 0 else Reply.SOLD_OUT

    def _reserve(self, request: Request, seen: int, coupon_seen: int | None) -> Reply | None:
        """The stock decision; None for who was overtaken since the look."""
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        customer = self._customer(request.visitor)
        if request.logical_attempt in customer.reservations:
            self.ledger.know_again(request.item, seen)
            return Reply.OK
        now_ns, attempt = self._env.now_ns, request.logical_attempt
        lapses_ns = now_ns + _lock_span_ns(
            self._lock_ns, self._jitter_ns, self._system_seed, request.visitor, attempt
        )
        reply, reservation = self.ledger.reserve(
            request.item, request.account, request.units, now_ns, lapses_ns, seen, coupon_seen
        )
        if reservation is not None:
            customer.reservations[request.logical_attempt] = reservation
        return reply

    def _pay(self, request: Request) -> Waiting:
        customer = self._customer(request.visitor)
        payment = customer.payments.get(request.logical_attempt)
        if payment is None:
            reservation = customer.reservations.get(request.reserving_attempt)
            if reservation is None or reservation.has_lapsed(self._env.now_ns):
                return Reply.EXPIRED
            if reservation.state is LockState.PAID or reservation.payments_in_flight:
                return Reply.ERROR  # Paid already, or about to be: the shop refuses with a 409.
            if not self.ledger.lock_for_payment(reservation, self._env.now_ns):
                return Reply.SOLD_OUT
            payment = self._begin_payment(request, reservation)
        if payment.reply is Reply.PENDING:
            now_ns = self._env.now_ns
            until_ns = put_off_plain(self._faults.frozen, now_ns + self._payment_timeout_ns)
            yield payment.decided | self._env.moment(
                until_ns - now_ns, Rank.PAYMENT_TIMEOUT, request.visitor, request.number
            )
        return payment.reply

    def _begin_payment(self, request: Request, reservation: Reservation) -> _Payment:
        """Charge for a reservation; once more if the first answer will not be there in time."""
        now_ns = self._env.now_ns
        charge = _Charge(reservation, request.reserving_attempt, request.channel, now_ns)
        payment = _Payment(self._env.event(), charge)
        self._customer(request.visitor).payments[request.logical_attempt] = payment
        reservation.payments_in_flight += 1
        if self._closes_charges:
            self._open_payments.append(payment)
        self._send(request, payment, charge, request.logical_attempt)
        again_ns = now_ns + self._payment_timeout_ns
        if self._charges_again and charge.heard_ns > again_ns:
            again = replace(charge, asked_ns=again_ns)
            self._send(request, payment, again, request.logical_attempt + CHARGED_AGAIN)
        return payment

    def _send(self, request: Request, payment: _Payment, charge: _Charge, number: int) -> None:
        """Let the provider have a charge when it is asked."""
        asked_ns = charge.asked_ns
        self._customer(request.visitor).charges[number] = charge
        payment.open_charges += 1
        charge.is_known = put_off_plain(self._faults.unheard, asked_ns) == asked_ns
        if charge.is_known:
            self._ask_provider(request, charge, number, put_off_plain(self._faults.apart, asked_ns))
        self._env.process(self._hear_provider(request, payment, charge, number))

    def _ask_provider(self, request: Request, charge: _Charge, number: int, asked_ns: int) -> None:
        """The provider hears of a charge and will decide."""
        answer_s, charge.is_approved = provider_answer(
            self._provider, request.visitor, request.channel, number
        )
        answered_ns = asked_ns + to_ns(answer_s)
        charge.known_ns = put_off_plain(self._faults.gone, answered_ns)
        charge.heard_ns = put_off_plain(self._faults.deaf, answered_ns)

    def _hear_provider(
        self, request: Request, payment: _Payment, charge: _Charge, number: int
    ) -> Waiting:
        """The provider's answer comes whether or not anybody waits."""
        env, name = self._env, (request.visitor, number)
        if not charge.is_known:
            apart_ns = put_off_plain(self._faults.apart, env.now_ns)
            yield env.moment(apart_ns - env.now_ns, Rank.PROVIDER_ANSWER, *name)
            if not self._ask_again(payment):
                return
            self._ask_provider(request, charge, number, env.now_ns)
        yield env.moment(charge.heard_ns - env.now_ns, Rank.PROVIDER_ANSWER, *name)
        if charge.decided_ns == ABSENT_NS:  # A sweep has not asked for it or closed it.
            self._hear_outcome(payment, charge)

    def _hear_outcome(self, payment: _Payment, charge: _Charge) -> None:
        """The shop learns what the provider has decided about a charge."""
        charge.decided_ns = self._env.now_ns
        if charge.is_approved:
            charge.captured_ns = self._env.now_ns
        payment.open_charges -= 1
        if payment.reply is not Reply.PENDING:
            if charge.is_approved:
                self._keep_money(payment.reservation)  # Of a charge that the shop has forgotten.
        elif charge.is_approved or not payment.open_charges:
            self._decide_payment(payment, charge)

    def _decide_payment(self, payment: _Payment, charge: _Charge) -> None:
        """A charge was captured, or none is open any more: tell the buyer."""
        reservation, now_ns = payment.reservation, self._env.now_ns
        reservation.end_hold(now_ns)
        payment.reply = Reply.DECLINED
        if charge.is_approved:
            is_sold = self.ledger.settle(reservation, now_ns)
            payment.reply = Reply.OK if is_sold else Reply.EXPIRED
            if is_sold or self._forgets:
                self._keep_money(reservation)
            else:
                # The order is gone: the money goes back at once.
                charge.refunded_ns = now_ns
        else:
            self.ledger.unlock_unpaid(reservation)
        payment.decided.succeed()

    def _keep_money(self, reservation: Reservation) -> None:
        cents = reservation.units * self._prices_cents[reservation.item]
        cents -= reservation.discount_cents
        self._captures.append((cents, reservation))

    def _ask_again(self, payment: _Payment) -> bool:
        """Whether a charge that came to nothing is asked for again: as long as its lock lives."""
        if payment.reply is not Reply.PENDING:
            return False  # It was closed in this very moment.
        lock, now_ns = payment.reservation, self._env.now_ns
        if lock.is_locked and now_ns < lock.lapses_ns:
            payment.charge.is_known, payment.charge.asked_ns = True, now_ns
            return True
        lock.end_hold(now_ns)
        self.ledger.unlock_unpaid(lock)
        payment.reply = Reply.EXPIRED
        payment.decided.succeed()
        return False

    def _cancel(self, request: Request) -> Reply:
        reservation = self._customer(request.visitor).reservations.get(request.reserving_attempt)
        if reservation is None:
            return Reply.EXPIRED
        return self.ledger.cancel(reservation, self._env.now_ns)

    def _refund(self, request: Request) -> Reply:
        attempt = request.reserving_attempt
        order = self._customer(request.visitor).reservations.get(attempt)
        if order is None:
            return Reply.EXPIRED
        if self._refunds is None:
            return Reply.ERROR
        return self._refunds.refund(order, request.visitor, attempt, self._env.now_ns)

    def _tell_payment(self, request: Request) -> Reply:
        payments = self._customer(request.visitor).payments
        payment = payments.get(request.logical_attempt)
        return payment.reply if payment is not None else Reply.EXPIRED

    def _sweep(self) -> Waiting:
        """Releases lapsed locks at the opening and at whole multiples of the sweep after it."""
        env, faults, before_ns = self._env, self._faults, self._start_ns - 1
        while True:
            due_ns = next_sweep_plain(faults.restarts, self._sweep_ns, before_ns)
            at_ns = put_off_plain(faults.still, due_ns)
            yield env.moment(at_ns - env.now_ns, Rank.SWEEP)
            if put_off_plain(faults.apart, env.now_ns) == env.now_ns:
                self._end_late_charges()
            self.ledger.sweep(env.now_ns)
            before_ns = env.now_ns

    def _end_late_charges(self) -> None:
        """Ask about the charges whose locks are past their time, before these are released."""
        now_ns = self._env.now_ns
        undecided = [p for p in self._open_payments if p.reply is Reply.PENDING]
        self._open_payments = [p for p in undecided if p.reservation.lapses_ns > now_ns]
        for payment in undecided:
            if payment.reservation.lapses_ns <= now_ns:
                self._end_late(payment)

    def _end_late(self, payment: _Payment) -> None:
        """What the provider has decided while the shop was away counts; else it will not decide."""
        now_ns = self._env.now_ns
        if payment.charge.known_ns < now_ns:
            self._hear_outcome(payment, payment.charge)
            return
        payment.reservation.payments_in_flight -= 1
        payment.reply, payment.charge.decided_ns = Reply.EXPIRED, now_ns
        payment.decided.succeed()
