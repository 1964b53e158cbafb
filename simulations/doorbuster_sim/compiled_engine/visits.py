"""Visitors: they arrive, send, hear an answer or stop waiting for it, and leave."""

from __future__ import annotations

import numpy as np

from doorbuster.compiling import compilable, inlined
from doorbuster.draws import Purpose, sample_named
from doorbuster.visitor import VisitState, first_step, next_step
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim.clock import to_ns, to_s
from doorbuster_sim.compiled_engine.calendar import NEVER_NS, TO_SHOP, push, push_lane
from doorbuster_sim.compiled_engine.keeping import (
    drop_request,
    release,
    take_request,
    take_visit,
)
from doorbuster_sim.compiled_engine.layout import NOBODY, OUTSIDE, Record
from doorbuster_sim.compiled_engine.orders import find_reservation
from doorbuster_sim.compiled_engine.places import (
    attempts_of,
    behaviour_at,
    item_at,
    line_at,
    planned_at,
    request_at,
    request_row_at,
    reservation_at,
    times_of,
    visit_at,
    visit_row_at,
)
from doorbuster_sim.coupon import NO_COUPON
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.tables import ABSENT_NS

_NETWORK = int(Purpose.NETWORK)
_SEND, _REACH_SHOP, _REQUEST_TIMEOUT = (
    int(Rank.SEND),
    int(Rank.REACH_SHOP),
    int(Rank.REQUEST_TIMEOUT),
)
_LEAVE, _RESERVE, _PAY, _POLL, _CART = (
    int(Action.LEAVE),
    int(Action.RESERVE),
    int(Action.PAY),
    int(Action.POLL),
    int(Action.CART),
)
_OK, _DECLINED, _OVERLOADED = int(Reply.OK), int(Reply.DECLINED), int(Reply.OVERLOADED)
_ERROR, _TIMEOUT = int(Reply.ERROR), int(Reply.TIMEOUT)
_UNDECIDED, _CUT_OFF = int(Outcome.UNDECIDED), int(Outcome.CUT_OFF)


@compilable
def arrive(model: Record, world: Record, row: int) -> None:
    """A planned visitor comes and sends its first request."""
    visit, planned = take_visit(world), planned_at(world, row)
    entry = visit_at(world, visit)
    entry["visitor"] = world["first_visitor"] + row
    entry["arrival_ns"] = planned["arrival_ns"]
    entry["account"] = planned["account"]
    entry["reserved_ns"] = ABSENT_NS
    entry["paid_ns"] = ABSENT_NS
    entry["price_paid_cents"] = 0
    entry["persona"] = planned["persona"]
    entry["phase"] = planned["phase"]
    entry["item"] = planned["item"]
    entry["quantity"] = planned["quantity"]
    entry["request_count"] = 0
    entry["failed_reply_count"] = 0
    entry["declined_reply_count"] = 0
    entry["waiting"] = 0
    entry["left"] = 0
    entry["references"] = 1
    entry["reservation"] = NOBODY
    entry["payment"] = NOBODY
    entry["own_units"] = 0
    entry["own_coupons"] = 0
    attempts_of(world, visit)[:] = 0
    state, _, _ = first_step(planned["channel"])
    _put_state(world, visit, state)
    send(model, world, visit)


@inlined
def _put_state(world: Record, visit: int, state: VisitState) -> None:
    entry = visit_at(world, visit)
    entry["action"] = state.action
    entry["refresh_count"] = state.refresh_count
    entry["restock_count"] = state.restock_count
    entry["failure_count"] = state.failure_count
    entry["refusal_count"] = state.refusal_count
    entry["decline_count"] = state.decline_count
    entry["poll_count"] = state.poll_count
    entry["channel"] = state.channel


@inlined
def _wide(number: int) -> int:
    """As 64 bits: `next_step` is compiled for one kind of integers."""
    return np.int64(number)  # type: ignore[return-value]  # an int when compiled


@inlined
def _state_of(world: Record, visit: int) -> VisitState:
    entry = visit_at(world, visit)
    return VisitState(
        _wide(entry["action"]),
        _wide(entry["refresh_count"]),
        _wide(entry["restock_count"]),
        _wide(entry["failure_count"]),
        _wide(entry["refusal_count"]),
        _wide(entry["decline_count"]),
        _wide(entry["poll_count"]),
        _wide(entry["channel"]),
        _UNDECIDED,
    )


