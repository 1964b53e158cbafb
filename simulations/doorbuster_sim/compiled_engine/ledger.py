"""The stock ledger: every unit is available, locked or sold, at every moment."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.vocabulary import Action, Reply
from doorbuster_sim.compiled_engine.accounts import change_holding, held_units
from doorbuster_sim.compiled_engine.bundles import keep_away, level, move, note_orders
from doorbuster_sim.compiled_engine.coupons import (
    give_coupon_back,
    is_coupon_left,
    redeem_coupon,
    take_coupon,
)
from doorbuster_sim.compiled_engine.keeping import release, take_reservation
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.locks import add_lock
from doorbuster_sim.compiled_engine.orders import (
    CANCELLED,
    CART,
    LOCKED,
    OPEN,
    PAID,
    RELEASED,
    has_lapsed,
)
from doorbuster_sim.compiled_engine.places import item_at, reservation_at, visit_at
from doorbuster_sim.compiled_engine.taking import lock_units, put_on_shelf, take_units
from doorbuster_sim.coupon import NO_COUPON
from doorbuster_sim.late_payment import RECHECK_STOCK
from doorbuster_sim.lock_time import lock_span_ns
from doorbuster_sim.strategies import CONDITIONAL_UPDATE, OVERTAKEN, STALE_EXPIRY, UNGUARDED_RELEASE
from doorbuster_sim.tables import ABSENT_NS

AGAIN = -1
"""Instead of a reply: the request passes its last station once more."""
_OK, _LIMITED, _SOLD_OUT = int(Reply.OK), int(Reply.LIMITED), int(Reply.SOLD_OUT)
_EXPIRED, _ERROR = int(Reply.EXPIRED), int(Reply.ERROR)
_PAY, _CART = int(Action.PAY), int(Action.CART)


@compilable
def reserve(
    model: Record, world: Record, visit: int, attempt: int, seen: int, coupon_seen: int
) -> int:
    """Lock what a visit wants: OK, LIMITED, SOLD_OUT or AGAIN.

    Where payments lock, it is enough that the units are there; where carts do, it is a cart.

    seen, coupon_seen: what the request's look told, under a strategy that looks before, and about
    a coupon that is counted by a look.
    """
    buyer = visit_at(world, visit)
    units, stock = buyer["quantity"], item_at(world, buyer["item"])
    if not within_purchase_limit(held_units(world, visit), units, stock["limit"]):
        return _LIMITED
    bucket = 0
    if model["locking_step"] == _PAY:
        if level(world, buyer["item"]) < units:
            return _SOLD_OUT
    elif model["strategy"] == CONDITIONAL_UPDATE:
        if level(world, buyer["item"]) < units:
            return _SOLD_OUT
        move(world, buyer["item"], -units, units, 0)
    else:
        bucket = take_units(model, world, visit, seen)
        if bucket < 0:
            return AGAIN if bucket == OVERTAKEN else _SOLD_OUT
    change_holding(world, visit, units)
    reservation = take_reservation(world)
    entry = reservation_at(world, reservation)
    span_ns = lock_span_ns(
        model["lock_ns"], model["jitter_ns"], model["system_seed"], buyer["visitor"], attempt
    )
    entry["lapses_ns"] = world["now_ns"] + span_ns
    entry["expires_ns"] = entry["lapses_ns"]
    entry["reserved_ns"] = world["now_ns"]
    entry["released_ns"] = ABSENT_NS
    entry["sold_ns"] = ABSENT_NS
    entry["refund_asked_ns"] = ABSENT_NS
    entry["returned_ns"] = ABSENT_NS
    entry["paid_out_ns"] = ABSENT_NS
    entry["next"] = buyer["reservation"]
    entry["visit"] = visit
    entry["item"] = buyer["item"]
    entry["units"] = units
    entry["attempt"] = attempt
    entry["state"] = LOCKED
    if model["locking_step"] == _PAY:
        entry["state"] = OPEN
    elif model["locking_step"] == _CART:
        entry["state"] = CART
    entry["payments_in_flight"] = 0
    entry["captures"] = 0
    entry["bucket"] = bucket
    entry["is_copied"] = 0
    entry["discount_cents"] = 0
    if model["coupon"] != NO_COUPON:
        entry["discount_cents"] = redeem_coupon(model, world, visit, coupon_seen)
    buyer["reservation"] = reservation
    buyer["references"] += 1
    add_lock(model, world, reservation)
    return _OK


@compilable
def _lock_again(model: Record, world: Record, reservation: int) -> bool:
    """Take the units of a released order once more, if the shop does and they are free."""
    entry = reservation_at(world, reservation)
    visit, units, stock = entry["visit"], entry["units"], item_at(world, entry["item"])
    if model["late_payment"] != RECHECK_STOCK:
        return False
    if not within_purchase_limit(held_units(world, visit), units, stock["limit"]):
        return False
    if entry["discount_cents"] and not is_coupon_left(model, world, visit):
        return False
    if not lock_units(model, world, reservation):
        return False
    change_holding(world, visit, units)
    if entry["discount_cents"]:
        take_coupon(model, world, visit)
    return True


@compilable
def order_cart(world: Record, cart: int) -> int:
    """Make an order of a cart: OK, also when it is one already, or EXPIRED. No unit moves."""
    entry = reservation_at(world, cart)
    if entry["state"] in (RELEASED, CANCELLED):
        return _EXPIRED
    if entry["state"] == CART:
        if has_lapsed(world, cart, world["now_ns"]):
            return _EXPIRED
        entry["state"] = LOCKED
    return _OK


@compilable
def lock_for_payment(model: Record, world: Record, reservation: int) -> bool:
    """Take the units of an open order; where there are too few, the order is gone."""
    if reservation_at(world, reservation)["state"] != OPEN:
        return True
    if lock_units(model, world, reservation):
        return True
    give_back(model, world, reservation)
    return False


@compilable
def unlock_unpaid(model: Record, world: Record, reservation: int) -> None:
    """The attempt to pay has failed: what it has locked is for sale again."""
    if model["locking_step"] != _PAY:
        return
    entry = reservation_at(world, reservation)
    move(world, entry["item"], entry["units"], -entry["units"], 0)
    put_on_shelf(model, world, reservation)
    entry["state"] = OPEN


@compilable
def settle(model: Record, world: Record, reservation: int) -> bool:
    """The provider has taken the money: sell the units; False when it must go back."""
    entry = reservation_at(world, reservation)
    if entry["state"] == RELEASED and model["strategy"] != UNGUARDED_RELEASE:
        if world["are_locks_extended"] and model["strategy"] != STALE_EXPIRY:
            world["is_broken"] = 1
        if not _lock_again(model, world, reservation):
            return False
    if entry["state"] == LOCKED:
        move(world, entry["item"], 0, -entry["units"], entry["units"])
    else:
        # Nobody takes the units from the shelf, to which the sweep has returned them.
        move(world, entry["item"], 0, 0, entry["units"])
        change_holding(world, entry["visit"], entry["units"])
    entry["state"] = PAID
    entry["sold_ns"] = world["now_ns"]
    note_orders(world, entry["item"], 1, entry["units"])
    world["discount_cents"] += entry["discount_cents"]
    keep_money(world, reservation)
    return True


@inlined
def keep_money(world: Record, reservation: int) -> None:
    """The provider has taken the money for a reservation, and nobody gives it back."""
    entry = reservation_at(world, reservation)
    entry["captures"] += 1
    world["captured_count"] += 1
    list_cents = entry["units"] * item_at(world, entry["item"])["price_cents"]
    world["captured_cents"] += list_cents - entry["discount_cents"]
    world["captured_twice_count"] += 1 if entry["captures"] == 2 else 0  # noqa: PLR2004
    world["captured_late_count"] += 1 if entry["state"] != PAID else 0


@compilable
def forget(model: Record, world: Record, reservation: int) -> None:
    """Release a reservation whose time is over, unless it was paid; its visit may then go."""
    entry = reservation_at(world, reservation)
    if entry["state"] in (LOCKED, OPEN, CART):
        give_back(model, world, reservation)
    release(world, entry["visit"])


@compilable
def cancel(model: Record, world: Record, reservation: int) -> int:
    """On behalf of the buyer: OK, also when it is cancelled already, or why not."""
    entry = reservation_at(world, reservation)
    if entry["state"] == CANCELLED:
        return _OK
    if entry["state"] == RELEASED:
        return _EXPIRED
    if entry["state"] == PAID or entry["payments_in_flight"] > 0:
        # Paid, or about to be: the shop refuses with a 409.
        return _ERROR
    give_back(model, world, reservation)
    entry["state"] = CANCELLED
    return _OK


@compilable
def take_back(model: Record, world: Record, reservation: int) -> None:
    """A paid order is refunded: what was not sent is for sale again."""
    entry = reservation_at(world, reservation)
    stock, units = item_at(world, entry["item"]), entry["units"]
    note_orders(world, entry["item"], -1, -units)
    stock["refunds"] += 1
    world["discount_cents"] -= entry["discount_cents"]
    entry["refund_asked_ns"] = world["now_ns"]
    if not model["refund_returns"]:
        keep_away(world, entry["item"], units)
        return
    move(world, entry["item"], units, 0, -units)
    change_holding(world, entry["visit"], -units)
    entry["returned_ns"] = world["now_ns"]
    put_on_shelf(model, world, reservation)


@compilable
def give_back(model: Record, world: Record, reservation: int) -> None:
    """Put the units of an order back on the shelf, if it holds any."""
    entry = reservation_at(world, reservation)
    units, holds_units = entry["units"], entry["state"] != OPEN
    if entry["state"] == PAID:
        move(world, entry["item"], units, 0, -units)
        note_orders(world, entry["item"], -1, -units)
        world["captured_late_count"] += entry["captures"]
    elif holds_units:
        move(world, entry["item"], units, -units, 0)
    entry["state"] = RELEASED
    entry["released_ns"] = world["now_ns"]
    change_holding(world, entry["visit"], -entry["units"])
    if entry["discount_cents"]:
        give_coupon_back(world, entry["visit"])
    if holds_units:
        put_on_shelf(model, world, reservation)
