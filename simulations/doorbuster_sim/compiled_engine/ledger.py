"""The stock ledger: every unit is available, locked or sold, at every moment."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.accounts import change_holding, held_units
from doorbuster_sim.compiled_engine.keeping import release, take_reservation
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.places import (
    held_locks_of,
    item_at,
    locks_of,
    reservation_at,
    visit_at,
)
from doorbuster_sim.tables import ABSENT_NS

LOCKED, PAID, RELEASED = 0, 1, 2
_OK, _LIMITED, _SOLD_OUT = int(Reply.OK), int(Reply.LIMITED), int(Reply.SOLD_OUT)


@compilable
def _move(world: Record, item: int, available: int, locked: int, sold: int) -> None:
    """Change the three counts of an item; whether they still add up is noted, not raised."""
    stock = item_at(world, item)
    stock["available"] += available
    stock["locked"] += locked
    stock["sold"] += sold
    total = stock["available"] + stock["locked"] + stock["sold"]
    lowest = min(stock["available"], stock["locked"], stock["sold"])
    if total != stock["initial"] or lowest < 0:
        world["is_broken"] = 1


@compilable
def find_reservation(world: Record, visit: int, attempt: int) -> int:
    """The reservation that a logical attempt of a visit has made, or NOBODY."""
    reservation = visit_at(world, visit)["reservation"]
    while reservation != NOBODY and reservation_at(world, reservation)["attempt"] != attempt:
        reservation = reservation_at(world, reservation)["next"]
    return reservation


@compilable
def has_lapsed(world: Record, reservation: int, now_ns: int) -> bool:
    """Whether the lock is gone, or its time is over and no payment holds it."""
    entry = reservation_at(world, reservation)
    if entry["state"] == LOCKED:
        return now_ns >= entry["lapses_ns"] and entry["payments_in_flight"] == 0
    return entry["state"] == RELEASED


@compilable
def reserve(model: Record, world: Record, visit: int, attempt: int) -> int:
    """Lock what a visit wants: OK, LIMITED or SOLD_OUT."""
    buyer = visit_at(world, visit)
    units, stock = buyer["quantity"], item_at(world, buyer["item"])
    if not within_purchase_limit(held_units(world, visit), units, stock["limit"]):
        return _LIMITED
    if stock["available"] < units:
        return _SOLD_OUT
    _move(world, buyer["item"], -units, units, 0)
    change_holding(world, visit, units)
    reservation = take_reservation(world)
    entry = reservation_at(world, reservation)
    entry["lapses_ns"] = world["now_ns"] + model["lock_ns"]
    entry["reserved_ns"] = world["now_ns"]
    entry["released_ns"] = ABSENT_NS
    entry["sold_ns"] = ABSENT_NS
    entry["next"] = buyer["reservation"]
    entry["visit"] = visit
    entry["item"] = buyer["item"]
    entry["units"] = units
    entry["attempt"] = attempt
    entry["state"] = LOCKED
    entry["payments_in_flight"] = 0
    entry["captures"] = 0
    buyer["reservation"] = reservation
    buyer["references"] += 1
    end = world["first_lock"] + world["lock_count"]
    locks_of(world)[end & (world["locks_room"] - 1)] = reservation
    world["lock_count"] += 1
    return _OK


@compilable
def settle(world: Record, reservation: int) -> None:
    """The provider has taken the money: the locked units are sold."""
    entry = reservation_at(world, reservation)
    if entry["state"] != LOCKED:
        world["is_broken"] = 1
    entry["state"] = PAID
    entry["sold_ns"] = world["now_ns"]
    _move(world, entry["item"], 0, -entry["units"], entry["units"])
    item_at(world, entry["item"])["orders"] += 1


@compilable
def _forget(world: Record, reservation: int) -> None:
    """Release a reservation whose time is over, unless it was paid; its visit may then go."""
    entry = reservation_at(world, reservation)
    if entry["state"] == LOCKED:
        entry["state"] = RELEASED
        entry["released_ns"] = world["now_ns"]
        change_holding(world, entry["visit"], -entry["units"])
        _move(world, entry["item"], entry["units"], -entry["units"], 0)
    release(world, entry["visit"])


@compilable
def sweep(world: Record) -> None:
    """Release every lapsed reservation; one in the middle of a payment is held."""
    locks = locks_of(world)
    now_ns = world["now_ns"]
    kept = 0
    for index in range(world["held_lock_count"]):
        reservation = held_locks_of(world)[index]
        if reservation_at(world, reservation)["payments_in_flight"] > 0:
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            _forget(world, reservation)
    while world["lock_count"] > 0:
        reservation = locks[world["first_lock"] & (world["locks_room"] - 1)]
        entry = reservation_at(world, reservation)
        if entry["lapses_ns"] > now_ns:
            break
        world["first_lock"] += 1
        world["lock_count"] -= 1
        if entry["payments_in_flight"] > 0:
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            _forget(world, reservation)
    world["held_lock_count"] = kept


@compilable
def count_overdue(world: Record, overdue_ns: int) -> None:
    """Count, by item, locks that lapsed up to `overdue_ns` and are still there."""
    locks = locks_of(world)
    for index in range(world["items_room"]):
        item_at(world, index)["unpaid_locks"] = 0
    for index in range(world["held_lock_count"]):
        _count_one(world, held_locks_of(world)[index], overdue_ns)
    for index in range(world["lock_count"]):
        reservation = locks[(world["first_lock"] + index) & (world["locks_room"] - 1)]
        _count_one(world, reservation, overdue_ns)


@compilable
def _count_one(world: Record, reservation: int, overdue_ns: int) -> None:
    entry = reservation_at(world, reservation)
    if entry["state"] == LOCKED and has_lapsed(world, reservation, overdue_ns):
        item_at(world, entry["item"])["unpaid_locks"] += 1
