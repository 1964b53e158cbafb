"""What a fault strikes down, and what stands again when it is over."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.answers import answer
from doorbuster_sim.compiled_engine.counter import refuse
from doorbuster_sim.compiled_engine.layout import IS_SERVED, NOBODY, OUTSIDE, Record
from doorbuster_sim.compiled_engine.payments import find_payment
from doorbuster_sim.compiled_engine.places import payment_at, pool_at, request_at, step_at
from doorbuster_sim.compiled_engine.shop import service_ends, start_first

_ERROR, _OVERLOADED = int(Reply.ERROR), int(Reply.OVERLOADED)
_AWAY = 1 << 40
"""A station that restarts has so many servers and places less than none: it refuses everybody."""


@compilable
def kill_shop(model: Record, world: Record) -> None:
    """Every connection breaks, at a station or waiting for the provider."""
    for pool in range(world["pools_room"]):
        _empty(world, pool)
    for request in range(world["requests_used"]):
        entry = request_at(world, request)
        if entry["visitor"] == NOBODY:
            continue
        if entry["awaits_payment"]:
            payment = find_payment(world, entry["visit"], entry["logical_attempt"])
            payment_at(world, payment)["first_waiting"] = NOBODY
            entry["awaits_payment"] = 0
            answer(model, world, request, _ERROR)
        elif entry["place"] != OUTSIDE:
            _strike(model, world, request)
            answer(model, world, request, _ERROR)
    world["is_dead"] = 1


@compilable
def restore_shop(world: Record) -> None:
    """The shop runs again."""
    world["is_dead"] = 0


@compilable
def lose_servers(model: Record, world: Record, first: int, end: int) -> None:
    """Each of some pools loses a server, with the request that was begun last if all are busy."""
    for pool in range(first, end):
        line = pool_at(world, pool)
        if line["present"] >= line["servers"] > 0:
            request = _begun_last(world, pool)
            _strike(model, world, request)
            line["present"] -= 1
            answer(model, world, request, _ERROR)
        line["servers"] -= 1


@compilable
def _begun_last(world: Record, pool: int) -> int:
    """The request of a pool that was begun last, of several the one with the highest name."""
    last = NOBODY
    for request in range(world["requests_used"]):
        entry = request_at(world, request)
        if entry["visitor"] == NOBODY or entry["place"] != IS_SERVED or entry["pool"] != pool:
            continue
        if last == NOBODY or _name(world, last) < _name(world, request):
            last = request
    return last


@inlined
def _name(world: Record, request: int) -> tuple[int, int, int]:
    entry = request_at(world, request)
    return entry["begun_ns"], entry["visitor"], entry["number"]


@compilable
def regain_servers(model: Record, world: Record, first: int, end: int) -> None:
    """Each of some pools has its server again."""
    for pool in range(first, end):
        pool_at(world, pool)["servers"] += 1
        start_first(model, world, pool)


@compilable
def restart_station(model: Record, world: Record, first: int, end: int) -> None:
    """Whoever is inside some pools is told that they are overloaded, and whoever comes."""
    for pool in range(first, end):
        _empty(world, pool)
        pool_at(world, pool)["servers"] -= _AWAY
        pool_at(world, pool)["queue_limit"] -= _AWAY
    for request in range(world["requests_used"]):
        entry = request_at(world, request)
        if entry["visitor"] == NOBODY or entry["place"] == OUTSIDE:
            continue
        if first <= entry["pool"] < end:
            _strike(model, world, request)
            if entry["passage"] == step_at(model, entry["action"])["look_passage"]:
                refuse(model, world, request)
            answer(model, world, request, _OVERLOADED)


@compilable
def resume_station(world: Record, first: int, end: int) -> None:
    """All is well again."""
    for pool in range(first, end):
        pool_at(world, pool)["servers"] += _AWAY
        pool_at(world, pool)["queue_limit"] += _AWAY


@inlined
def _empty(world: Record, pool: int) -> None:
    line = pool_at(world, pool)
    line["present"] = 0
    line["first_waiting"] = NOBODY


@inlined
def _strike(model: Record, world: Record, request: int) -> None:
    """A request leaves its station unserved, and with it the busy time that it no longer takes."""
    entry = request_at(world, request)
    if entry["place"] == IS_SERVED:
        until_ns = min(service_ends(model, world, request), world["end_ns"])
        pool_at(world, entry["pool"])["busy_ns"] -= until_ns - world["now_ns"]
    entry["place"] = OUTSIDE
