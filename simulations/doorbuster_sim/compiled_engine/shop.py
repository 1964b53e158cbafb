"""The shop: stations, stock decisions and payments behind four steps."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.draws import Purpose, sample_named
from doorbuster.provider import CHARGED_AGAIN, provider_answer
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.clock import to_ns
from doorbuster_sim.compiled_engine.calendar import TO_VISITOR, push, push_lane
from doorbuster_sim.compiled_engine.counter import GOES_ON, know_again, look, refuse
from doorbuster_sim.compiled_engine.keeping import release, take_payment
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.ledger import (
    AGAIN,
    PAID,
    find_reservation,
    has_lapsed,
    keep_money,
    reserve,
    settle,
)
from doorbuster_sim.compiled_engine.places import (
    item_at,
    passage_at,
    payment_at,
    pool_at,
    provider_at,
    request_at,
    reservation_at,
    step_at,
    times_of,
    visit_at,
)
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.late_payment import FORGET
from doorbuster_sim.strategies.optimistic import REPEATS_MAX

_SERVICE = int(Purpose.SERVICE)
_SERVED, _PROVIDER_ANSWER = int(Rank.SERVED), int(Rank.PROVIDER_ANSWER)
_PAYMENT_TIMEOUT, _REACH_VISITOR = int(Rank.PAYMENT_TIMEOUT), int(Rank.REACH_VISITOR)
_BROWSE, _RESERVE, _PAY = int(Action.BROWSE), int(Action.RESERVE), int(Action.PAY)
_OK, _NOT_OPEN, _SOLD_OUT = int(Reply.OK), int(Reply.NOT_OPEN), int(Reply.SOLD_OUT)
_DECLINED, _PENDING, _EXPIRED = int(Reply.DECLINED), int(Reply.PENDING), int(Reply.EXPIRED)
_OVERLOADED, _ERROR = int(Reply.OVERLOADED), int(Reply.ERROR)


@inlined
def _answer(model: Record, world: Record, request: int, reply: int) -> None:
    """Send a request's reply on its way back."""
    entry = request_at(world, request)
    entry["reply"] = reply
    due_ns = world["now_ns"] + entry["way_back_ns"]
    order = event_order(_REACH_VISITOR, entry["visitor"], entry["number"])
    if model["is_network_constant"]:
        push_lane(world, TO_VISITOR, due_ns, order, request)
    else:
        push(world, due_ns, order, request)


@inlined
def _start_service(world: Record, request: int) -> None:
    entry = request_at(world, request)
    now_ns = world["now_ns"]
    # The end of the sale may cut the service off.
    busy_ns = min(entry["service_ns"], world["end_ns"] - now_ns)
    pool_at(world, entry["pool"])["busy_ns"] += busy_ns
    due_ns = now_ns + entry["service_ns"]
    push(world, due_ns, event_order(_SERVED, entry["visitor"], entry["number"]), request)


@compilable
def enter_station(model: Record, world: Record, request: int) -> None:
    """A request joins the next station of its step: served at once, in the queue, or refused."""
    entry = request_at(world, request)
    step = step_at(model, entry["action"])
    passage = passage_at(model, step["first_passage"] + entry["passage"])
    if entry["passage"] == step["look_passage"] and not _looks(model, world, request):
        return
    attempt = entry["number"] * MAX_PASSAGES + entry["passage"]
    service_s = sample_named(
        times_of(model),
        passage["time_row"],
        model["system_seed"],
        entry["visitor"],
        _SERVICE,
        attempt,
    )
    entry["service_ns"] = to_ns(service_s)
    item = visit_at(world, entry["visit"])["item"]
    entry["pool"] = passage["first_pool"] + item * passage["per_item"]
    pool = pool_at(world, entry["pool"])
    waiting = pool["present"] - pool["servers"]
    if waiting < 0:
        pool["present"] += 1
        _start_service(world, request)
        return
    if waiting >= pool["queue_limit"]:
        pool["refused"] += 1
        if entry["passage"] == step["look_passage"]:
            refuse(model, world, request)
        _answer(model, world, request, _OVERLOADED)
        return
    pool["present"] += 1
    pool["max_queue"] = max(pool["max_queue"], waiting + 1)
    entry["next"] = NOBODY
    if pool["first_waiting"] == NOBODY:
        pool["first_waiting"] = request
    else:
        request_at(world, pool["last_waiting"])["next"] = request
    pool["last_waiting"] = request


