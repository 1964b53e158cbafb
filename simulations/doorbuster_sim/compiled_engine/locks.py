"""The locks that a sweep looks after, the one that lapses first in front.

All locks last equally long and lie in a ring in the order in which they were made; where
`release_jitter` gives each its own end, they lie in a binary heap instead, from place 0 on.
A payment may move the end of a lock that has lapsed, up to now at most: of what a sweep finds
lapsed nothing can then lie below something that it does not.

Source: J. W. J. Williams, "Algorithm 232: Heapsort", CACM 7 (1964), 347-348.
"""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.places import locks_of, reservation_at


@inlined
def first_lock(world: Record) -> int:
    """The lock that lapses first; there must be one."""
    return locks_of(world)[world["first_lock"] & (world["locks_room"] - 1)]


@inlined
def add_lock(model: Record, world: Record, reservation: int) -> None:
    """One more lock."""
    end = world["first_lock"] + world["lock_count"]
    locks_of(world)[end & (world["locks_room"] - 1)] = reservation
    world["lock_count"] += 1
    if model["jitter_ns"] > 0:
        _sift_up(world)


@inlined
def pass_first_lock(model: Record, world: Record) -> None:
    """The first lock is looked after."""
    world["lock_count"] -= 1
    if model["jitter_ns"] > 0:
        _sift_down(world)
    else:
        world["first_lock"] += 1


@compilable
def _sift_up(world: Record) -> None:
    """Take the last entry of the heap to its place."""
    locks, place = locks_of(world), world["lock_count"] - 1
    reservation = locks[place]
    lapses_ns = reservation_at(world, reservation)["lapses_ns"]
    while place > 0:
        parent = (place - 1) >> 1
        if reservation_at(world, locks[parent])["lapses_ns"] <= lapses_ns:
            break
        locks[place] = locks[parent]
        place = parent
    locks[place] = reservation


@compilable
def _sift_down(world: Record) -> None:
    """Take the entry behind the last one to its place, from the top."""
    locks, count, place = locks_of(world), world["lock_count"], 0
    reservation = locks[count]
    lapses_ns = reservation_at(world, reservation)["lapses_ns"]
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        child_ns = reservation_at(world, locks[child])["lapses_ns"]
        if child + 1 < count:
            other_ns = reservation_at(world, locks[child + 1])["lapses_ns"]
            if other_ns < child_ns:
                child, child_ns = child + 1, other_ns
        if child_ns >= lapses_ns:
            break
        locks[place] = locks[child]
        place = child
    locks[place] = reservation
