"""What an order takes from the shelf: units of its item, or of every item of its bundle at once."""

from __future__ import annotations

from doorbuster.compiling import compilable, inlined
from doorbuster_sim.compiled_engine.layout import Record
from doorbuster_sim.compiled_engine.places import item_at, order_line_at


@inlined
def level(world: Record, item: int) -> int:
    """Available units of an item, or sets: as many as the scarcest line allows."""
    stock = item_at(world, item)
    return _sets(world, item, False) if stock["line_count"] else stock["available"]


@inlined
def counted(world: Record, item: int) -> int:
    """Likewise, by the counters of `prededuct`."""
    stock = item_at(world, item)
    return _sets(world, item, True) if stock["line_count"] else stock["counter"]


@inlined
def version(world: Record, item: int) -> int:
    """Changes whenever a line does, for each of them only counts up."""
    stock = item_at(world, item)
    return _versions(world, item) if stock["line_count"] else stock["version"]


@compilable
def _sets(world: Record, bundle: int, is_by_counter: bool) -> int:
    stock = item_at(world, bundle)
    found = -1
    for number in range(stock["line_count"]):
        line = order_line_at(world, stock["first_line"] + number)
        part = item_at(world, line["item"])
        units = part["counter"] if is_by_counter else part["available"]
        sets = units // line["units"]
        found = sets if number == 0 else min(found, sets)
    return found


@compilable
def _versions(world: Record, bundle: int) -> int:
    stock, total = item_at(world, bundle), 0
    for number in range(stock["line_count"]):
        line = order_line_at(world, stock["first_line"] + number)
        total += item_at(world, line["item"])["version"]
    return total


@compilable
def count(world: Record, item: int, units: int) -> None:
    """So many units, or sets, more at the counters of `prededuct`."""
    stock = item_at(world, item)
    if not stock["line_count"]:
        stock["counter"] += units
    for number in range(stock["line_count"]):
        line = order_line_at(world, stock["first_line"] + number)
        item_at(world, line["item"])["counter"] += units * line["units"]


@compilable
def move(world: Record, item: int, available: int, locked: int, sold: int) -> None:
    """Change the three counts of an item, or of all lines of a bundle.

    Whether they still add up is noted, not raised.
    """
    stock = item_at(world, item)
    if not stock["line_count"]:
        _move(world, item, available, locked, sold)
    for number in range(stock["line_count"]):
        line = order_line_at(world, stock["first_line"] + number)
        units = line["units"]
        _move(world, line["item"], available * units, locked * units, sold * units)


@inlined
def _move(world: Record, item: int, available: int, locked: int, sold: int) -> None:
    stock = item_at(world, item)
    stock["available"] += available
    stock["locked"] += locked
    stock["sold"] += sold
    stock["version"] += 1
    total = stock["available"] + stock["locked"] + stock["sold"]
    lowest = min(stock["available"], stock["locked"], stock["sold"])
    if (total != stock["initial"] or lowest < 0) and world["is_guarded"]:
        world["is_broken"] = 1


@inlined
def note_orders(world: Record, item: int, orders: int, units: int) -> None:
    """So many paid orders more; of a bundle, with so many sets."""
    stock = item_at(world, item)
    stock["orders"] += orders
    if stock["line_count"]:
        stock["sets_sold"] += units


@compilable
def keep_away(world: Record, item: int, units: int) -> None:
    """So many units, or sets, were sent and are paid by nobody any more."""
    stock = item_at(world, item)
    if not stock["line_count"]:
        stock["unreturned"] += units
    for number in range(stock["line_count"]):
        line = order_line_at(world, stock["first_line"] + number)
        item_at(world, line["item"])["unreturned"] += units * line["units"]
