"""What will happen when: a calendar of buckets, and lanes for what comes in order anyhow.

The next event is the smallest by (time, order). Events of the current bucket stand in a small
heap (`near`), those of the next FINE_BUCKETS buckets in lists by bucket (`fine`), all later ones
in lists by FINE_BUCKETS buckets (`coarse`). So an event is moved three times at most, however
many are pending, where one heap would move it along log2 of their number.

Source: R. Brown, "Calendar queues", CACM 31 (1988) 1220-1227; two levels as in G. Varghese and
T. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987.
"""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster_sim.compiled_engine.layout import NOBODY, Record, Records
from doorbuster_sim.compiled_engine.places import (
    coarse_of,
    event_at,
    fine_of,
    lane_at,
    lane_of,
    near_of,
)

FINE_BITS = 10
FINE_BUCKETS = 1 << FINE_BITS
_FINE_MASK = FINE_BUCKETS - 1
NEVER_NS = (1 << 63) - 1

TO_SHOP, TO_VISITOR = 0, 1
LANE_COUNT = 2
"""The lanes, used where the network time is constant."""


@inlined
def is_before(time_ns: int, order: int, other_time_ns: int, other_order: int) -> bool:
    """Whether an event happens before another one."""
    return time_ns < other_time_ns or (time_ns == other_time_ns and order < other_order)


@inlined
def _write(entry: Record, time_ns: int, order: int, payload: int) -> None:
    entry["time_ns"] = time_ns
    entry["order"] = order
    entry["payload"] = payload


@inlined
def _rise(near: Records, count: int, time_ns: int, order: int, payload: int) -> None:
    """Put an event at the end of the heap and let it rise to its place."""
    place = count
    while place > 0:
        parent = (place - 1) >> 1
        above = near[parent]
        if not is_before(time_ns, order, above["time_ns"], above["order"]):
            break
        near[place] = above
        place = parent
    _write(near[place], time_ns, order, payload)


@inlined
def _sink(near: Records, count: int) -> None:
    """Fill the gap at the top of a heap with its last event, which stands at `count`."""
    last = near[count]
    time_ns, order, payload = last["time_ns"], last["order"], last["payload"]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        entry = near[child]
        if child + 1 < count:
            other = near[child + 1]
            if is_before(other["time_ns"], other["order"], entry["time_ns"], entry["order"]):
                child += 1
                entry = other
        if not is_before(entry["time_ns"], entry["order"], time_ns, order):
            break
        near[place] = entry
        place = child
    _write(near[place], time_ns, order, payload)


@inlined
def pop_near(world: Record) -> int:
    """Take the first event of the current bucket off; returns its payload."""
    near = near_of(world)
    payload = near[0]["payload"]
    world["near_count"] -= 1
    if world["near_count"] > 0:
        _sink(near, world["near_count"])
    return payload


@inlined
def _push_near(world: Record, time_ns: int, order: int, payload: int) -> None:
    _rise(near_of(world), world["near_count"], time_ns, order, payload)
    world["near_count"] += 1


@inlined
def push(world: Record, time_ns: int, order: int, payload: int) -> None:
    """Note an event; one after the end of the sale is forgotten at once."""
    if time_ns >= world["end_ns"]:
        return
    bucket = (time_ns - world["start_ns"]) >> world["bucket_bits"]
    if bucket <= world["bucket"]:
        _push_near(world, time_ns, order, payload)
        return
    event = world["events_free"]
    if event == NOBODY:
        event = world["events_used"]
        world["events_used"] += 1
    else:
        world["events_free"] = event_at(world, event)["next"]
    entry = event_at(world, event)
    _write(entry, time_ns, order, payload)
    if bucket >> FINE_BITS == world["bucket"] >> FINE_BITS:
        entry["next"] = fine_of(world)[bucket & _FINE_MASK]
        fine_of(world)[bucket & _FINE_MASK] = event
        world["fine_count"] += 1
    else:
        entry["next"] = coarse_of(world)[bucket >> FINE_BITS]
        coarse_of(world)[bucket >> FINE_BITS] = event
        world["later_count"] += 1


