"""Orders, from the reservation on: how each stands, and whether its lock has lapsed."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster_sim.books import ORDER_STATES
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.places import reservation_at, visit_at

LOCKED, PAID, RELEASED, CANCELLED, REFUNDING, REFUNDED, OPEN, CART = range(len(ORDER_STATES))


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
    if entry["state"] in (LOCKED, OPEN, CART):
        return now_ns >= entry["lapses_ns"] and not is_held(world, reservation)
    return entry["state"] != PAID


@inlined
def is_held(world: Record, reservation: int) -> bool:
    """Whether a payment in flight keeps a lock from lapsing."""
    is_paying = reservation_at(world, reservation)["payments_in_flight"] > 0
    return is_paying and world["are_locks_extended"] != 0
