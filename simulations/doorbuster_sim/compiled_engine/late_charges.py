"""`query_before_cancel`: a sweep has the charges closed whose locks are past their time.

Only where shop and provider can speak to each other: else these keep their locks.
"""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.counter import reconcile
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.ledger import forget
from doorbuster_sim.compiled_engine.payments import answer_waiting, hear_outcome
from doorbuster_sim.compiled_engine.places import (
    held_locks_of,
    payment_at,
    reservation_at,
    stretches_at,
    visit_at,
)
from doorbuster_sim.compiled_engine.sweeping import release_lapsed
from doorbuster_sim.faults import put_off
from doorbuster_sim.late_payment import QUERY_BEFORE_CANCEL

_PENDING, _EXPIRED = int(Reply.PENDING), int(Reply.EXPIRED)


@compilable
def sweep(model: Record, world: Record) -> None:
    """Release every lapsed reservation, those too whose charges can be closed."""
    release_lapsed(model, world)
    if model["late_payment"] != QUERY_BEFORE_CANCEL or world["held_lock_count"] == 0:
        return
    now_ns = world["now_ns"]
    if put_off(stretches_at(model["apart"]), now_ns) == now_ns:
        _release_held(model, world)


@compilable
def _release_held(model: Record, world: Record) -> None:
    """End the charge of every lock that a payment holds, and release what it has not sold."""
    for index in range(world["held_lock_count"]):
        reservation = held_locks_of(world)[index]
        _end_charge(model, world, reservation)
        forget(model, world, reservation)
    world["held_lock_count"] = 0
    reconcile(model, world)


@compilable
def _end_charge(model: Record, world: Record, reservation: int) -> None:
    """What the provider has decided while the shop was away counts; else it will not decide."""
    entry = reservation_at(world, reservation)
    payment = visit_at(world, entry["visit"])["payment"]
    while not _is_open(world, payment, reservation):
        payment = payment_at(world, payment)["next"]
    owed = payment_at(world, payment)
    if not owed["is_unheard"] and owed["known_ns"] < world["now_ns"]:
        hear_outcome(model, world, payment)
        return
    owed["reply"] = _EXPIRED
    owed["approved"] = 0
    owed["is_told"] = 1
    owed["decided_ns"] = world["now_ns"]
    entry["payments_in_flight"] -= 1
    answer_waiting(model, world, payment)


@compilable
def _is_open(world: Record, payment: int, reservation: int) -> bool:
    owed = payment_at(world, payment)
    return owed["reservation"] == reservation and owed["reply"] == _PENDING
