"""The till: charges for orders, hears the provider, tells the buyers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import simpy

from doorbuster.provider import CHARGED_AGAIN, Provider, provider_answer, provider_of
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Reply
from doorbuster_sim.books import CHARGE_STATES, ChargeColumns
from doorbuster_sim.event_order import Rank
from doorbuster_sim.faults import NEVER_NS, Faults, put_off_plain
from doorbuster_sim.simpy_engine.environment import Environment, to_ns
from doorbuster_sim.simpy_engine.ledger import StockLedger
from doorbuster_sim.simpy_engine.recorder import columns_of
from doorbuster_sim.simpy_engine.refunds import is_paid_out
from doorbuster_sim.simpy_engine.request import Request
from doorbuster_sim.simpy_engine.reservation import LockState, Reservation
from doorbuster_sim.simpy_engine.stations import Waiting
from doorbuster_sim.tables import ABSENT_NS

_PROCESSING, _CAPTURED, _DECLINED, _REFUNDED = range(len(CHARGE_STATES))


@dataclass
class Charge:
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

    def state_when(self, was_refunded: bool) -> int:
        """Its place in CHARGE_STATES; a charge that was closed took no money, as a declined one.

        was_refunded: whether the money of its order is back.
        """
        if self.captured_ns != ABSENT_NS:
            is_kept = self.refunded_ns == ABSENT_NS and not was_refunded
            return _CAPTURED if is_kept else _REFUNDED
        return _PROCESSING if self.decided_ns == ABSENT_NS else _DECLINED


@dataclass
class Payment:
    """One logical payment: what its buyer is told of it."""

    decided: simpy.Event
    charge: Charge
    reply: Reply = Reply.PENDING
    open_charges: int = 0
    """Charges whose outcome the provider has not told: two where the shop charges again."""

    @property
    def reservation(self) -> Reservation:
        """What is paid."""
        return self.charge.reservation


class Till:
    """Takes payments. Refusals are not remembered: a repeated attempt is judged anew."""

    def __init__(
        self,
        env: Environment,
        scenario: Scenario,
        faults: Faults,
        seed: int,
        ledger: StockLedger,
    ) -> None:
        self._env, self._faults, self._ledger = env, faults, ledger
        self._provider: Provider = provider_of(scenario.payments, seed)
        self._payment_timeout_ns = to_ns(scenario.payments.timeout)
        self._prices_cents = [item.price_cents for item in scenario.shop.items]
        self._closes_charges = scenario.shop.late_payment == "query_before_cancel"
        self._forgets = scenario.shop.late_payment == "forget"
        self._charges_again = scenario.shop.unanswered_charge == "charge_again"
        self.captures: list[tuple[int, Reservation]] = []
        """The provider's ledger: amount in cents, and what was paid for."""
        self._payments: dict[tuple[int, int], Payment] = {}
        """By visitor and logical attempt."""
        self._charges: dict[tuple[int, int], Charge] = {}
        """Likewise; a second one by that attempt plus CHARGED_AGAIN."""
        self._open_payments: list[Payment] = []
        """Those that a sweep may have to close, and some that are decided."""

    def pay(self, request: Request, reservation: Reservation | None) -> Waiting:
        """Start a payment unless it runs already, and wait for the provider's word.

        reservation: what the request is to pay, if there is such a thing.
        """
        payment = self._payments.get((request.visitor, request.logical_attempt))
        if payment is None:
            if reservation is None or reservation.has_lapsed(self._env.now_ns):
                return Reply.EXPIRED
            is_payable = reservation.state not in (LockState.PAID, LockState.CART)
            if not is_payable or reservation.payments_in_flight:
                # Paid already, or about to be, or no order yet: the shop refuses with a 409.
                return Reply.ERROR
            if not self._ledger.lock_for_payment(reservation, self._env.now_ns):
                return Reply.SOLD_OUT
            payment = self._begin_payment(request, reservation)
        if payment.reply is Reply.PENDING:
            now_ns = self._env.now_ns
            until_ns = put_off_plain(self._faults.frozen, now_ns + self._payment_timeout_ns)
            yield payment.decided | self._env.moment(
                until_ns - now_ns, Rank.PAYMENT_TIMEOUT, request.visitor, request.number
            )
        return payment.reply

    def _begin_payment(self, request: Request, reservation: Reservation) -> Payment:
        """Charge for a reservation; once more if the first answer will not be there in time."""
        now_ns = self._env.now_ns
        charge = Charge(reservation, request.reserving_attempt, request.channel, now_ns)
        payment = Payment(self._env.event(), charge)
        self._payments[request.visitor, request.logical_attempt] = payment
        reservation.payments_in_flight += 1
        if self._closes_charges:
            self._open_payments.append(payment)
        self._send(request, payment, charge, request.logical_attempt)
        again_ns = now_ns + self._payment_timeout_ns
        if self._charges_again and charge.heard_ns > again_ns:
            again = replace(charge, asked_ns=again_ns)
            self._send(request, payment, again, request.logical_attempt + CHARGED_AGAIN)
        return payment

    def _send(self, request: Request, payment: Payment, charge: Charge, number: int) -> None:
        """Let the provider have a charge when it is asked."""
        asked_ns = charge.asked_ns
        self._charges[request.visitor, number] = charge
        payment.open_charges += 1
        charge.is_known = put_off_plain(self._faults.unheard, asked_ns) == asked_ns
        if charge.is_known:
            self._ask_provider(request, charge, number, put_off_plain(self._faults.apart, asked_ns))
        self._env.process(self._hear_provider(request, payment, charge, number))

    def _ask_provider(self, request: Request, charge: Charge, number: int, asked_ns: int) -> None:
        """The provider hears of a charge and will decide."""
        answer_s, charge.is_approved = provider_answer(
            self._provider, request.visitor, request.channel, number
        )
        answered_ns = asked_ns + to_ns(answer_s)
        charge.known_ns = put_off_plain(self._faults.gone, answered_ns)
        charge.heard_ns = put_off_plain(self._faults.deaf, answered_ns)

    def _hear_provider(
        self, request: Request, payment: Payment, charge: Charge, number: int
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

    def _hear_outcome(self, payment: Payment, charge: Charge) -> None:
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

    def _decide_payment(self, payment: Payment, charge: Charge) -> None:
        """A charge was captured, or none is open any more: tell the buyer."""
        reservation, now_ns = payment.reservation, self._env.now_ns
        reservation.end_hold(now_ns)
        payment.reply = Reply.DECLINED
        if charge.is_approved:
            is_sold = self._ledger.settle(reservation, now_ns)
            payment.reply = Reply.OK if is_sold else Reply.EXPIRED
            if is_sold or self._forgets:
                self._keep_money(reservation)
            else:
                # The order is gone: the money goes back at once.
                charge.refunded_ns = now_ns
        else:
            self._ledger.unlock_unpaid(reservation)
        payment.decided.succeed()

    def _keep_money(self, reservation: Reservation) -> None:
        cents = reservation.units * self._prices_cents[reservation.item]
        cents -= reservation.discount_cents
        self.captures.append((cents, reservation))

    def _ask_again(self, payment: Payment) -> bool:
        """Whether a charge that came to nothing is asked for again: as long as its lock lives."""
        if payment.reply is not Reply.PENDING:
            return False  # It was closed in this very moment.
        lock, now_ns = payment.reservation, self._env.now_ns
        if lock.is_locked and now_ns < lock.lapses_ns:
            payment.charge.is_known, payment.charge.asked_ns = True, now_ns
            return True
        lock.end_hold(now_ns)
        self._ledger.unlock_unpaid(lock)
        payment.reply = Reply.EXPIRED
        payment.decided.succeed()
        return False

    def tell(self, request: Request) -> Reply:
        """What becomes of the payment that a request polls for."""
        payment = self._payments.get((request.visitor, request.logical_attempt))
        return payment.reply if payment is not None else Reply.EXPIRED

    def end_late_charges(self) -> None:
        """Ask about the charges whose locks are past their time, before these are released."""
        now_ns = self._env.now_ns
        undecided = [p for p in self._open_payments if p.reply is Reply.PENDING]
        self._open_payments = [p for p in undecided if p.reservation.lapses_ns > now_ns]
        for payment in undecided:
            if payment.reservation.lapses_ns <= now_ns:
                self._end_late(payment)

    def _end_late(self, payment: Payment) -> None:
        """What the provider has decided while the shop was away counts; else it will not decide."""
        now_ns = self._env.now_ns
        if payment.charge.known_ns < now_ns:
            self._hear_outcome(payment, payment.charge)
            return
        payment.reservation.payments_in_flight -= 1
        payment.reply, payment.charge.decided_ns = Reply.EXPIRED, now_ns
        payment.decided.succeed()

    def columns(self) -> ChargeColumns:
        """The provider's book: what it was asked for before the end."""
        rows = [
            (
                *(visitor, attempt, charge.order_attempt, charge.channel),
                *(charge.reservation.item, charge.reservation.units),
                *(charge.state_when(self._is_back(charge.reservation)), charge.asked_ns),
                *(charge.decided_ns, charge.captured_ns, self._refunded_ns(charge)),
                charge.reservation.discount_cents,
            )
            for (visitor, attempt), charge in self._charges.items()
            if charge.is_known and charge.asked_ns < self._env.now_ns
        ]
        return ChargeColumns(*columns_of(rows, len(fields(ChargeColumns))))

    def _is_back(self, order: Reservation) -> bool:
        return is_paid_out(order, self._env.now_ns)

    def _refunded_ns(self, charge: Charge) -> int:
        order = charge.reservation
        if charge.captured_ns == ABSENT_NS or not self._is_back(order):
            return charge.refunded_ns
        return order.paid_out_ns
