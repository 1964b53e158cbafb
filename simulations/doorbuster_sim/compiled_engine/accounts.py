"""Units that accounts hold: in the visit for an account of one visitor, else in a hash table.

The table has open addressing with linear probing; an account that holds nothing leaves it.

Source: D. E. Knuth, "The Art of Computer Programming" 3, section 6.4, algorithms L and R.
"""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.plan.casting import POOL_BASE
from doorbuster_sim.compiled_engine.layout import Record, Records
from doorbuster_sim.compiled_engine.places import accounts_of, visit_at

_ITEM_BITS = 14
_MIX = 0x1E3779B97F4A7C15
"""An odd multiplier spreads neighbouring keys (Knuth's multiplicative hashing)."""
NO_KEY = -1
COUPONS = (1 << _ITEM_BITS) - 1
"""In place of an item, of which there are fewer: orders of the account that carry the coupon."""


@compilable
def is_own_account(account: int) -> bool:
    """Whether only one visitor of the plan can have this account."""
    return account < POOL_BASE


@compilable
def _key(account: int, item: int) -> int:
    return (account << _ITEM_BITS) | item


@compilable
def _home(key: int, mask: int) -> int:
    return ((key * _MIX) >> 20) & mask


@compilable
def _find(accounts: Records, room: int, key: int) -> int:
    """The place of a key, or the empty place where it would stand."""
    mask = room - 1
    place = _home(key, mask)
    while accounts[place]["key"] != key and accounts[place]["key"] != NO_KEY:
        place = (place + 1) & mask
    return place


@compilable
def _remove(accounts: Records, room: int, place: int) -> None:
    """Empty a place and close the gap in the chains that ran over it."""
    mask = room - 1
    accounts[place]["key"] = NO_KEY
    gap, place = place, (place + 1) & mask
    while accounts[place]["key"] != NO_KEY:
        home = _home(accounts[place]["key"], mask)
        # An entry may move into the gap unless its home lies behind the gap.
        if (place - home) & mask >= (place - gap) & mask:
            accounts[gap]["key"] = accounts[place]["key"]
            accounts[gap]["units"] = accounts[place]["units"]
            accounts[place]["key"] = NO_KEY
            gap = place
        place = (place + 1) & mask


@compilable
def held_units(world: Record, visit: int) -> int:
    """Units of the visit's item that its account holds, locked or paid."""
    entry = visit_at(world, visit)
    if is_own_account(entry["account"]):
        return entry["own_units"]
    return _units(world, _key(entry["account"], entry["item"]))


@compilable
def _units(world: Record, key: int) -> int:
    """What stands under a key of the table."""
    found = accounts_of(world)[_find(accounts_of(world), world["accounts_room"], key)]
    return found["units"] if found["key"] != NO_KEY else 0


@compilable
def held_coupons(world: Record, visit: int) -> int:
    """Orders of the visit's account that carry the coupon, locked or paid."""
    entry = visit_at(world, visit)
    if is_own_account(entry["account"]):
        return entry["own_coupons"]
    return _units(world, _key(entry["account"], COUPONS))


@compilable
def change_coupons(world: Record, visit: int, orders: int) -> None:
    """So many more orders of the visit's account carry the coupon."""
    entry = visit_at(world, visit)
    if is_own_account(entry["account"]):
        entry["own_coupons"] += orders
        return
    add_units(world, _key(entry["account"], COUPONS), orders)


@compilable
def change_holding(world: Record, visit: int, units: int) -> None:
    """Add units to what the visit's account holds of its item."""
    entry = visit_at(world, visit)
    if is_own_account(entry["account"]):
        entry["own_units"] += units
        return
    add_units(world, _key(entry["account"], entry["item"]), units)


@compilable
def add_units(world: Record, key: int, units: int) -> None:
    """Change an entry of the table; it comes with its first unit and goes with its last."""
    place = _find(accounts_of(world), world["accounts_room"], key)
    found = accounts_of(world)[place]
    if found["key"] == NO_KEY:
        found["key"] = key
        found["units"] = 0
        world["account_count"] += 1
    found["units"] += units
    if found["units"] == 0:
        _remove(accounts_of(world), world["accounts_room"], place)
        world["account_count"] -= 1


@compilable
def item_of_key(key: int) -> int:
    """The item in a key of the table."""
    return key & ((1 << _ITEM_BITS) - 1)
