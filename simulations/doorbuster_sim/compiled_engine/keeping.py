"""Takes records into use and gives them back; a visit goes when nothing refers to it any more."""

from __future__ import annotations

from doorbuster.compiling import inlined
from doorbuster_sim.compiled_engine.accounts import is_own_account
from doorbuster_sim.compiled_engine.bookkeeping import write_books
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.places import (
    item_at,
    payment_at,
    request_at,
    reservation_at,
    visit_at,
)


@inlined
def take_visit(world: Record) -> int:
    """A visit record, with the content of its last user."""
    world["visits_live"] += 1
    visit = world["visits_free"]
    if visit == NOBODY:
        visit = world["visits_used"]
        world["visits_used"] += 1
    else:
        world["visits_free"] = visit_at(world, visit)["next"]
    return visit


@inlined
def take_request(world: Record) -> int:
    """A request record, with the content of its last user."""
    world["requests_live"] += 1
    request = world["requests_free"]
    if request == NOBODY:
        request = world["requests_used"]
        world["requests_used"] += 1
    else:
        world["requests_free"] = request_at(world, request)["next"]
    return request


@inlined
def take_reservation(world: Record) -> int:
    """A reservation record, with the content of its last user."""
    world["reservations_live"] += 1
    reservation = world["reservations_free"]
    if reservation == NOBODY:
        reservation = world["reservations_used"]
        world["reservations_used"] += 1
    else:
        world["reservations_free"] = reservation_at(world, reservation)["next"]
    return reservation


@inlined
def take_payment(world: Record) -> int:
    """A payment record, with the content of its last user."""
    world["payments_live"] += 1
    payment = world["payments_free"]
    if payment == NOBODY:
        payment = world["payments_used"]
        world["payments_used"] += 1
    else:
        world["payments_free"] = payment_at(world, payment)["next"]
    return payment


@inlined
def drop_request(world: Record, request: int) -> None:
    """Give a request record back."""
    entry = request_at(world, request)
    entry["visitor"] = NOBODY
    entry["awaits_payment"] = 0
    entry["next"] = world["requests_free"]
    world["requests_free"] = request
    world["requests_live"] -= 1


@inlined
def release(world: Record, visit: int) -> None:
    """One reference less; the last one takes the visit's record and all that hangs on it."""
    entry = visit_at(world, visit)
    entry["references"] -= 1
    if entry["references"] > 0:
        return
    note_holding(world, visit)
    reservation = entry["reservation"]
    if reservation != NOBODY:
        write_books(world, visit)
    while reservation != NOBODY:
        following = reservation_at(world, reservation)["next"]
        reservation_at(world, reservation)["next"] = world["reservations_free"]
        world["reservations_free"] = reservation
        world["reservations_live"] -= 1
        reservation = following
    payment = entry["payment"]
    while payment != NOBODY:
        following = payment_at(world, payment)["next"]
        payment_at(world, payment)["next"] = world["payments_free"]
        world["payments_free"] = payment
        world["payments_live"] -= 1
        payment = following
    entry["visitor"] = NOBODY
    entry["next"] = world["visits_free"]
    world["visits_free"] = visit
    world["visits_live"] -= 1


@inlined
def note_holding(world: Record, visit: int) -> None:
    """What an account of one visitor holds in the end, for the audit's highest number."""
    entry = visit_at(world, visit)
    if is_own_account(entry["account"]):
        item = item_at(world, entry["item"])
        item["max_own_units"] = max(item["max_own_units"], entry["own_units"])
