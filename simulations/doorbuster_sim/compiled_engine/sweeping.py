"""The sweep: which locks it finds past their time, and releases."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster_sim.compiled_engine.counter import reconcile
from doorbuster_sim.compiled_engine.keeping import release
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.ledger import forget, give_back
from doorbuster_sim.compiled_engine.locks import first_lock, pass_first_lock
from doorbuster_sim.compiled_engine.orders import CART, LOCKED, PAID, has_lapsed, is_held
from doorbuster_sim.compiled_engine.places import (
    held_locks_of,
    item_at,
    locks_of,
    reservation_at,
)
from doorbuster_sim.strategies import (
    STALE_EXPIRY,
    UNGUARDED_RELEASE,
    stale_expiry,
    unguarded_release,
)


@compilable
def release_lapsed(model: Record, world: Record) -> None:
    """Release every lapsed reservation; one in the middle of a payment is held."""
    if model["strategy"] == UNGUARDED_RELEASE:
        _sweep_unguarded(model, world)
        return
    if model["strategy"] == STALE_EXPIRY:
        _sweep_by_copy(model, world)
        return
    now_ns = world["now_ns"]
    kept = 0
    for index in range(world["held_lock_count"]):
        reservation = held_locks_of(world)[index]
        if is_held(world, reservation):
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            forget(model, world, reservation)
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        entry = reservation_at(world, reservation)
        if entry["lapses_ns"] > now_ns:
            break
        pass_first_lock(model, world)
        if is_held(world, reservation):
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            forget(model, world, reservation)
    world["held_lock_count"] = kept
    reconcile(model, world)


@compilable
def _sweep_unguarded(model: Record, world: Record) -> None:
    """Release what is past its time, being paid or paid or not."""
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        entry = reservation_at(world, reservation)
        if not unguarded_release.is_released(entry["lapses_ns"], world["now_ns"]):
            break
        pass_first_lock(model, world)
        give_back(model, world, reservation)
        release(world, entry["visit"])


@compilable
def _sweep_by_copy(model: Record, world: Record) -> None:
    """Release what the copy says, then copy what the next sweep will find past its time."""
    held, kept = held_locks_of(world), 0
    for index in range(world["held_lock_count"]):
        reservation = held[index]
        if reservation_at(world, reservation)["is_copied"]:
            give_back(model, world, reservation)
            release(world, reservation_at(world, reservation)["visit"])
        else:
            held[kept] = reservation
            kept += 1
    next_ns = world["next_sweep_ns"]
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        lapses_ns = reservation_at(world, reservation)["lapses_ns"]
        if not stale_expiry.has_lapsed(lapses_ns, next_ns):
            break
        pass_first_lock(model, world)
        held[kept] = reservation
        kept += 1
    found, kept = kept, 0
    for index in range(found):
        reservation = held[index]
        entry = reservation_at(world, reservation)
        if entry["state"] == PAID:
            release(world, entry["visit"])
            continue
        is_locked = entry["state"] == LOCKED
        if stale_expiry.looks_unpaid(is_locked, entry["payments_in_flight"]):
            entry["is_copied"] = 1
        held[kept] = reservation
        kept += 1
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
    if entry["state"] in (LOCKED, CART) and has_lapsed(world, reservation, overdue_ns):
        item_at(world, entry["item"])["unpaid_locks"] += 1