@compilable
def _looks(model: Record, world: Record, request: int) -> bool:
    """Look at the stock before the last station; False when the request is answered at once."""
    entry = request_at(world, request)
    known = find_reservation(world, entry["visit"], entry["logical_attempt"])
    reply = look(model, world, request, known != NOBODY)
    if reply == GOES_ON:
        return True
    _answer(model, world, request, reply)
    return False


@compilable
def leave_station(model: Record, world: Record, request: int) -> None:
    """A server is free for the next in line; the request goes on to its next station."""
    entry = request_at(world, request)
    pool = pool_at(world, entry["pool"])
    pool["present"] -= 1
    first = pool["first_waiting"]
    if first != NOBODY:
        pool["first_waiting"] = request_at(world, first)["next"]
        _start_service(world, first)
    entry["passage"] += 1
    if entry["passage"] < step_at(model, entry["action"])["passage_count"]:
        enter_station(model, world, request)
    else:
        _decide(model, world, request)


@compilable
def _decide(model: Record, world: Record, request: int) -> None:
    entry = request_at(world, request)
    action = entry["action"]
    if action == _BROWSE:
        _answer(model, world, request, _show(world, entry["visit"]))
    elif action == _RESERVE:
        _answer_reservation(model, world, request, _reserve(model, world, request))
    elif action == _PAY:
        _pay(model, world, request)
    else:
        payment = _find_payment(world, entry["visit"], entry["logical_attempt"])
        reply = _EXPIRED if payment == NOBODY else payment_at(world, payment)["reply"]
        _answer(model, world, request, reply)


@compilable
def _show(world: Record, visit: int) -> int:
    if world["now_ns"] < 0:
        return _NOT_OPEN
    return _OK if item_at(world, visit_at(world, visit)["item"])["available"] > 0 else _SOLD_OUT


@compilable
def _reserve(model: Record, world: Record, request: int) -> int:
    entry = request_at(world, request)
    if world["now_ns"] < 0:
        return _NOT_OPEN
    if find_reservation(world, entry["visit"], entry["logical_attempt"]) != NOBODY:
        know_again(model, world, request)
        return _OK
    return reserve(model, world, entry["visit"], entry["logical_attempt"], entry["seen"])


@compilable
def _answer_reservation(model: Record, world: Record, request: int, reply: int) -> None:
    """Send the reply, or the request once more through its last station."""
    entry = request_at(world, request)
    if reply == AGAIN:
        if entry["repeats"] < REPEATS_MAX:
            entry["repeats"] += 1
            entry["passage"] -= 1
            enter_station(model, world, request)
            return
        reply = _OVERLOADED
    if reply != _OK:
        refuse(model, world, request)
    _answer(model, world, request, reply)


@compilable
def _find_payment(world: Record, visit: int, attempt: int) -> int:
    payment = visit_at(world, visit)["payment"]
    while payment != NOBODY and payment_at(world, payment)["attempt"] != attempt:
        payment = payment_at(world, payment)["next"]
    return payment