@compilable
def send(model: Record, world: Record, visit: int) -> None:
    """A visitor sends the request of its next action, and begins to wait for the answer."""
    now_ns = world["now_ns"]
    request = take_request(world)
    entry, buyer = request_at(world, request), visit_at(world, visit)
    number = buyer["request_count"]
    entry["visitor"] = buyer["visitor"]
    entry["visit"] = visit
    entry["number"] = number
    entry["action"] = buyer["action"]
    entry["channel"] = buyer["channel"]
    entry["reserving_attempt"] = buyer["refusal_count"]
    entry["logical_attempt"] = (
        buyer["refusal_count"] if buyer["action"] in (_RESERVE, _CART) else buyer["decline_count"]
    )
    entry["passage"] = 0
    entry["line"] = 0
    entry["awaits_payment"] = 0
    entry["seen"] = 0
    entry["repeats"] = 0
    entry["place"] = OUTSIDE
    buyer["request_count"] = number + 1
    buyer["references"] += 1
    buyer["sent_ns"] = now_ns
    buyer["waiting"] = 1
    _start_waiting(world, visit, now_ns + line_at(world, buyer["persona"])["timeout_ns"])
    network_s = sample_named(
        times_of(model),
        model["network_row"],
        model["system_seed"],
        buyer["visitor"],
        _NETWORK,
        number,
    )
    network_ns = to_ns(network_s)
    entry["way_back_ns"] = network_ns - network_ns // 2
    due_ns = now_ns + network_ns // 2
    order = event_order(_REACH_SHOP, buyer["visitor"], number)
    if model["is_network_constant"]:
        push_lane(world, TO_SHOP, due_ns, order, request)
    else:
        push(world, due_ns, order, request)


@inlined
def _start_waiting(world: Record, visit: int, deadline_ns: int) -> None:
    """Queue behind the deadlines of the same persona, which all wait equally long.

    Of equal deadlines the smaller visitor stands first, as in `event_order`.
    """
    entry = visit_at(world, visit)
    line = line_at(world, entry["persona"])
    entry["deadline_ns"] = deadline_ns
    earlier, later = line["last_deadline"], NOBODY
    while (
        earlier != NOBODY
        and visit_at(world, earlier)["deadline_ns"] == deadline_ns
        and visit_at(world, earlier)["visitor"] > entry["visitor"]
    ):
        later = earlier
        earlier = visit_at(world, earlier)["earlier_deadline"]
    entry["earlier_deadline"] = earlier
    entry["later_deadline"] = later
    if earlier == NOBODY:
        line["first_deadline"] = visit
    else:
        visit_at(world, earlier)["later_deadline"] = visit
    if later == NOBODY:
        line["last_deadline"] = visit
    else:
        visit_at(world, later)["earlier_deadline"] = visit
    world["deadline_bound_ns"] = min(world["deadline_bound_ns"], deadline_ns)


@inlined
def _stop_waiting(world: Record, visit: int) -> None:
    entry = visit_at(world, visit)
    line = line_at(world, entry["persona"])
    earlier, later = entry["earlier_deadline"], entry["later_deadline"]
    if earlier == NOBODY:
        line["first_deadline"] = later
    else:
        visit_at(world, earlier)["later_deadline"] = later
    if later == NOBODY:
        line["last_deadline"] = earlier
    else:
        visit_at(world, later)["earlier_deadline"] = earlier
    entry["waiting"] = 0


@compilable
def first_deadline(world: Record) -> int:
    """The visit whose answer is due first, or NOBODY."""
    found, found_ns = NOBODY, NEVER_NS
    for persona in range(world["lines_room"]):
        visit = line_at(world, persona)["first_deadline"]
        if visit == NOBODY:
            continue
        entry = visit_at(world, visit)
        is_sooner = entry["deadline_ns"] < found_ns
        if not is_sooner and found != NOBODY and entry["deadline_ns"] == found_ns:
            is_sooner = entry["visitor"] < visit_at(world, found)["visitor"]
        if is_sooner:
            found, found_ns = visit, entry["deadline_ns"]
    return found


@inlined
def deadline_order(world: Record, visit: int) -> int:
    """The place of a visit's deadline among simultaneous events."""
    entry = visit_at(world, visit)
    return event_order(_REQUEST_TIMEOUT, entry["visitor"], entry["request_count"] - 1)


@compilable
def hear(model: Record, world: Record, request: int) -> None:
    """An answer reaches its visitor, who may no longer wait for it."""
    entry = request_at(world, request)
    visit, number, reply = entry["visit"], entry["number"], entry["reply"]
    buyer = visit_at(world, visit)
    drop_request(world, request)
    if buyer["waiting"] and buyer["request_count"] - 1 == number:
        react(model, world, visit, reply)
    release(world, visit)


