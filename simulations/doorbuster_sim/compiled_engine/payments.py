"""The till: charges for orders, hears the provider, tells the buyers."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.provider import CHARGED_AGAIN, provider_answer
from doorbuster.vocabulary import Reply
from doorbuster_sim.clock import to_ns
from doorbuster_sim.compiled_engine.answers import answer, moves_again
from doorbuster_sim.compiled_engine.calendar import push
from doorbuster_sim.compiled_engine.keeping import release, take_payment
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.ledger import (
    keep_money,
    lock_for_payment,
    settle,
    unlock_unpaid,
)
from doorbuster_sim.compiled_engine.orders import CART, LOCKED, PAID, find_reservation, has_lapsed
from doorbuster_sim.compiled_engine.places import (
    payment_at,
    provider_at,
    request_at,
    reservation_at,
    stretches_at,
    visit_at,
)
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.faults import put_off
from doorbuster_sim.late_payment import FORGET

_PROVIDER_ANSWER, _PAYMENT_TIMEOUT = int(Rank.PROVIDER_ANSWER), int(Rank.PAYMENT_TIMEOUT)
_OK, _SOLD_OUT, _ERROR = int(Reply.OK), int(Reply.SOLD_OUT), int(Reply.ERROR)
_DECLINED, _PENDING, _EXPIRED = int(Reply.DECLINED), int(Reply.PENDING), int(Reply.EXPIRED)


@compilable
def find_payment(world: Record, visit: int, attempt: int) -> int:
    """A logical payment of a visit, or NOBODY."""
    payment = visit_at(world, visit)["payment"]
    while payment != NOBODY and payment_at(world, payment)["attempt"] != attempt:
        payment = payment_at(world, payment)["next"]
    return payment


@compilable
def pay(model: Record, world: Record, request: int) -> None:
    """Start a payment unless it runs already, and wait for the provider's word."""
    entry, now_ns = request_at(world, request), world["now_ns"]
    payment = find_payment(world, entry["visit"], entry["logical_attempt"])
    if payment == NOBODY:
        reservation = find_reservation(world, entry["visit"], entry["reserving_attempt"])
        if reservation == NOBODY or has_lapsed(world, reservation, now_ns):
            answer(model, world, request, _EXPIRED)
            return
        lock = reservation_at(world, reservation)
        if lock["state"] in (PAID, CART) or lock["payments_in_flight"] > 0:
            # Paid already, or about to be, or no order yet: the shop refuses with a 409.
            answer(model, world, request, _ERROR)
            return
        if not lock_for_payment(model, world, reservation):
            answer(model, world, request, _SOLD_OUT)
            return
        payment = _begin_payment(model, world, request, reservation)
    owed = payment_at(world, payment)
    if owed["reply"] != _PENDING:
        answer(model, world, request, owed["reply"])
        return
    entry["awaits_payment"] = 1
    entry["next"] = owed["first_waiting"]
    owed["first_waiting"] = request
    due_ns = moves_again(model, now_ns + model["payment_timeout_ns"])
    # The provider's word comes first where both are due at once. A timeout that can never be is
    # not noted: it would stay in the calendar long after the visitor has gone.
    if owed["decided_ns"] > due_ns or owed["is_unheard"] or model["charges_again"]:
        order = event_order(_PAYMENT_TIMEOUT, entry["visitor"], entry["number"])
        push(world, due_ns, order, request)


@compilable
def _begin_payment(model: Record, world: Record, request: int, reservation: int) -> int:
    """Charge for a reservation; once more if the first answer will not be there in time."""
    now_ns, number = world["now_ns"], request_at(world, request)["logical_attempt"]
    payment = _charge(model, world, request, reservation, number, now_ns)
    owed = payment_at(world, payment)
    owed["payment"] = payment
    owed["open_charges"] = 1
    reservation_at(world, reservation)["payments_in_flight"] += 1
    again_ns = now_ns + model["payment_timeout_ns"]
    if model["charges_again"] and owed["decided_ns"] > again_ns:
        number += CHARGED_AGAIN
        again = _charge(model, world, request, reservation, number, again_ns)
        payment_at(world, again)["payment"] = payment
        owed["open_charges"] = 2
    return payment


@compilable
def _charge(
    model: Record, world: Record, request: int, reservation: int, number: int, asked_ns: int
) -> int:
    """Call the provider at a moment from now on; the answer comes whether or not anybody waits.

    number: names the charge and its draws.
    """
    entry = request_at(world, request)
    charge = take_payment(world)
    owed, buyer = payment_at(world, charge), visit_at(world, entry["visit"])
    owed["visit"] = entry["visit"]
    owed["attempt"] = number
    owed["reply"] = _PENDING
    owed["is_told"] = 0
    owed["is_refunded"] = 0
    owed["channel"] = entry["channel"]
    owed["asked_ns"] = asked_ns
    owed["reservation"] = reservation
    owed["first_waiting"] = NOBODY
    owed["next"] = buyer["payment"]
    buyer["payment"] = charge
    buyer["references"] += 1
    heard_ns = put_off(stretches_at(model["apart"]), asked_ns)
    if put_off(stretches_at(model["unheard"]), asked_ns) > asked_ns:
        owed["is_unheard"] = 1
        owed["decided_ns"] = heard_ns
        push(world, heard_ns, event_order(_PROVIDER_ANSWER, entry["visitor"], number), charge)
    else:
        _ask_provider(model, world, charge, heard_ns)
    return charge