@compilable
def _pay(model: Record, world: Record, request: int) -> None:
    """Start a payment unless it runs already, and wait for the provider's word."""
    entry, now_ns = request_at(world, request), world["now_ns"]
    payment = _find_payment(world, entry["visit"], entry["logical_attempt"])
    if payment == NOBODY:
        reservation = find_reservation(world, entry["visit"], entry["reserving_attempt"])
        if reservation == NOBODY or has_lapsed(world, reservation, now_ns):
            _answer(model, world, request, _EXPIRED)
            return
        lock = reservation_at(world, reservation)
        if lock["state"] == PAID or lock["payments_in_flight"] > 0:
            # Paid already, or about to be: the shop refuses with a 409.
            _answer(model, world, request, _ERROR)
            return
        payment = _begin_payment(model, world, request, reservation)
    owed = payment_at(world, payment)
    if owed["reply"] != _PENDING:
        _answer(model, world, request, owed["reply"])
        return
    entry["awaits_payment"] = 1
    entry["next"] = owed["first_waiting"]
    owed["first_waiting"] = request
    due_ns = now_ns + model["payment_timeout_ns"]
    # The provider's word comes first where both are due at once. A timeout that can never be is
    # not noted: it would stay in the calendar long after the visitor has gone.
    if owed["decided_ns"] > due_ns or model["charges_again"]:
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
    if model["charges_again"] and owed["decided_ns"] > now_ns + model["payment_timeout_ns"]:
        again_ns = now_ns + model["payment_timeout_ns"]
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
    answer_s, approved = provider_answer(
        provider_at(model), entry["visitor"], entry["channel"], number
    )
    charge = take_payment(world)
    owed, buyer = payment_at(world, charge), visit_at(world, entry["visit"])
    owed["visit"] = entry["visit"]
    owed["attempt"] = number
    owed["reply"] = _PENDING
    owed["approved"] = 1 if approved else 0
    owed["is_told"] = 0
    owed["is_refunded"] = 0
    owed["channel"] = entry["channel"]
    owed["asked_ns"] = asked_ns
    owed["reservation"] = reservation
    owed["first_waiting"] = NOBODY
    owed["next"] = buyer["payment"]
    buyer["payment"] = charge
    buyer["references"] += 1
    due_ns = asked_ns + to_ns(answer_s)
    owed["decided_ns"] = due_ns
    push(world, due_ns, event_order(_PROVIDER_ANSWER, entry["visitor"], number), charge)
    return charge


@compilable
def hear_provider(model: Record, world: Record, charge: int) -> None:
    """The provider has decided about a charge, unless it was closed meanwhile."""
    owed = payment_at(world, charge)
    if not owed["is_told"]:
        owed["is_told"] = 1
        payment = payment_at(world, owed["payment"])
        payment["open_charges"] -= 1
        if payment["reply"] != _PENDING:
            if owed["approved"]:
                keep_money(world, owed["reservation"])  # Of a charge that the shop has forgotten.
        elif owed["approved"] or payment["open_charges"] == 0:
            _decide_payment(model, world, charge)
    release(world, owed["visit"])


@compilable
def _decide_payment(model: Record, world: Record, charge: int) -> None:
    """A charge was captured, or none is open any more: tell the buyer."""
    owed = payment_at(world, charge)
    lock = reservation_at(world, owed["reservation"])
    lock["payments_in_flight"] -= 1
    if world["are_locks_extended"]:
        # A lock that was held beyond its time lapses now.
        lock["lapses_ns"] = max(lock["lapses_ns"], world["now_ns"])
    reply = _DECLINED
    if owed["approved"]:
        reply = _OK
        if not settle(model, world, owed["reservation"]):
            reply = _EXPIRED
            if model["late_payment"] == FORGET:
                keep_money(world, owed["reservation"])
            else:
                # The order is gone: the money goes back at once.
                owed["is_refunded"] = 1
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
        _answer(model, world, request, owed["reply"])
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
    owed = payment_at(world, _find_payment(world, entry["visit"], entry["logical_attempt"]))
    if owed["first_waiting"] == request:
        owed["first_waiting"] = entry["next"]
    else:
        before = owed["first_waiting"]
        while request_at(world, before)["next"] != request:
            before = request_at(world, before)["next"]
        request_at(world, before)["next"] = entry["next"]
    _answer(model, world, request, _PENDING)
