"""The event loop: always the pending event with the smallest (time, order)."""

from __future__ import annotations

from enum import IntEnum

from doorbuster.compiling import compilable, inlined
from doorbuster.vocabulary import Action, Outcome, Reply
from doorbuster_sim.clock import STOCK_READING_NS
from doorbuster_sim.compiled_engine.bookkeeping import write_books
from doorbuster_sim.compiled_engine.calendar import (
    NEVER_NS,
    TO_SHOP,
    TO_VISITOR,
    advance,
    is_before,
    pop_lane,
    pop_near,
)
from doorbuster_sim.compiled_engine.keeping import note_holding
from doorbuster_sim.compiled_engine.late_charges import sweep
from doorbuster_sim.compiled_engine.layout import IS_SERVED, NOBODY, OUTSIDE, Record
from doorbuster_sim.compiled_engine.payments import hear_provider, stop_waiting
from doorbuster_sim.compiled_engine.places import (
    item_at,
    lane_at,
    lane_of,
    near_of,
    planned_at,
    request_at,
    stock_row_at,
    stretches_at,
    visit_at,
)
from doorbuster_sim.compiled_engine.shop import leave_station, reach_shop
from doorbuster_sim.compiled_engine.visits import (
    arrive,
    deadline_order,
    first_deadline,
    give_up_waiting,
    hear,
    send,
    write_planned,
    write_request,
    write_visit,
)
from doorbuster_sim.event_order import RANK_SHIFT, Rank, event_order
from doorbuster_sim.faults import next_sweep, put_off
from doorbuster_sim.tables import ABSENT_NS

CALL_EVENTS = 1_000_000
"""Events of one call at most: between calls Ctrl-C is heard and progress is told."""
EVENTS_EACH = 4
"""New events that one event causes at most, and more than it takes of anything else."""
CHARGES_EACH = 2
"""New charges that one event causes at most."""


class Pause(IntEnum):
    """Why the loop came back."""

    END = 0  # the sale is over, or a fault strikes or is over: world["stop_ns"] tells
    MORE = 1  # CALL_EVENTS were handled; call again
    CROWD = 2  # the block of visitors is used up
    ROOM = 3  # some array has little room left


_END, _MORE, _CROWD, _ROOM = (int(pause) for pause in Pause)
_SWEEP, _PROVIDER_ANSWER, _PAYMENT_TIMEOUT = (
    int(Rank.SWEEP),
    int(Rank.PROVIDER_ANSWER),
    int(Rank.PAYMENT_TIMEOUT),
)
_SERVED, _REACH_SHOP, _REACH_VISITOR = (
    int(Rank.SERVED),
    int(Rank.REACH_SHOP),
    int(Rank.REACH_VISITOR),
)
_SEND, _STOCK_READING = int(Rank.SEND), int(Rank.STOCK_READING)
_REQUEST_TIMEOUT = int(Rank.REQUEST_TIMEOUT)
_CUT_OFF, _TIMEOUT = int(Outcome.CUT_OFF), int(Reply.TIMEOUT)
_SOLD, _REFUND = int(Outcome.SOLD), int(Action.REFUND)
_FROM_NEAR, _FROM_ALARM = 2, 3  # 0 and 1 are the lanes


@compilable
def room(world: Record) -> int:
    """How many events can certainly be handled before an array is full."""
    records = min(
        world["visits_room"] - world["visits_live"],
        world["requests_room"] - world["requests_live"],
        world["reservations_room"] - world["reservations_live"],
        (world["payments_room"] - world["payments_live"]) // CHARGES_EACH,
    )
    pending = world["fine_count"] + world["later_count"] + world["near_count"]
    # A sweep that closes charges answers all requests that wait for the provider at once.
    pending += world["requests_live"] * world["closes_charges"]
    calendar = (world["events_room"] - pending) // EVENTS_EACH
    # A hash table works well up to three quarters full.
    accounts = world["accounts_room"] * 3 // 4 - world["account_count"]
    rows = min(
        world["request_rows_room"] - world["request_row_count"],
        world["visit_rows_room"] - world["visit_row_count"],
    )
    # What is live becomes a row when it is forgotten, all at once perhaps; an event adds one order.
    charges = world["charge_rows_room"] - world["charge_row_count"] - world["payments_live"]
    books = min(
        world["order_rows_room"] - world["order_row_count"] - world["reservations_live"],
        charges // CHARGES_EACH,
    )
    readings = (world["stock_rows_room"] - world["stock_row_count"]) // world["items_room"]
    return min(records, calendar, accounts, rows, books, readings)


