"""Writes the orders and charges of a visit into the books, when the shop forgets the visit."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster_sim.books import CHARGE_STATES
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.places import (
    charge_row_at,
    order_row_at,
    payment_at,
    reservation_at,
    visit_at,
)
from doorbuster_sim.tables import ABSENT_NS

_PROCESSING, _CAPTURED, _REFUSED, _REFUNDED = range(len(CHARGE_STATES))


@compilable
def write_books(world: Record, visit: int) -> None:
    """One row each for the reservations and payments of a visit."""
    reservation = visit_at(world, visit)["reservation"]
    while reservation != NOBODY:
        _write_order(world, visit, reservation)
        reservation = reservation_at(world, reservation)["next"]
    payment = visit_at(world, visit)["payment"]
    while payment != NOBODY:
        if not payment_at(world, payment)["is_unheard"]:
            _write_charge(world, visit, payment)
        payment = payment_at(world, payment)["next"]


@compilable
def _write_order(world: Record, visit: int, reservation: int) -> None:
    buyer, lock = visit_at(world, visit), reservation_at(world, reservation)
    row = order_row_at(world, world["order_row_count"])
    row["visitor"] = buyer["visitor"]
    row["account"] = buyer["account"]
    row["reserved_ns"] = lock["reserved_ns"]
    row["expires_ns"] = lock["expires_ns"]
    row["released_ns"] = lock["released_ns"]
    row["sold_ns"] = lock["sold_ns"]
    row["attempt"] = lock["attempt"]
    row["item"] = lock["item"]
    row["quantity"] = lock["units"]
    row["state"] = lock["state"]
    row["discount_cents"] = lock["discount_cents"]
    row["refund_asked_ns"] = lock["refund_asked_ns"]
    row["returned_ns"] = lock["returned_ns"]
    world["order_row_count"] += 1


@compilable
def _write_charge(world: Record, visit: int, payment: int) -> None:
    owed = payment_at(world, payment)
    if owed["asked_ns"] >= world["end_ns"]:
        return
    lock = reservation_at(world, owed["reservation"])
    row = charge_row_at(world, world["charge_row_count"])
    row["visitor"] = visit_at(world, visit)["visitor"]
    row["asked_ns"] = owed["asked_ns"]
    row["decided_ns"] = ABSENT_NS
    row["captured_ns"] = ABSENT_NS
    row["refunded_ns"] = ABSENT_NS
    row["attempt"] = owed["attempt"]
    row["order_attempt"] = lock["attempt"]
    row["channel"] = owed["channel"]
    row["item"] = lock["item"]
    row["quantity"] = lock["units"]
    row["discount_cents"] = lock["discount_cents"]
    if not owed["is_told"]:
        row["state"] = _PROCESSING
    elif not owed["approved"]:
        # Refused, or closed before the provider had decided: either way it took no money.
        row["state"] = _REFUSED
        row["decided_ns"] = owed["decided_ns"]
    else:
        row["state"] = _REFUNDED if owed["is_refunded"] else _CAPTURED
        row["decided_ns"] = owed["decided_ns"]
        row["captured_ns"] = owed["decided_ns"]
        if owed["is_refunded"]:
            row["refunded_ns"] = owed["decided_ns"]
        elif ABSENT_NS < lock["paid_out_ns"] < world["end_ns"]:
            row["state"] = _REFUNDED
            row["refunded_ns"] = lock["paid_out_ns"]
    world["charge_row_count"] += 1
