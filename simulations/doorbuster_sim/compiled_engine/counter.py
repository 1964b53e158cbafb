"""What a request sees or takes before it waits for the last station of `reserve`."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.vocabulary import Reply
from doorbuster_sim.compiled_engine.accounts import held_units
from doorbuster_sim.compiled_engine.bundles import count, counted, level, version
from doorbuster_sim.compiled_engine.coupons import look_at_coupon
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.places import item_at, request_at, visit_at
from doorbuster_sim.strategies import (
    CHECK_THEN_WRITE,
    OPTIMISTIC,
    PREDEDUCT,
    PREDEDUCT_WITHOUT_RETURN,
    optimistic,
    prededuct,
    prededuct_without_return,
)

GOES_ON = -1
"""Instead of a reply: the request waits for its station."""
_NOT_OPEN, _LIMITED, _SOLD_OUT = int(Reply.NOT_OPEN), int(Reply.LIMITED), int(Reply.SOLD_OUT)


@compilable
def look(model: Record, world: Record, request: int, is_known: bool) -> int:
    """Note what the stock decision will need; GOES_ON, or the reply of who is not let in.

    is_known: the reservation is made already.
    """
    entry = request_at(world, request)
    buyer = visit_at(world, entry["visit"])
    stock, units = item_at(world, buyer["item"]), buyer["quantity"]
    entry["coupon_seen"] = look_at_coupon(model, world, entry["visit"])
    if not model["looks_before"]:
        return GOES_ON
    if model["strategy"] == CHECK_THEN_WRITE:
        entry["seen"] = level(world, buyer["item"])
    elif _is_let_in(model, world, buyer["item"], units):
        if model["strategy"] == OPTIMISTIC:
            entry["seen"] = version(world, buyer["item"])
        else:
            count(world, buyer["item"], -units)
            entry["seen"] = units
    elif not is_known:
        if world["now_ns"] < 0:
            return _NOT_OPEN
        held = held_units(world, entry["visit"])
        return _SOLD_OUT if within_purchase_limit(held, units, stock["limit"]) else _LIMITED
    return GOES_ON


@inlined
def _is_let_in(model: Record, world: Record, item: int, units: int) -> bool:
    """Whether there is enough: by the look at the row, or at the counter."""
    if model["strategy"] == OPTIMISTIC:
        return optimistic.has_enough(level(world, item), units)
    return prededuct.is_let_in(counted(world, item), units)


@compilable
def is_in_vain(model: Record, world: Record, request: int, is_known: bool) -> bool:
    """Whether a request that gets its last server now cannot be fulfilled by what it has seen."""
    if not model["looks_before"] or model["strategy"] != OPTIMISTIC or is_known:
        return False
    entry = request_at(world, request)
    now = version(world, visit_at(world, entry["visit"])["item"])
    return optimistic.is_overtaken(entry["seen"], now)


@compilable
def refuse(model: Record, world: Record, request: int) -> None:
    """A request that had looked is refused: what it took goes back, or does not."""
    taken = request_at(world, request)["seen"]
    if model["strategy"] == PREDEDUCT:
        return_units(world, request, prededuct.given_back(taken))
    elif model["strategy"] == PREDEDUCT_WITHOUT_RETURN:
        return_units(world, request, prededuct_without_return.given_back(taken))


@compilable
def know_again(model: Record, world: Record, request: int) -> None:
    """The reservation was made by an earlier request: this one needs no units."""
    if model["strategy"] in (PREDEDUCT, PREDEDUCT_WITHOUT_RETURN):
        return_units(world, request, request_at(world, request)["seen"])


@compilable
def return_units(world: Record, request: int, units: int) -> None:
    """Give units back to the counter of the item, or of the lines of its bundle."""
    buyer = visit_at(world, request_at(world, request)["visit"])
    count(world, buyer["item"], units)


@compilable
def reconcile(model: Record, world: Record) -> None:
    """The end of a sweep: the counters may be compared with the levels."""
    if model["strategy"] == PREDEDUCT:
        for item in range(world["items_room"]):
            stock = item_at(world, item)
            stock["counter"] = prededuct.reconciled(stock["counter"], stock["available"])
    elif model["strategy"] == PREDEDUCT_WITHOUT_RETURN:
        for item in range(world["items_room"]):
            stock = item_at(world, item)
            level = stock["available"]
            stock["counter"] = prededuct_without_return.reconciled(stock["counter"], level)