@compilable
def run(model: Record, world: Record, is_last_block: bool) -> int:
    """Handle events until there is a reason to come back, which is returned."""
    left = CALL_EVENTS
    while left > 0:
        budget = min(room(world), left)
        if budget <= 0:
            return _ROOM
        for _ in range(budget):
            if not is_last_block and world["next_arrival"] >= world["planned_room"]:
                return _CROWD
            if not _happen(model, world):
                return _END
        left -= budget
    return _MORE


@inlined
def _happen(model: Record, world: Record) -> bool:
    """Handle the next event; False when there is none before the next stop."""
    time_ns, order, source = NEVER_NS, 0, _FROM_ALARM
    for lane in range(2):
        ends = lane_at(world, lane)
        if ends["count"] > 0:
            entry = lane_of(world, lane)[ends["first"] & (world["requests_room"] - 1)]
            at_ns = entry["time_ns"]
            if is_before(at_ns, entry["order"], time_ns, order):
                time_ns, order, source = at_ns, entry["order"], lane
    alarm_ns = _alarm_ns(world)
    if world["near_count"] == 0:
        advance(world, min(time_ns, alarm_ns))
    if world["near_count"] > 0:
        entry = near_of(world)[0]
        at_ns = entry["time_ns"]
        if is_before(at_ns, entry["order"], time_ns, order):
            time_ns, order, source = at_ns, entry["order"], _FROM_NEAR
    if alarm_ns <= time_ns:
        handled = _ring_alarm(model, world, time_ns, order)
        if handled:
            return handled > 0
    if time_ns >= world["stop_ns"]:
        return False
    world["now_ns"] = time_ns
    world["event_count"] += 1
    if source == TO_SHOP:
        reach_shop(model, world, pop_lane(world, TO_SHOP))
    elif source == TO_VISITOR:
        hear(model, world, pop_lane(world, TO_VISITOR))
    else:
        _handle(model, world, pop_near(world), order)
    return True


@inlined
def _handle(model: Record, world: Record, payload: int, order: int) -> None:
    rank = order >> RANK_SHIFT
    if rank == _SERVED:
        # A fault may have struck the request down, whose record another one may have by now.
        entry = request_at(world, payload)
        name_order = event_order(_SERVED, entry["visitor"], entry["number"])
        if entry["place"] == IS_SERVED and name_order == order:
            entry["place"] = OUTSIDE
            leave_station(model, world, payload)
    elif rank == _SEND:
        send(model, world, payload)
    elif rank == _REACH_SHOP:
        reach_shop(model, world, payload)
    elif rank == _REACH_VISITOR:
        hear(model, world, payload)
    elif rank == _PROVIDER_ANSWER:
        hear_provider(model, world, payload)
    else:
        stop_waiting(model, world, payload, order)


@inlined
def _alarm_ns(world: Record) -> int:
    """The first moment of an arrival, sweep, reading or deadline."""
    arrival_ns = NEVER_NS
    if world["next_arrival"] < world["planned_room"]:
        arrival_ns = max(planned_at(world, world["next_arrival"])["arrival_ns"], world["start_ns"])
    others_ns = min(arrival_ns, world["next_sweep_ns"], world["next_reading_ns"])
    if world["deadline_bound_ns"] <= others_ns:
        # The bound may be of a deadline that was met meanwhile; the calendar is opened up to the
        # alarm, so it must not lie in the past.
        _find_deadline(world)
    return min(others_ns, world["deadline_bound_ns"])


@compilable
def _find_deadline(world: Record) -> int:
    """Make the bound of the deadlines exact; returns the visit it belongs to, or NOBODY."""
    visit = first_deadline(world)
    world["deadline_bound_ns"] = NEVER_NS
    if visit != NOBODY:
        world["deadline_bound_ns"] = visit_at(world, visit)["deadline_ns"]
    return visit


