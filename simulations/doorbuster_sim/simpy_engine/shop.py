"""The simulated shop: stations, stock, locks and payments behind four steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple

import simpy

from doorbuster.draws import DistributionTables, Purpose, draw, sample
from doorbuster.provider import CHARGED_AGAIN, Provider, provider_answer, provider_of
from doorbuster.records.audit import Audit
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.books import CHARGE_STATES, ChargeColumns, OrderColumns
from doorbuster_sim.event_order import Rank
from doorbuster_sim.simpy_engine.environment import Environment, to_ns
from doorbuster_sim.simpy_engine.ledger import ItemStock, LockState, Reservation, StockLedger
from doorbuster_sim.simpy_engine.recorder import columns_of
from doorbuster_sim.simpy_engine.stations import Stations, Waiting
from doorbuster_sim.strategies import LEAKS, code_of
from doorbuster_sim.strategies.optimistic import REPEATS_MAX
from doorbuster_sim.tables import ABSENT_NS

_SERVICE = int(Purpose.SERVICE)  # Compiled functions take plain integers far faster.

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
    is_closed: bool = False
    """Whether the shop has had it closed at the provider: it takes no money."""
    decided_ns: int = ABSENT_NS
    captured_ns: int = ABSENT_NS
    refunded_ns: int = ABSENT_NS

    @property
    def state(self) -> int:
        """Its place in CHARGE_STATES; a charge that was closed took no money, as a declined one."""
        if self.captured_ns != ABSENT_NS:
            return _CAPTURED if self.refunded_ns == ABSENT_NS else _REFUNDED
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

    def __init__(self, env: Environment, scenario: Scenario, seed: int, system_seed: int) -> None:
        self._env = env
        self._system_seed = system_seed
        self._start_ns: int = env.now_ns
        self._provider: Provider = provider_of(scenario.payments, seed)
        self._payment_timeout_ns = to_ns(scenario.payments.timeout)
        self._stations = Stations(env, scenario.service.stations, scenario.skus)
        book = DistributionBook()
        service = scenario.service
        steps = {
            Action.BROWSE: service.browse,
            Action.RESERVE: service.reserve,
            Action.PAY: service.pay,
            Action.POLL: service.poll or service.browse,
        }
        self._passages = {
            action: [_Passage(p.station, book.add(p.time)) for p in passages]
            for action, passages in steps.items()
        }
        self._times: DistributionTables = book.tables()
        self._prices_cents = [item.price_cents for item in scenario.shop.items]
        self._captures: list[tuple[int, Reservation]] = []
        """The provider's ledger: amount in cents, and what was paid for."""
        self._customers: dict[int, _Customer] = {}
        self._sweep_ns = to_ns(scenario.shop.release_sweep)
        is_guarded = code_of(scenario.shop.strategy) not in LEAKS
        self.ledger = StockLedger(
            [
                ItemStock(item.sku, item.stock, item.per_account_limit, is_guarded=is_guarded)
                for item in scenario.shop.items
            ],
            lock_ns=to_ns(scenario.shop.lock_time),
            sweep_ns=self._sweep_ns,
            strategy=scenario.shop.strategy,
            late_payment=scenario.shop.late_payment,
        )
        self._closes_charges = scenario.shop.late_payment == "query_before_cancel"
        self._forgets = scenario.shop.late_payment == "forget"
        self._charges_again = scenario.shop.unanswered_charge == "charge_again"
        self._open_payments: list[_Payment] = []
        """Those that a sweep may have to close, and some that are decided."""
        env.process(self._sweep())

    def serve(self, request: Request) -> Waiting:
        """A process that ends with the Reply to a request."""
        if request.action == Action.RESERVE:
            return (yield from self._serve_reservation(request))
        for index in range(len(self._passages[request.action])):
            if not (yield from self._pass(request, index)):
                return Reply.OVERLOADED
        if request.action == Action.BROWSE:
            return self._show(request)
        if request.action == Action.PAY:
            return (yield from self._pay(request))
        return self._tell_payment(request)

    def _pass(self, request: Request, index: int) -> Waiting:
        """Pass one station. Returns False when its queue was full."""
        passage = self._passages[request.action][index]
        attempt = request.number * MAX_PASSAGES + index
        uniform = draw(self._system_seed, request.visitor, _SERVICE, attempt)
        service_ns = to_ns(sample(self._times, passage.row, uniform))
        pool = self._stations.pool(passage.station, request.item)
        return (yield from pool.serve(service_ns, request.visitor, request.number))

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
            seen = looked
            if not (yield from self._pass(request, last)):
                break
            reply = self._reserve(request, seen)
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

    def audit(self) -> Audit:
        """The shop's own account of the sale, as a live target would give it."""
        items = [
            self.ledger.audit(item, self._env.now_ns) for item in range(len(self.ledger.items))
        ]
        captures = Counter(id(reservation) for _, reservation in self._captures)
        return Audit(
            items=items,
            payments_captured=len(self._captures),
            captured_cents=sum(cents for cents, _ in self._captures),
            orders_captured_twice=sum(count > 1 for count in captures.values()),
            paid_cents=sum(
                item.sold_units * price
                for item, price in zip(items, self._prices_cents, strict=True)
            ),
            payments_without_order=sum(
                reservation.state is not LockState.PAID for _, reservation in self._captures
            ),
        )

    def order_columns(self) -> OrderColumns:
        """The book of orders."""
        rows = [
            (
                *(visitor, attempt, order.account, order.item, order.units),
                *(_ORDER_STATES.index(order.state), order.reserved_ns),
                *(order.released_ns, order.sold_ns),
            )
            for visitor, customer in self._customers.items()
            for attempt, order in customer.reservations.items()
        ]
        return OrderColumns(*columns_of(rows, len(fields(OrderColumns))))

    def charge_columns(self) -> ChargeColumns:
        """The provider's book: what it was asked for before the end."""
        rows = [
            (
                *(visitor, attempt, charge.order_attempt, charge.channel),
                *(charge.reservation.item, charge.reservation.units, charge.state),
                *(charge.asked_ns, charge.decided_ns, charge.captured_ns, charge.refunded_ns),
            )
            for visitor, customer in self._customers.items()
            for attempt, charge in customer.charges.items()
            if charge.asked_ns < self._env.now_ns
        ]
        return ChargeColumns(*columns_of(rows, len(fields(ChargeColumns))))

    def station_uses(self) -> list[dict[str, object]]:
        """How busy each station was, for run.json."""
        return [use.__dict__ for use in self._stations.uses(self._env.now_ns - self._start_ns)]

    def _customer(self, visitor: int) -> _Customer:
        return self._customers.setdefault(visitor, _Customer())

    def _show(self, request: Request) -> Reply:
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        return Reply.OK if self.ledger.items[request.item].available > 0 else Reply.SOLD_OUT

    def _reserve(self, request: Request, seen: int) -> Reply | None:
        """The stock decision; None for who was overtaken since the look."""
        if self._env.now_ns < 0:
            return Reply.NOT_OPEN
        customer = self._customer(request.visitor)
        if request.logical_attempt in customer.reservations:
            self.ledger.know_again(request.item, seen)
            return Reply.OK
        reply, reservation = self.ledger.reserve(
            request.item, request.account, request.units, self._env.now_ns, seen
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
            payment = self._begin_payment(request, reservation)
        if payment.reply is Reply.PENDING:
            yield payment.decided | self._env.moment(
                self._payment_timeout_ns, Rank.PAYMENT_TIMEOUT, request.visitor, request.number
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
        answer_ns = self._send(request, payment, charge, request.logical_attempt)
        if self._charges_again and answer_ns > self._payment_timeout_ns:
            again = replace(charge, asked_ns=now_ns + self._payment_timeout_ns)
            self._send(request, payment, again, request.logical_attempt + CHARGED_AGAIN)
        return payment

    def _send(self, request: Request, payment: _Payment, charge: _Charge, number: int) -> int:
        """Let the provider have a charge when it is asked; time of the answer after the asking."""
        answer_s, approved = provider_answer(
            self._provider, request.visitor, request.channel, number
        )
        answer_ns: int = to_ns(answer_s)
        self._customer(request.visitor).charges[number] = charge
        payment.open_charges += 1
        wait_ns = charge.asked_ns - self._env.now_ns + answer_ns
        answered = self._env.moment(wait_ns, Rank.PROVIDER_ANSWER, request.visitor, number)
        self._env.process(self._hear_provider(answered, payment, charge, approved=approved))
        return answer_ns

    def _hear_provider(
        self, answered: simpy.Event, payment: _Payment, charge: _Charge, *, approved: bool
    ) -> Waiting:
        """The provider's answer comes whether or not anybody waits."""
        yield answered
        if charge.is_closed:
            return
        charge.decided_ns = self._env.now_ns
        if approved:
            charge.captured_ns = self._env.now_ns
        payment.open_charges -= 1
        if payment.reply is not Reply.PENDING:
            if approved:
                self._keep_money(payment.reservation)  # Of a charge that the shop has forgotten.
        elif approved or not payment.open_charges:
            self._decide_payment(payment, charge)

    def _decide_payment(self, payment: _Payment, charge: _Charge) -> None:
        """A charge was captured, or none is open any more: tell the buyer."""
        reservation, now_ns = payment.reservation, self._env.now_ns
        reservation.end_hold(now_ns)
        payment.reply = Reply.DECLINED
        if charge.captured_ns != ABSENT_NS:
            is_sold = self.ledger.settle(reservation, now_ns)
            payment.reply = Reply.OK if is_sold else Reply.EXPIRED
            if is_sold or self._forgets:
                self._keep_money(reservation)
            else:
                # The order is gone: the money goes back at once.
                charge.refunded_ns = now_ns
        payment.decided.succeed()

    def _keep_money(self, reservation: Reservation) -> None:
        cents = reservation.units * self._prices_cents[reservation.item]
        self._captures.append((cents, reservation))

    def _tell_payment(self, request: Request) -> Reply:
        payments = self._customer(request.visitor).payments
        payment = payments.get(request.logical_attempt)
        return payment.reply if payment is not None else Reply.EXPIRED

    def _sweep(self) -> Waiting:
        """Releases lapsed locks at the opening and at whole multiples of the sweep after it."""
        start_ns = self._start_ns
        wait_ns = -start_ns if start_ns <= 0 else -start_ns % self._sweep_ns
        while True:
            yield self._env.moment(wait_ns, Rank.SWEEP)
            self._close_late_charges()
            self.ledger.sweep(self._env.now_ns)
            wait_ns = self._sweep_ns

    def _close_late_charges(self) -> None:
        """Have the charges closed whose locks are past their time, before these are released."""
        now_ns = self._env.now_ns
        undecided = [p for p in self._open_payments if p.reply is Reply.PENDING]
        self._open_payments = [p for p in undecided if p.reservation.lapses_ns > now_ns]
        for payment in undecided:
            if payment.reservation.lapses_ns <= now_ns:
                payment.reservation.payments_in_flight -= 1
                payment.reply, payment.charge.is_closed = Reply.EXPIRED, True
                payment.charge.decided_ns = now_ns
                payment.decided.succeed()
