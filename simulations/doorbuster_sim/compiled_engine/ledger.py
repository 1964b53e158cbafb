"""The stock ledger: every unit is available, locked or sold, at every moment."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster.rules.purchase_limit import within_purchase_limit
from doorbuster.vocabulary import Reply
from doorbuster_sim.books import ORDER_STATES
from doorbuster_sim.compiled_engine.accounts import change_holding, held_units
from doorbuster_sim.compiled_engine.bundles import (
    count,
    counted,
    keep_away,
    level,
    move,
    note_orders,
    version,
)
from doorbuster_sim.compiled_engine.counter import reconcile
from doorbuster_sim.compiled_engine.coupons import (
    give_coupon_back,
    is_coupon_left,
    redeem_coupon,
    take_coupon,
)
from doorbuster_sim.compiled_engine.keeping import release, take_reservation
from doorbuster_sim.compiled_engine.layout import NOBODY, Record
from doorbuster_sim.compiled_engine.locks import add_lock, first_lock, pass_first_lock
from doorbuster_sim.compiled_engine.places import (
    buckets_of,
    held_locks_of,
    item_at,
    locks_of,
    reservation_at,
    visit_at,
)
from doorbuster_sim.coupon import NO_COUPON
from doorbuster_sim.late_payment import RECHECK_STOCK
from doorbuster_sim.lock_time import lock_span_ns
from doorbuster_sim.strategies import (
    BUCKETS,
    CHECK_THEN_WRITE,
    CONDITIONAL_UPDATE,
    OPTIMISTIC,
    PREDEDUCT,
    SCATTERED_BUCKETS,
    STALE_EXPIRY,
    STUCK_SOLD_OUT,
    UNGUARDED_RELEASE,
    buckets,
    check_then_write,
    conditional_update,
    optimistic,
    prededuct,
    stale_expiry,
    stuck_sold_out,
    unguarded_release,
)
from doorbuster_sim.tables import ABSENT_NS

LOCKED, PAID, RELEASED, CANCELLED, REFUNDING, REFUNDED, OPEN = range(len(ORDER_STATES))
AGAIN = -1
"""Instead of a reply: the request passes its last station once more."""
_TOO_FEW, _AGAIN = -1, -2
_OK, _LIMITED, _SOLD_OUT = int(Reply.OK), int(Reply.LIMITED), int(Reply.SOLD_OUT)
_EXPIRED, _ERROR = int(Reply.EXPIRED), int(Reply.ERROR)


@compilable
def find_reservation(world: Record, visit: int, attempt: int) -> int:
    """The reservation that a logical attempt of a visit has made, or NOBODY."""
    reservation = visit_at(world, visit)["reservation"]
    while reservation != NOBODY and reservation_at(world, reservation)["attempt"] != attempt:
        reservation = reservation_at(world, reservation)["next"]
    return reservation


@compilable
def has_lapsed(world: Record, reservation: int, now_ns: int) -> bool:
    """Whether the lock is gone, or its time is over and no payment holds it."""
    entry = reservation_at(world, reservation)
    if entry["state"] in (LOCKED, OPEN):
        return now_ns >= entry["lapses_ns"] and not _is_held(world, reservation)
    return entry["state"] != PAID


@inlined
def _is_held(world: Record, reservation: int) -> bool:
    """Whether a payment in flight keeps a lock from lapsing."""
    is_paying = reservation_at(world, reservation)["payments_in_flight"] > 0
    return is_paying and world["are_locks_extended"] != 0


@compilable
def reserve(
    model: Record, world: Record, visit: int, attempt: int, seen: int, coupon_seen: int
) -> int:
    """Lock what a visit wants: OK, LIMITED, SOLD_OUT or AGAIN.

    Where payments lock, it is enough that the units are there.

    seen, coupon_seen: what the request's look told, under a strategy that looks before, and about
    a coupon that is counted by a look.
    """
    buyer = visit_at(world, visit)
    units, stock = buyer["quantity"], item_at(world, buyer["item"])
    if not within_purchase_limit(held_units(world, visit), units, stock["limit"]):
        return _LIMITED
    bucket = 0
    if model["locks_at_payment"]:
        if level(world, buyer["item"]) < units:
            return _SOLD_OUT
    elif model["strategy"] == CONDITIONAL_UPDATE:
        if level(world, buyer["item"]) < units:
            return _SOLD_OUT
        move(world, buyer["item"], -units, units, 0)
    else:
        bucket = _take(model, world, visit, seen)
        if bucket < 0:
            return AGAIN if bucket == _AGAIN else _SOLD_OUT
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
    entry["state"] = OPEN if model["locks_at_payment"] else LOCKED
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
def _take(model: Record, world: Record, visit: int, seen: int) -> int:
    """Move units to locked as the strategy says: the bucket they came from, or why not."""
    strategy, buyer = model["strategy"], visit_at(world, visit)
    units, item = buyer["quantity"], buyer["item"]
    stock = item_at(world, item)
    shelf = level(world, item)
    if strategy == CHECK_THEN_WRITE:
        if not check_then_write.has_enough(seen, units):
            return _TOO_FEW
        move(world, item, check_then_write.written_level(seen, units) - shelf, units, 0)
        return 0
    if strategy in (BUCKETS, SCATTERED_BUCKETS):
        return _take_from_bucket(model, world, visit)
    if strategy == OPTIMISTIC and optimistic.is_overtaken(seen, version(world, item)):
        return _AGAIN
    if strategy == STUCK_SOLD_OUT and not stuck_sold_out.has_enough(
        stock["is_flagged"], shelf, units
    ):
        stock["is_flagged"] = 1
        return _TOO_FEW
    if not conditional_update.has_enough(shelf, units):
        return _TOO_FEW
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
        return _TOO_FEW
    levels[bucket] -= units
    move(world, buyer["item"], -units, units, 0)
    return bucket


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
    if not _lock_units(model, world, reservation):
        return False
    change_holding(world, visit, units)
    if entry["discount_cents"]:
        take_coupon(model, world, visit)
    return True


@compilable
def _lock_units(model: Record, world: Record, reservation: int) -> bool:
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
        bucket = _TOO_FEW
    if bucket < 0:
        return False
    entry["state"] = LOCKED
    entry["bucket"] = bucket
    return True


@compilable
def lock_for_payment(model: Record, world: Record, reservation: int) -> bool:
    """Take the units of an open order; where there are too few, the order is gone."""
    if reservation_at(world, reservation)["state"] != OPEN:
        return True
    if _lock_units(model, world, reservation):
        return True
    _give_back(model, world, reservation)
    return False


@compilable
def unlock_unpaid(model: Record, world: Record, reservation: int) -> None:
    """The attempt to pay has failed: what it has locked is for sale again."""
    if not model["locks_at_payment"]:
        return
    entry = reservation_at(world, reservation)
    move(world, entry["item"], entry["units"], -entry["units"], 0)
    _put_on_shelf(model, world, reservation)
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
    if entry["state"] in (LOCKED, OPEN):
        _give_back(model, world, reservation)
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
    _give_back(model, world, reservation)
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
    _put_on_shelf(model, world, reservation)


@inlined
def _put_on_shelf(model: Record, world: Record, reservation: int) -> None:
    """Where the units of an order lie that are available again."""
    entry = reservation_at(world, reservation)
    if model["strategy"] in (BUCKETS, SCATTERED_BUCKETS):
        buckets_of(world, entry["item"])[entry["bucket"]] += entry["units"]
    elif model["strategy"] == PREDEDUCT:
        count(world, entry["item"], entry["units"])


@compilable
def _give_back(model: Record, world: Record, reservation: int) -> None:
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
        _put_on_shelf(model, world, reservation)


@compilable
def release_lapsed(model: Record, world: Record) -> None:
    """Release every lapsed reservation; one in the middle of a payment is held."""
    if model["strategy"] == UNGUARDED_RELEASE:
        _sweep_unguarded(model, world)
        return
    if model["strategy"] == STALE_EXPIRY:
        _sweep_by_copy(model, world)
        return
    now_ns = world["now_ns"]
    kept = 0
    for index in range(world["held_lock_count"]):
        reservation = held_locks_of(world)[index]
        if _is_held(world, reservation):
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            forget(model, world, reservation)
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        entry = reservation_at(world, reservation)
        if entry["lapses_ns"] > now_ns:
            break
        pass_first_lock(model, world)
        if _is_held(world, reservation):
            held_locks_of(world)[kept] = reservation
            kept += 1
        else:
            forget(model, world, reservation)
    world["held_lock_count"] = kept
    reconcile(model, world)


@compilable
def _sweep_unguarded(model: Record, world: Record) -> None:
    """Release what is past its time, being paid or paid or not."""
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        entry = reservation_at(world, reservation)
        if not unguarded_release.is_released(entry["lapses_ns"], world["now_ns"]):
            break
        pass_first_lock(model, world)
        _give_back(model, world, reservation)
        release(world, entry["visit"])


@compilable
def _sweep_by_copy(model: Record, world: Record) -> None:
    """Release what the copy says, then copy what the next sweep will find past its time."""
    held, kept = held_locks_of(world), 0
    for index in range(world["held_lock_count"]):
        reservation = held[index]
        if reservation_at(world, reservation)["is_copied"]:
            _give_back(model, world, reservation)
            release(world, reservation_at(world, reservation)["visit"])
        else:
            held[kept] = reservation
            kept += 1
    next_ns = world["next_sweep_ns"]
    while world["lock_count"] > 0:
        reservation = first_lock(world)
        lapses_ns = reservation_at(world, reservation)["lapses_ns"]
        if not stale_expiry.has_lapsed(lapses_ns, next_ns):
            break
        pass_first_lock(model, world)
        held[kept] = reservation
        kept += 1
    found, kept = kept, 0
    for index in range(found):
        reservation = held[index]
        entry = reservation_at(world, reservation)
        if entry["state"] == PAID:
            release(world, entry["visit"])
            continue
        is_locked = entry["state"] == LOCKED
        if stale_expiry.looks_unpaid(is_locked, entry["payments_in_flight"]):
            entry["is_copied"] = 1
        held[kept] = reservation
        kept += 1
    world["held_lock_count"] = kept


@compilable
def count_overdue(world: Record, overdue_ns: int) -> None:
    """Count, by item, locks that lapsed up to `overdue_ns` and are still there."""
    locks = locks_of(world)
    for index in range(world["items_room"]):
        item_at(world, index)["unpaid_locks"] = 0
    for index in range(world["held_lock_count"]):
        _count_one(world, held_locks_of(world)[index], overdue_ns)
    for index in range(world["lock_count"]):
        reservation = locks[(world["first_lock"] + index) & (world["locks_room"] - 1)]
        _count_one(world, reservation, overdue_ns)


@compilable
def _count_one(world: Record, reservation: int, overdue_ns: int) -> None:
    entry = reservation_at(world, reservation)
    if entry["state"] == LOCKED and has_lapsed(world, reservation, overdue_ns):
        item_at(world, entry["item"])["unpaid_locks"] += 1