@compilable
def _ring_alarm(model: Record, world: Record, time_ns: int, order: int) -> int:
    """Handle an arrival, sweep, reading or deadline if it is the first of all.

    time_ns, order: the first of the other events. Returns 0 when that one comes first, -1 when
    it comes after the next stop, else 1.
    """
    rank, visit = 0, _find_deadline(world)
    if visit != NOBODY:
        at_ns = world["deadline_bound_ns"]
        if is_before(at_ns, deadline_order(world, visit), time_ns, order):
            rank, time_ns, order = _REQUEST_TIMEOUT, at_ns, deadline_order(world, visit)
    at_ns, at_order = world["next_sweep_ns"], event_order(_SWEEP, 0, 0)
    if is_before(at_ns, at_order, time_ns, order):
        rank, time_ns, order = _SWEEP, at_ns, at_order
    at_ns, at_order = world["next_reading_ns"], event_order(_STOCK_READING, 0, 0)
    if is_before(at_ns, at_order, time_ns, order):
        rank, time_ns, order = _STOCK_READING, at_ns, at_order
    row = world["next_arrival"]
    if row < world["planned_room"]:
        at_ns = max(planned_at(world, row)["arrival_ns"], world["start_ns"])
        at_order = event_order(_SEND, world["first_visitor"] + row, 0)
        if is_before(at_ns, at_order, time_ns, order):
            rank, time_ns, order = _SEND, at_ns, at_order
    if rank == 0:
        return 0
    if time_ns >= world["stop_ns"]:
        return -1
    world["now_ns"] = time_ns
    world["event_count"] += 1
    if rank == _SEND:
        world["next_arrival"] += 1
        arrive(model, world, row)
    elif rank == _SWEEP:
        world["next_sweep_ns"] = sweep_after(model, time_ns)
        world["swept_ns"] = time_ns
        sweep(model, world)
    elif rank == _STOCK_READING:
        world["next_reading_ns"] += STOCK_READING_NS
        read_stock(world)
    else:
        give_up_waiting(model, world, visit)
    return 1


@compilable
def sweep_after(model: Record, now_ns: int) -> int:
    """The moment of the next sweep after a moment."""
    due_ns = next_sweep(stretches_at(model["restarts"]), model["sweep_ns"], now_ns)
    return put_off(stretches_at(model["still"]), due_ns)


@compilable
def read_stock(world: Record) -> None:
    """Note the three counts of every item that has a stock."""
    for item in range(world["items_room"]):
        stock, row = item_at(world, item), stock_row_at(world, world["stock_row_count"])
        if stock["line_count"]:
            continue  # A bundle has no stock.
        row["at_ns"] = world["now_ns"]
        row["available"] = stock["available"]
        row["locked"] = stock["locked"]
        row["sold"] = stock["sold"]
        row["item"] = item
        world["stock_row_count"] += 1


@compilable
def close(world: Record) -> int:
    """The end of the sale: write what is still open, as far as there is room.

    Call again while it returns ROOM. Requests without an answer are written in no special order.
    """
    for visit in range(world["visits_used"]):
        entry = visit_at(world, visit)
        if entry["visitor"] == NOBODY:
            continue
        if (
            min(
                world["request_rows_room"] - world["request_row_count"],
                world["visit_rows_room"] - world["visit_row_count"],
            )
            < 1
        ):
            return _ROOM
        if entry["waiting"]:
            entry["waiting"] = 0
            write_request(world, visit, ABSENT_NS, _TIMEOUT)
        if not entry["left"]:
            # Who was going to ask for the money has bought.
            outcome = _SOLD if entry["action"] == _REFUND else _CUT_OFF
            write_visit(world, visit, outcome, ABSENT_NS)
        note_holding(world, visit)
        write_books(world, visit)
        entry["visitor"] = NOBODY
    while world["next_arrival"] < world["planned_room"]:
        if world["visit_rows_room"] - world["visit_row_count"] < 1:
            return _ROOM
        write_planned(world, world["next_arrival"])
        world["next_arrival"] += 1
    return _END
