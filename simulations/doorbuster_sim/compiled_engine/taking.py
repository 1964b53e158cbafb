"""How a strategy takes units from the shelf and puts them back."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster_sim.compiled_engine.bundles import count, counted, level, move, version
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.orders import LOCKED
from doorbuster_sim.compiled_engine.places import buckets_of, item_at, reservation_at, visit_at
from doorbuster_sim.strategies import (
    BUCKETS,
    CHECK_THEN_WRITE,
    OPTIMISTIC,
    OVERTAKEN,
    PREDEDUCT,
    SCATTERED_BUCKETS,
    STUCK_SOLD_OUT,
    TOO_FEW,
    buckets,
    check_then_write,
    conditional_update,
    optimistic,
    prededuct,
    stuck_sold_out,
)


@compilable
def take_units(model: Record, world: Record, visit: int, seen: int) -> int:
    """Move units to locked as the strategy says: the bucket they came from, or why not."""
    strategy, buyer = model["strategy"], visit_at(world, visit)
    units, item = buyer["quantity"], buyer["item"]
    stock = item_at(world, item)
    shelf = level(world, item)
    if strategy == CHECK_THEN_WRITE:
        if not check_then_write.has_enough(seen, units):
            return TOO_FEW
        move(world, item, check_then_write.written_level(seen, units) - shelf, units, 0)
        return 0
    if strategy in (BUCKETS, SCATTERED_BUCKETS):
        return _take_from_bucket(model, world, visit)
    if strategy == OPTIMISTIC and optimistic.is_overtaken(seen, version(world, item)):
        return OVERTAKEN
    if strategy == STUCK_SOLD_OUT and not stuck_sold_out.has_enough(
        stock["is_flagged"], shelf, units
    ):
        stock["is_flagged"] = 1
        return TOO_FEW
    if not conditional_update.has_enough(shelf, units):
        return TOO_FEW
    move(world, item, -units, units, 0)
    return 0


@compilable
def _take_from_bucket(model: Record, world: Record, visit: int) -> int:
    """Look around from one's own bucket on."""
    buyer = visit_at(world, visit)
    units, levels = buyer["quantity"], buckets_of(world, buyer["item"])
    own = buckets.own_bucket(buyer["account"])
    bucket = buckets.bucket_with(levels, own, units)
    if bucket == buckets.NO_BUCKET and model["strategy"] == BUCKETS:
        bucket = buckets.gather(levels, own, units)
    if bucket == buckets.NO_BUCKET:
        return TOO_FEW
    levels[bucket] -= units
    move(world, buyer["item"], -units, units, 0)
    return bucket


@compilable
def lock_units(model: Record, world: Record, reservation: int) -> bool:
    """Take the units of an order that holds none, if there are enough."""
    entry = reservation_at(world, reservation)
    units, bucket = entry["units"], 0
    if model["strategy"] in (BUCKETS, SCATTERED_BUCKETS):
        bucket = _take_from_bucket(model, world, entry["visit"])
    elif conditional_update.has_enough(level(world, entry["item"]), units):
        move(world, entry["item"], -units, units, 0)
        # The database decides; the counter, which the next sweep puts right, follows.
        if model["strategy"] == PREDEDUCT and prededuct.is_let_in(
            counted(world, entry["item"]), units
        ):
            count(world, entry["item"], -units)
    else:
        bucket = TOO_FEW
    if bucket < 0:
        return False
    entry["state"] = LOCKED
    entry["bucket"] = bucket
    return True


@inlined
def put_on_shelf(model: Record, world: Record, reservation: int) -> None:
    """Where the units of an order lie that are available again."""
    entry = reservation_at(world, reservation)
    if model["strategy"] in (BUCKETS, SCATTERED_BUCKETS):
        buckets_of(world, entry["item"])[entry["bucket"]] += entry["units"]
    elif model["strategy"] == PREDEDUCT:
        count(world, entry["item"], entry["units"])