@compilable
def _ask_provider(model: Record, world: Record, charge: int, asked_ns: int) -> None:
    """The provider hears of a charge and will decide."""
    owed = payment_at(world, charge)
    visitor = visit_at(world, owed["visit"])["visitor"]
    answer_s, approved = provider_answer(
        provider_at(model), visitor, owed["channel"], owed["attempt"]
    )
    owed["is_unheard"] = 0
    owed["approved"] = 1 if approved else 0
    answered_ns = asked_ns + to_ns(answer_s)
    owed["known_ns"] = put_off(stretches_at(model["gone"]), answered_ns)
    due_ns = put_off(stretches_at(model["deaf"]), answered_ns)
    owed["decided_ns"] = due_ns
    push(world, due_ns, event_order(_PROVIDER_ANSWER, visitor, owed["attempt"]), charge)


@compilable
def hear_provider(model: Record, world: Record, charge: int) -> None:
    """The provider has decided, or can be asked again, unless the charge was closed meanwhile."""
    owed = payment_at(world, charge)
    if not owed["is_told"]:
        lock = reservation_at(world, owed["reservation"])
        if not owed["is_unheard"]:
            hear_outcome(model, world, charge)
        elif lock["state"] == LOCKED and world["now_ns"] < lock["lapses_ns"]:
            owed["asked_ns"] = world["now_ns"]
            _ask_provider(model, world, charge, world["now_ns"])
            return
        else:
            owed["approved"] = 0
            owed["is_told"] = 1
            _decide_payment(model, world, charge, _EXPIRED)
    release(world, owed["visit"])


@compilable
def hear_outcome(model: Record, world: Record, charge: int) -> None:
    """The shop learns what the provider has decided about a charge."""
    owed = payment_at(world, charge)
    owed["is_told"] = 1
    payment = payment_at(world, owed["payment"])
    payment["open_charges"] -= 1
    if payment["reply"] != _PENDING:
        if owed["approved"]:
            keep_money(world, owed["reservation"])  # Of a charge that the shop has forgotten.
    elif owed["approved"] or payment["open_charges"] == 0:
        _decide_payment(model, world, charge, _DECLINED)


@compilable
def _decide_payment(model: Record, world: Record, charge: int, otherwise: int) -> None:
    """A charge was captured, or none is open any more: tell the buyer.

    otherwise: the answer where it was not captured.
    """
    owed = payment_at(world, charge)
    lock = reservation_at(world, owed["reservation"])
    lock["payments_in_flight"] -= 1
    if world["are_locks_extended"]:
        # A lock that was held beyond its time lapses now.
        lock["lapses_ns"] = max(lock["lapses_ns"], world["now_ns"])
    reply = otherwise
    if owed["approved"]:
        reply = _OK
        if not settle(model, world, owed["reservation"]):
            reply = _EXPIRED
            if model["late_payment"] == FORGET:
                keep_money(world, owed["reservation"])
            else:
                # The order is gone: the money goes back at once.
                owed["is_refunded"] = 1
    else:
        unlock_unpaid(model, world, owed["reservation"])
    payment_at(world, owed["payment"])["reply"] = reply
    answer_waiting(model, world, owed["payment"])


@compilable
def answer_waiting(model: Record, world: Record, payment: int) -> None:
    """A payment is decided: tell everybody who waits for it."""
    owed = payment_at(world, payment)
    request = owed["first_waiting"]
    owed["first_waiting"] = NOBODY
    while request != NOBODY:
        entry = request_at(world, request)
        following = entry["next"]
        entry["awaits_payment"] = 0
        answer(model, world, request, owed["reply"])
        request = following


@compilable
def stop_waiting(model: Record, world: Record, request: int, order: int) -> None:
    """The shop no longer waits for the provider, unless it has answered meanwhile."""
    entry = request_at(world, request)
    if not entry["awaits_payment"]:
        return
    if event_order(_PAYMENT_TIMEOUT, entry["visitor"], entry["number"]) != order:
        return
    entry["awaits_payment"] = 0
    owed = payment_at(world, find_payment(world, entry["visit"], entry["logical_attempt"]))
    if owed["first_waiting"] == request:
        owed["first_waiting"] = entry["next"]
    else:
        before = owed["first_waiting"]
        while request_at(world, before)["next"] != request:
            before = request_at(world, before)["next"]
        request_at(world, before)["next"] = entry["next"]
    answer(model, world, request, _PENDING)