@compilable
def give_up_waiting(model: Record, world: Record, visit: int) -> None:
    """The deadline of a visitor's request has come; the shop works on."""
    react(model, world, visit, _TIMEOUT)


@compilable
def react(model: Record, world: Record, visit: int, reply: int) -> None:
    """A visitor has its reply: note it, and do what `next_step` says."""
    entry = visit_at(world, visit)
    now_ns = world["now_ns"]
    _stop_waiting(world, visit)
    write_request(world, visit, now_ns, reply)
    step = entry["action"]
    attempts_of(world, visit)[step] += 1
    if reply in (_OVERLOADED, _ERROR, _TIMEOUT):
        entry["failed_reply_count"] += 1
    elif reply == _DECLINED:
        entry["declined_reply_count"] += 1
    elif reply == _OK and step == _RESERVE:
        entry["reserved_ns"] = now_ns
    elif reply == _OK and step in (_PAY, _POLL):
        entry["paid_ns"] = now_ns
        price_cents = item_at(world, entry["item"])["price_cents"]
        entry["price_paid_cents"] = price_cents * entry["quantity"]
        if model["coupon"] != NO_COUPON:
            paid = find_reservation(world, visit, entry["refusal_count"])
            entry["price_paid_cents"] -= reservation_at(world, paid)["discount_cents"]
    following, action, wait_s = next_step(
        behaviour_at(model),
        entry["visitor"],
        entry["persona"],
        _state_of(world, visit),
        reply,
        to_s(now_ns - entry["arrival_ns"]),
    )
    if action == _LEAVE:
        entry["left"] = 1
        write_visit(world, visit, following.outcome, now_ns)
        release(world, visit)
        return
    _put_state(world, visit, following)
    if wait_s == 0.0:
        send(model, world, visit)
        return
    order = event_order(_SEND, entry["visitor"], entry["request_count"])
    push(world, now_ns + to_ns(wait_s), order, visit)


@inlined
def write_request(world: Record, visit: int, done_ns: int, reply: int) -> None:
    """The record of a visitor's last request."""
    entry = visit_at(world, visit)
    row = request_row_at(world, world["request_row_count"])
    row["visitor"] = entry["visitor"]
    row["sent_ns"] = entry["sent_ns"]
    row["done_ns"] = done_ns
    row["attempt"] = attempts_of(world, visit)[entry["action"]]
    row["step"] = entry["action"]
    row["reply"] = reply
    row["persona"] = entry["persona"]
    row["phase"] = entry["phase"]
    world["request_row_count"] += 1


@compilable
def write_visit(world: Record, visit: int, outcome: int, left_ns: int) -> None:
    """The record of a whole visit."""
    entry = visit_at(world, visit)
    row = visit_row_at(world, world["visit_row_count"])
    row["visitor"] = entry["visitor"]
    row["started_ns"] = entry["arrival_ns"]
    row["reserved_ns"] = entry["reserved_ns"]
    row["paid_ns"] = entry["paid_ns"]
    row["left_ns"] = left_ns
    row["price_paid_cents"] = entry["price_paid_cents"]
    row["request_count"] = entry["request_count"]
    row["failure_count"] = entry["failed_reply_count"]
    row["decline_count"] = entry["declined_reply_count"]
    row["item"] = entry["item"]
    row["quantity"] = entry["quantity"]
    row["outcome"] = outcome
    row["persona"] = entry["persona"]
    row["phase"] = entry["phase"]
    world["visit_row_count"] += 1


@compilable
def write_planned(world: Record, row: int) -> None:
    """The record of a planned visitor whom the end of the sale kept from coming."""
    entry, planned = visit_row_at(world, world["visit_row_count"]), planned_at(world, row)
    entry["visitor"] = world["first_visitor"] + row
    entry["started_ns"] = ABSENT_NS
    entry["reserved_ns"] = ABSENT_NS
    entry["paid_ns"] = ABSENT_NS
    entry["left_ns"] = ABSENT_NS
    entry["price_paid_cents"] = 0
    entry["request_count"] = 0
    entry["failure_count"] = 0
    entry["decline_count"] = 0
    entry["item"] = planned["item"]
    entry["quantity"] = planned["quantity"]
    entry["outcome"] = _CUT_OFF
    entry["persona"] = planned["persona"]
    entry["phase"] = planned["phase"]
    world["visit_row_count"] += 1
