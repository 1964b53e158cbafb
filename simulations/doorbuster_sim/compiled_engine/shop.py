"""The shop: stations, stock decisions and payments behind four steps."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.draws import Purpose, sample_named
from doorbuster.provider import CHARGED_AGAIN, provider_answer
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.scenario.shop import MAX_LINES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.clock import to_ns
from doorbuster_sim.compiled_engine.bundles import level
from doorbuster_sim.compiled_engine.calendar import TO_VISITOR, push, push_lane
from doorbuster_sim.compiled_engine.counter import GOES_ON, is_in_vain, know_again, look, refuse
from doorbuster_sim.compiled_engine.keeping import release, take_payment
from doorbuster_sim.compiled_engine.layout import IS_SERVED, NOBODY, WAITS, Record
from doorbuster_sim.compiled_engine.ledger import (
    AGAIN,
    LOCKED,
    PAID,
    cancel,
    find_reservation,
    has_lapsed,
    keep_money,
    lock_for_payment,
    reserve,
    settle,
    unlock_unpaid,
)
from doorbuster_sim.compiled_engine.places import (
    item_at,
    order_line_at,
    passage_at,
    payment_at,
    pool_at,
    provider_at,
    request_at,
    reservation_at,
    step_at,
    stretches_at,
    times_of,
    visit_at,
)
from doorbuster_sim.compiled_engine.refunds import refund
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.faults import extra_work, put_off, work_ends
from doorbuster_sim.late_payment import FORGET
from doorbuster_sim.strategies.optimistic import REPEATS_MAX

_SERVICE, _LINE_SERVICE = int(Purpose.SERVICE), int(Purpose.LINE_SERVICE)
_SERVED, _PROVIDER_ANSWER = int(Rank.SERVED), int(Rank.PROVIDER_ANSWER)
_PAYMENT_TIMEOUT, _REACH_VISITOR = int(Rank.PAYMENT_TIMEOUT), int(Rank.REACH_VISITOR)
_BROWSE, _RESERVE, _PAY = int(Action.BROWSE), int(Action.RESERVE), int(Action.PAY)
_CANCEL, _REFUND = int(Action.CANCEL), int(Action.REFUND)
_OK, _NOT_OPEN, _SOLD_OUT = int(Reply.OK), int(Reply.NOT_OPEN), int(Reply.SOLD_OUT)
_DECLINED, _PENDING, _EXPIRED = int(Reply.DECLINED), int(Reply.PENDING), int(Reply.EXPIRED)
_OVERLOADED, _ERROR = int(Reply.OVERLOADED), int(Reply.ERROR)


@inlined
def answer(model: Record, world: Record, request: int, reply: int) -> None:
    """Send a request's reply on its way back.

    A frozen shop answers nobody; a connection breaks all the same.
    """
    entry = request_at(world, request)
    entry["reply"] = reply
    leaves_ns = world["now_ns"]
    if model["bends_time"] and reply != _ERROR:
        leaves_ns = _moves_again(model, leaves_ns)
    due_ns = leaves_ns + entry["way_back_ns"]
    order = event_order(_REACH_VISITOR, entry["visitor"], entry["number"])
    if model["is_network_constant"]:
        push_lane(world, TO_VISITOR, due_ns, order, request)
    else:
        push(world, due_ns, order, request)


@inlined
def start_service(model: Record, world: Record, request: int) -> None:
    """A server takes a request."""
    entry = request_at(world, request)
    now_ns = world["now_ns"]
    entry["begun_ns"] = now_ns
    entry["place"] = IS_SERVED
    entry["is_in_vain"] = _is_in_vain(model, world, request)
    due_ns = now_ns
    if not entry["is_in_vain"]:
        due_ns += entry["service_ns"]
    if model["bends_time"]:
        due_ns = service_ends(model, world, request)
    # The end of the sale may cut the service off.
    pool_at(world, entry["pool"])["busy_ns"] += min(due_ns, world["end_ns"]) - now_ns
    push(world, due_ns, event_order(_SERVED, entry["visitor"], entry["number"]), request)


@inlined
def _is_in_vain(model: Record, world: Record, request: int) -> bool:
    """Whether a request gets a server that can do nothing for it."""
    entry = request_at(world, request)
    if entry["passage"] != step_at(model, entry["action"])["look_passage"]:
        return False
    known = find_reservation(world, entry["visit"], entry["logical_attempt"])
    return is_in_vain(model, world, request, known != NOBODY)


@compilable
def _moves_again(model: Record, at_ns: int) -> int:
    """The first moment from one on at which the shop is not frozen."""
    return put_off(stretches_at(model["frozen"]), at_ns)


@compilable
def service_ends(model: Record, world: Record, request: int) -> int:
    """When the service of a request ends that has begun, if nothing strikes it down."""
    entry = request_at(world, request)
    frozen = stretches_at(model["frozen"])
    step = step_at(model, entry["action"])
    station = passage_at(model, step["first_passage"] + entry["passage"])["station"]
    begin_ns = put_off(frozen, entry["begun_ns"])
    work_ns = 0
    if not entry["is_in_vain"]:
        extra_ns = extra_work(stretches_at(model["slow"]), station, begin_ns)
        work_ns = entry["service_ns"] + extra_ns
    return work_ends(frozen, entry["begun_ns"], work_ns)


@compilable
def reach_shop(model: Record, world: Record, request: int) -> None:
    """A request has come to the shop, if there is one."""
    if world["is_dead"]:
        answer(model, world, request, _ERROR)
    else:
        enter_station(model, world, request)


@compilable
def enter_station(model: Record, world: Record, request: int) -> None:
    """A request joins the next station of its step: served at once, in the queue, or refused.

    Where it has a pool for each item, a bundle joins those of its items, in key order.
    """
    entry = request_at(world, request)
    step = step_at(model, entry["action"])
    passage = passage_at(model, step["first_passage"] + entry["passage"])
    is_look = entry["passage"] == step["look_passage"] and entry["line"] == 0
    if is_look and not _looks(model, world, request):
        return
    purpose = _SERVICE
    attempt = entry["number"] * MAX_PASSAGES + entry["passage"]
    item = visit_at(world, entry["visit"])["item"]
    if passage["per_item"] and item_at(world, item)["line_count"]:
        if entry["line"] > 0:
            purpose, attempt = _LINE_SERVICE, attempt * MAX_LINES + entry["line"]
        item = order_line_at(world, item_at(world, item)["first_line"] + entry["line"])["item"]
    service_s = sample_named(
        times_of(model),
        passage["time_row"],
        model["system_seed"],
        entry["visitor"],
        purpose,
        attempt,
    )
    entry["service_ns"] = to_ns(service_s)
    entry["pool"] = passage["first_pool"] + item * passage["per_item"]
    pool = pool_at(world, entry["pool"])
    waiting = pool["present"] - pool["servers"]
    if waiting < 0:
        pool["present"] += 1
        start_service(model, world, request)
        return
    if waiting >= pool["queue_limit"]:
        pool["refused"] += 1
        if entry["passage"] == step["look_passage"]:
            refuse(model, world, request)
        answer(model, world, request, _OVERLOADED)
        return
    pool["present"] += 1
    pool["max_queue"] = max(pool["max_queue"], waiting + 1)
    entry["place"] = WAITS
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
    answer(model, world, request, reply)
    return False


@compilable
def leave_station(model: Record, world: Record, request: int) -> None:
    """The request goes on to its next station; then its server takes the next in line."""
    entry = request_at(world, request)
    pool_at(world, entry["pool"])["present"] -= 1
    following = _take_first(world, entry["pool"])
    if _has_another_line(model, world, request):
        entry["line"] += 1
    else:
        entry["line"] = 0
        entry["passage"] += 1
    if entry["passage"] < step_at(model, entry["action"])["passage_count"]:
        enter_station(model, world, request)
    else:
        _decide(model, world, request)
    if following != NOBODY:
        start_service(model, world, following)


@inlined
def _has_another_line(model: Record, world: Record, request: int) -> bool:
    """Whether a bundle has not passed the pools of all its items at a station that has them."""
    entry = request_at(world, request)
    first = step_at(model, entry["action"])["first_passage"]
    if not passage_at(model, first + entry["passage"])["per_item"]:
        return False
    count = item_at(world, visit_at(world, entry["visit"])["item"])["line_count"]
    return entry["line"] + 1 < count


@inlined
def start_first(model: Record, world: Record, pool: int) -> None:
    """A server is free: it takes the first who waits, if anybody does."""
    first = _take_first(world, pool)
    if first != NOBODY:
        start_service(model, world, first)


@inlined
def _take_first(world: Record, pool: int) -> int:
    """Out of the queue with the first who waits; NOBODY if nobody does."""
    line = pool_at(world, pool)
    first = line["first_waiting"]
    if first != NOBODY:
        line["first_waiting"] = request_at(world, first)["next"]
    return first


@compilable
def _decide(model: Record, world: Record, request: int) -> None:
    entry = request_at(world, request)
    action = entry["action"]
    if action == _BROWSE:
        answer(model, world, request, _show(world, entry["visit"]))
    elif action == _RESERVE:
        _answer_reservation(model, world, request, _reserve(model, world, request))
    elif action == _PAY:
        _pay(model, world, request)
    elif action == _CANCEL:
        reservation = find_reservation(world, entry["visit"], entry["reserving_attempt"])
        reply = _EXPIRED if reservation == NOBODY else cancel(model, world, reservation)
        answer(model, world, request, reply)
    elif action == _REFUND:
        answer(model, world, request, refund(model, world, request))
    else:
        payment = find_payment(world, entry["visit"], entry["logical_attempt"])
        reply = _EXPIRED if payment == NOBODY else payment_at(world, payment)["reply"]
        answer(model, world, request, reply)


@compilable
def _show(world: Record, visit: int) -> int:
    if world["now_ns"] < 0:
        return _NOT_OPEN
    return _OK if level(world, visit_at(world, visit)["item"]) > 0 else _SOLD_OUT


@compilable
def _reserve(model: Record, world: Record, request: int) -> int:
    entry = request_at(world, request)
    if world["now_ns"] < 0:
        return _NOT_OPEN
    if find_reservation(world, entry["visit"], entry["logical_attempt"]) != NOBODY:
        know_again(model, world, request)
        return _OK
    seen, coupon_seen = entry["seen"], entry["coupon_seen"]
    return reserve(model, world, entry["visit"], entry["logical_attempt"], seen, coupon_seen)


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
    answer(model, world, request, reply)


@compilable
def find_payment(world: Record, visit: int, attempt: int) -> int:
    """A logical payment of a visit, or NOBODY."""
    payment = visit_at(world, visit)["payment"]
    while payment != NOBODY and payment_at(world, payment)["attempt"] != attempt:
        payment = payment_at(world, payment)["next"]
    return payment


@compilable
def _pay(model: Record, world: Record, request: int) -> None:
    """Start a payment unless it runs already, and wait for the provider's word."""
    entry, now_ns = request_at(world, request), world["now_ns"]
    payment = find_payment(world, entry["visit"], entry["logical_attempt"])
    if payment == NOBODY:
        reservation = find_reservation(world, entry["visit"], entry["reserving_attempt"])
        if reservation == NOBODY or has_lapsed(world, reservation, now_ns):
            answer(model, world, request, _EXPIRED)
            return
        lock = reservation_at(world, reservation)
        if lock["state"] == PAID or lock["payments_in_flight"] > 0:
            # Paid already, or about to be: the shop refuses with a 409.
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
    due_ns = _moves_again(model, now_ns + model["payment_timeout_ns"])
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
