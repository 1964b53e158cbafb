"""The shop: stations, stock decisions and a till behind its steps."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.draws import Purpose, sample_named
from doorbuster.scenario.service import MAX_PASSAGES
from doorbuster.scenario.shop import MAX_LINES
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.clock import to_ns
from doorbuster_sim.compiled_engine.answers import answer
from doorbuster_sim.compiled_engine.bundles import level
from doorbuster_sim.compiled_engine.calendar import push
from doorbuster_sim.compiled_engine.counter import GOES_ON, is_in_vain, know_again, look, refuse
from doorbuster_sim.compiled_engine.layout import IS_SERVED, NOBODY, WAITS, Record
from doorbuster_sim.compiled_engine.ledger import AGAIN, cancel, order_cart, reserve
from doorbuster_sim.compiled_engine.orders import find_reservation
from doorbuster_sim.compiled_engine.payments import find_payment, pay
from doorbuster_sim.compiled_engine.places import (
    item_at,
    order_line_at,
    passage_at,
    payment_at,
    pool_at,
    request_at,
    step_at,
    stretches_at,
    times_of,
    visit_at,
)
from doorbuster_sim.compiled_engine.refunds import refund
from doorbuster_sim.event_order import Rank, event_order
from doorbuster_sim.faults import extra_work, put_off, work_ends
from doorbuster_sim.strategies.optimistic import REPEATS_MAX

_SERVICE, _LINE_SERVICE = int(Purpose.SERVICE), int(Purpose.LINE_SERVICE)
_SERVED = int(Rank.SERVED)
_BROWSE, _RESERVE, _PAY = int(Action.BROWSE), int(Action.RESERVE), int(Action.PAY)
_CANCEL, _REFUND, _CART = int(Action.CANCEL), int(Action.REFUND), int(Action.CART)
_OK, _NOT_OPEN, _SOLD_OUT = int(Reply.OK), int(Reply.NOT_OPEN), int(Reply.SOLD_OUT)
_OVERLOADED, _EXPIRED, _ERROR = int(Reply.OVERLOADED), int(Reply.EXPIRED), int(Reply.ERROR)


@inlined
def start_service(model: Record, world: Record, request: int) -> None:
    """A server takes a request."""
    entry = request_at(world, request)
    now_ns = world["now_ns"]
    entry["begun_ns"] = now_ns
    entry["place"] = IS_SERVED
    entry["is_in_vain"] = _is_in_vain(model, world, request)
    due_ns = now_ns + (model["rollback_ns"] if entry["is_in_vain"] else entry["service_ns"])
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
def service_ends(model: Record, world: Record, request: int) -> int:
    """When the service of a request ends that has begun, if nothing strikes it down."""
    entry = request_at(world, request)
    frozen = stretches_at(model["frozen"])
    step = step_at(model, entry["action"])
    station = passage_at(model, step["first_passage"] + entry["passage"])["station"]
    begin_ns = put_off(frozen, entry["begun_ns"])
    work_ns = model["rollback_ns"]
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
    elif action == _RESERVE and model["locking_step"] == _CART:
        cart = find_reservation(world, entry["visit"], entry["logical_attempt"])
        answer(model, world, request, _EXPIRED if cart == NOBODY else order_cart(world, cart))
    elif action in (_RESERVE, _CART):
        _answer_reservation(model, world, request, _reserve(model, world, request))
    elif action == _PAY:
        pay(model, world, request)
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