@compilable
def _open_coarse(world: Record) -> None:
    """Spread the events of the stretch that now begins over its buckets."""
    fine = fine_of(world)
    stretch = world["bucket"] >> FINE_BITS
    event = coarse_of(world)[stretch]
    coarse_of(world)[stretch] = NOBODY
    while event != NOBODY:
        entry = event_at(world, event)
        following = entry["next"]
        bucket = ((entry["time_ns"] - world["start_ns"]) >> world["bucket_bits"]) & _FINE_MASK
        entry["next"] = fine[bucket]
        fine[bucket] = event
        world["fine_count"] += 1
        world["later_count"] -= 1
        event = following


@compilable
def _open_fine(world: Record) -> None:
    """Move the events of the current bucket into the heap."""
    bucket = world["bucket"] & _FINE_MASK
    event = fine_of(world)[bucket]
    fine_of(world)[bucket] = NOBODY
    while event != NOBODY:
        entry = event_at(world, event)
        following = entry["next"]
        _push_near(world, entry["time_ns"], entry["order"], entry["payload"])
        entry["next"] = world["events_free"]
        world["events_free"] = event
        world["fine_count"] -= 1
        event = following


@compilable
def advance(world: Record, limit_ns: int) -> None:
    """Open buckets until one holds an event, but none that begins after `limit_ns`."""
    limit_ns = min(limit_ns, world["end_ns"])
    last = (limit_ns - world["start_ns"]) >> world["bucket_bits"]
    while world["near_count"] == 0 and world["bucket"] < last:
        if world["fine_count"] == 0:
            if world["later_count"] == 0:
                world["bucket"] = last
                return
            # Nothing left in this stretch: go to its last bucket.
            world["bucket"] = min(last, world["bucket"] | _FINE_MASK)
            if world["bucket"] == last:
                return
        world["bucket"] += 1
        if world["bucket"] & _FINE_MASK == 0:
            _open_coarse(world)
        _open_fine(world)


@inlined
def push_lane(world: Record, lane: int, time_ns: int, order: int, payload: int) -> None:
    """Note an event that is due no sooner than all others of its lane."""
    if time_ns >= world["end_ns"]:
        return
    ends, ring = lane_at(world, lane), lane_of(world, lane)
    mask = world["requests_room"] - 1
    first, count = ends["first"], ends["count"]
    place = first + count
    while place > first:
        before = ring[(place - 1) & mask]
        if is_before(before["time_ns"], before["order"], time_ns, order):
            break
        ring[place & mask] = before
        place -= 1
    _write(ring[place & mask], time_ns, order, payload)
    ends["count"] = count + 1


@inlined
def pop_lane(world: Record, lane: int) -> int:
    """Take the first event of a lane off; returns its payload."""
    ends, ring = lane_at(world, lane), lane_of(world, lane)
    payload = ring[ends["first"] & (world["requests_room"] - 1)]["payload"]
    ends["first"] += 1
    ends["count"] -= 1
    return payload


def bucket_bits_for(events_per_s: float, span_ns: int) -> int:
    """Width of a bucket as a power of two in nanoseconds: some 8 events at the busiest time.

    Bounded so that the coarse level has 2**20 stretches at most.
    """
    width_ns = 8e9 / max(events_per_s, 1e-9)
    bits = max(int(width_ns).bit_length() - 1, 4)
    while span_ns >> (bits + FINE_BITS) >= 1 << 20:
        bits += 1
    return min(bits, 40)


__all__ = [
    "FINE_BITS",
    "FINE_BUCKETS",
    "LANE_COUNT",
    "NEVER_NS",
    "TO_SHOP",
    "TO_VISITOR",
    "advance",
    "bucket_bits_for",
    "is_before",
    "pop_lane",
    "pop_near",
    "push",
    "push_lane",
]
