"""Warehouses: which of them sends what of a paid order, each order once."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster.rules.shipments import Sent, split
from doorbuster_shop.store.reservations import Reservation, read_reservation
from doorbuster_shop.store.session import Session
from doorbuster_shop.terms import Terms

DISPATCH_BATCH_MAX = 500
"""Orders looked up at once."""

_AWAIT = "INSERT INTO unsent VALUES (?, ?, ?)"
_NEXT = """
SELECT reservation_id, sold_at_s, reserved_at_s FROM unsent
WHERE (sold_at_s, reserved_at_s, reservation_id) > (?, ?, ?)
ORDER BY sold_at_s, reserved_at_s, reservation_id LIMIT ?
"""
# First the order, as everybody who changes it: its shipments refer to it, and so lock it as well.
_CLAIM_ORDER = "SELECT id FROM reservations WHERE id = ? FOR UPDATE SKIP LOCKED"
_CLAIM = "SELECT reservation_id FROM unsent WHERE reservation_id = ? FOR UPDATE SKIP LOCKED"
_NO_LONGER = "DELETE FROM unsent WHERE reservation_id = ?"
_SHELF = """
SELECT warehouse, available_units FROM warehouses WHERE sku = ? ORDER BY position FOR UPDATE
"""
_TAKE = """
UPDATE warehouses SET available_units = available_units - ? WHERE sku = ? AND warehouse = ?
"""
_SEND = "INSERT INTO shipments VALUES (?, ?, ?, ?, ?, NULL)"
_OF_ORDER = """
SELECT sku, warehouse, units FROM shipments
WHERE reservation_id = ? AND returned_at_s IS NULL ORDER BY sku
"""
_COME_BACK = "UPDATE shipments SET returned_at_s = ? WHERE reservation_id = ?"
_SHIPMENTS = """
SELECT reservation_id, sku, warehouse, units, sent_at_s - opens_at_s, returned_at_s - opens_at_s
FROM shipments, sale ORDER BY sent_at_s, reservation_id, sku, warehouse
"""
_LEVELS = """
SELECT items.sku, warehouse, initial_units, available_units
FROM items JOIN warehouses ON warehouses.sku = items.sku
ORDER BY items.position, warehouses.position
"""


class Unsent(NamedTuple):
    """A paid order that is to be split, and its place in the line: by sale, then by reservation."""

    reservation_id: str
    sold_at_s: float
    reserved_at_s: float


class Shipment(NamedTuple):
    """Units of one line of an order from one warehouse. Times in seconds from the opening."""

    order_id: str
    sku: str
    warehouse: str
    units: int
    sent_s: float
    returned_s: float | None


class WarehouseLevel(NamedTuple):
    """Units of one item in one warehouse."""

    sku: str
    warehouse: str
    initial: int
    available: int


async def begin(session: Session, terms: Terms) -> None:
    """Fill the warehouses. The rows of an earlier sale are gone, see `forget`."""
    rows = [
        (item.sku, warehouse, position, units, units)
        for item in terms.items
        for position, (warehouse, units) in enumerate(item.warehouses)
    ]
    if rows:
        await session.run_many("INSERT INTO warehouses VALUES (?, ?, ?, ?, ?)", rows)


async def forget(session: Session) -> None:
    """Forget what was sent, before its orders are forgotten.

    First what is not sent: who is splitting an order holds its row, and is waited for.
    """
    for table in ("unsent", "shipments", "warehouses"):
        await session.run(f"DELETE FROM {table}")


async def holds(session: Session, terms: Terms) -> bool:
    """Whether the database holds these warehouses, in this order of preference."""
    found = await session.all("SELECT sku, position, warehouse, initial_units FROM warehouses")
    wanted = [
        (item.sku, position, warehouse, units)
        for item in terms.items
        for position, (warehouse, units) in enumerate(item.warehouses)
    ]
    return sorted(found) == sorted(wanted)


async def await_split(session: Session, order: Reservation) -> None:
    """Put an order that has just been sold in the line, in the transaction that has sold it."""
    await session.run(_AWAIT, (order.id, order.sold_at_s, order.reserved_at_s))


async def next_unsent(session: Session, after: Unsent | None) -> list[Unsent]:
    """Orders that are to be split, oldest first, behind one of them."""
    place = ("", float("-inf"), float("-inf")) if after is None else after
    values = (place[1], place[2], place[0], DISPATCH_BATCH_MAX)
    return [Unsent._make(row) for row in await session.all(_NEXT, values)]


async def dispatch(session: Session, reservation_id: str, now_s: float) -> bool:
    """Split one order and take its units from the warehouses; false if it is not sent.

    Whoever holds its row in the line splits it; with the transaction the row is gone, so that it
    is split once, whoever dies. What another holds is left to the next round. Rows of warehouses
    are locked in key order. An order stays in the line when all warehouses together have too
    little of it.
    """
    for claim in (_CLAIM_ORDER, _CLAIM):
        if await session.one(claim, (reservation_id,)) is None:
            return False
    order = await read_reservation(session, reservation_id)
    assert order is not None
    assert order.sold_at_s is not None
    wanted = {sku: units * order.quantity for sku, units in session.lines_of(order.sku)}
    shelves: dict[str, dict[str, int]] = {
        sku: dict(await session.all(_SHELF, (sku,))) for sku in wanted
    }
    shipments = split(wanted, shelves)
    if shipments is None:
        return False
    sent_at_s = max(session.time_s(now_s), order.sold_at_s)
    for sent in shipments:
        await session.run(_TAKE, (sent.units, sent.sku, sent.warehouse))
        row = (order.id, sent.sku, sent.warehouse, sent.units, sent_at_s)
        await session.run(_SEND, row)
    is_first = await session.run(_NO_LONGER, (order.id,)) == 1
    assert is_first, "nobody else has split it: its row was held"
    return True


async def come_back(session: Session, order: Reservation) -> None:
    """Put the units of a refunded order back where they were taken from.

    One that was not split yet leaves the line. Who is splitting it at this moment is waited for.
    """
    if await session.run(_NO_LONGER, (order.id,)):
        return
    rows = [Sent(row[1], row[0], row[2]) for row in await session.all(_OF_ORDER, (order.id,))]
    for sku in dict.fromkeys(sent.sku for sent in rows):
        await session.all(_SHELF, (sku,))
    for sent in rows:
        await session.run(_TAKE, (-sent.units, sent.sku, sent.warehouse))
    await session.run(_COME_BACK, (order.returned_at_s, order.id))


async def read_shipments(session: Session) -> list[Shipment]:
    """All of them, by the moment of sending."""
    return [Shipment._make(row) for row in await session.all(_SHIPMENTS)]


async def read_warehouses(session: Session) -> list[WarehouseLevel]:
    """Every item in every warehouse, in the order of the scenario."""
    return [WarehouseLevel._make(row) for row in await session.all(_LEVELS)]
