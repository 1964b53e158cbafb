"""The desk that gives money back to who has paid."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.ledger import take_back
from doorbuster_sim.compiled_engine.orders import (
    CART,
    LOCKED,
    OPEN,
    PAID,
    REFUNDED,
    REFUNDING,
    find_reservation,
)
from doorbuster_sim.compiled_engine.places import (
    item_at,
    request_at,
    reservation_at,
    stretches_at,
    times_of,
)
from doorbuster_sim.faults import put_off
from doorbuster_sim.refund import MARK_ONLY, NO_REFUND, payout_delay_ns

_OK, _EXPIRED, _ERROR = int(Reply.OK), int(Reply.EXPIRED), int(Reply.ERROR)


@compilable
def refund(model: Record, world: Record, request: int) -> int:
    """On behalf of a buyer who has paid: OK, also when it was granted before, or why not."""
    entry = request_at(world, request)
    reservation = find_reservation(world, entry["visit"], entry["reserving_attempt"])
    if reservation == NOBODY:
        return _EXPIRED
    state = reservation_at(world, reservation)["state"]
    if state in (REFUNDING, REFUNDED):
        return _OK
    if state in (LOCKED, OPEN, CART) or model["refund"] == NO_REFUND:
        # Not paid yet: the shop refuses with a 409.
        return _ERROR
    if state != PAID:
        return _EXPIRED
    take_back(model, world, reservation)
    _pay_out(model, world, reservation, entry["visitor"])
    return _OK


@compilable
def _pay_out(model: Record, world: Record, reservation: int, visitor: int) -> None:
    """See to it that the money of an order goes back, and count it as it will be at the end."""
    order = reservation_at(world, reservation)
    if model["refund"] == MARK_ONLY:
        order["state"] = REFUNDED
        world["captured_late_count"] += order["captures"]
        return
    delay_ns = payout_delay_ns(
        times_of(model), model["refund_row"], model["system_seed"], visitor, order["attempt"]
    )
    order["paid_out_ns"] = put_off(stretches_at(model["apart"]), world["now_ns"] + delay_ns)
    list_cents = order["units"] * item_at(world, order["item"])["price_cents"]
    cents = list_cents - order["discount_cents"]
    if order["paid_out_ns"] < world["end_ns"]:
        order["state"] = REFUNDED
        world["captured_count"] -= order["captures"]
        world["captured_cents"] -= cents * order["captures"]
    else:
        order["state"] = REFUNDING
        world["refunds_open"] += order["captures"]
        world["refunds_open_cents"] += cents * order["captures"]
