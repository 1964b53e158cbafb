"""The coupon of a sale: how often it is redeemed, and by whom."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.rules.coupon import may_redeem
from doorbuster.visitor import brings_coupon
from doorbuster_sim.compiled_engine.accounts import change_coupons, held_coupons
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.places import behaviour_at, visit_at
from doorbuster_sim.coupon import (
    CHECK_THEN_WRITE,
    USED_UP,
    count_given_back,
    written_count,
)


@compilable
def is_coupon_left(model: Record, world: Record, visit: int) -> bool:
    """Whether one more order of the visit's account may carry the coupon."""
    uses = held_coupons(world, visit)
    redeemed, limit = world["coupons_redeemed"], model["coupon_limit"]
    return may_redeem(redeemed, limit, uses, model["coupons_per_account"])


@compilable
def look_at_coupon(model: Record, world: Record, visit: int) -> int:
    """The count before the last station, where it is believed later; or USED_UP."""
    if model["coupon"] != CHECK_THEN_WRITE or not is_coupon_left(model, world, visit):
        return USED_UP
    return world["coupons_redeemed"]


@compilable
def redeem_coupon(model: Record, world: Record, visit: int, seen: int) -> int:
    """For an order that has its units: what it costs less, in cents."""
    buyer = visit_at(world, visit)
    if not brings_coupon(behaviour_at(model), buyer["visitor"], buyer["persona"]):
        return 0
    if model["coupon"] == CHECK_THEN_WRITE:
        if seen == USED_UP:
            return 0
        _change(world, visit, 1)
        world["coupons_redeemed"] = written_count(seen)
        return model["coupon_off_cents"]
    if not is_coupon_left(model, world, visit):
        return 0
    return take_coupon(model, world, visit)


@compilable
def take_coupon(model: Record, world: Record, visit: int) -> int:
    """Redeem one that is left: likewise."""
    _change(world, visit, 1)
    world["coupons_redeemed"] += 1
    return model["coupon_off_cents"]


@compilable
def give_coupon_back(world: Record, visit: int) -> None:
    """An order that carried it has lapsed, or was cancelled."""
    _change(world, visit, -1)
    world["coupons_redeemed"] = count_given_back(world["coupons_redeemed"])


@inlined
def _change(world: Record, visit: int, orders: int) -> None:
    """So many more orders carry it."""
    change_coupons(world, visit, orders)
    world["coupons_held"] += orders
