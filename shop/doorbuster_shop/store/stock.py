"""Items and their stock; the opening of the sale."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster_shop.store import coupons
from doorbuster_shop.store.session import DatabaseError, Session
from doorbuster_shop.terms import Terms


class Item(NamedTuple):
    """One item as buyers see it."""

    sku: str
    price_cents: int
    per_account_limit: int
    opens_at_s: float
    available_units: int


class Offered(NamedTuple):
    """The terms of one item for one wish, and what there is of its account and key already."""

    price_cents: int
    per_account_limit: int
    opens_at_s: float
    held_units: int
    is_known_key: bool | int


class StockLevel(NamedTuple):
    """Where the units of one item are."""

    sku: str
    available: int
    locked: int
    sold: int


Units = tuple[str, int, int]
"""Item, bucket and number of units."""

_OFFERED = """
SELECT price_cents, per_account_limit, opens_at_s,
       (SELECT coalesce(sum(quantity), 0) FROM reservations
        WHERE account = ? AND reservations.sku = items.sku
          AND state IN ('locked', 'sold', 'refunding', 'refunded') AND returned_at_s IS NULL),
       EXISTS (SELECT 1 FROM reservations WHERE idempotency_key = ?)
FROM items, sale WHERE sku = ?
"""
_ITEM = """
SELECT sku, price_cents, per_account_limit, opens_at_s,
       coalesce(
           (SELECT CAST(sum(available_units) AS BIGINT) FROM stock WHERE stock.sku = items.sku),
           (SELECT min(available_units / units)  -- whole sets
            FROM bundle_lines JOIN stock ON stock.sku = bundle_lines.sku
            WHERE bundle_lines.bundle = items.sku))
FROM items, sale WHERE sku = ?
"""
_LEVELS = """
SELECT items.sku, CAST(sum(available_units) AS BIGINT), CAST(sum(locked_units) AS BIGINT),
       CAST(sum(sold_units) AS BIGINT)
FROM items JOIN stock ON stock.sku = items.sku
GROUP BY items.sku, items.position ORDER BY items.position
"""
_TERMS = """
SELECT items.sku, price_cents, per_account_limit, CAST(coalesce(sum(initial_units), 0) AS BIGINT)
FROM items LEFT JOIN stock ON stock.sku = items.sku
GROUP BY items.sku, items.position, price_cents, per_account_limit ORDER BY items.position
"""
_STOCK_ROW = """
INSERT INTO stock (sku, bucket, initial_units, available_units, locked_units, sold_units)
VALUES (?, ?, ?, ?, 0, 0)
"""
_RETURN_UNITS = """
UPDATE stock SET available_units = available_units + ?, locked_units = locked_units - ?,
       version = version + 1
WHERE sku = ? AND bucket = ?
"""
_SELL_UNITS = """
UPDATE stock SET locked_units = locked_units - ?, sold_units = sold_units + ?,
       version = version + 1
WHERE sku = ? AND bucket = ?
"""
_TAKE_BACK = """
UPDATE stock SET available_units = available_units + ?, sold_units = sold_units - ?,
       version = version + 1
WHERE sku = ? AND bucket = ?
"""


async def read_item(session: Session, sku: str) -> Item | None:
    """One item, or None if it is not for sale here."""
    row = await session.one(_ITEM, (sku,))
    return None if row is None else Item._make(row)


async def read_offered(session: Session, sku: str, account: str, key: str) -> Offered | None:
    """All that is asked before the stock, in one statement; None if the item is not for sale."""
    row = await session.one(_OFFERED, (account, key, sku))
    return None if row is None else Offered._make(row)


async def read_levels(session: Session) -> list[StockLevel]:
    """Stock of all items in the order of the scenario."""
    return [StockLevel._make(row) for row in await session.all(_LEVELS)]


async def opening_s(session: Session) -> float:
    """When the sale opens, seconds since the epoch."""
    row = await session.one("SELECT opens_at_s FROM sale")
    assert row is not None
    return float(row[0])


async def sell_units(session: Session, sku: str, bucket: int, quantity: int) -> None:
    """Book locked units as sold, line by line in key order."""
    for part, units in session.lines_of(sku):
        await session.run(_SELL_UNITS, (units * quantity, units * quantity, part, bucket))


async def take_back(session: Session, sku: str, bucket: int, quantity: int) -> None:
    """Put sold units back on the shelf, line by line in key order."""
    for part, units in session.lines_of(sku):
        await session.run(_TAKE_BACK, (units * quantity, units * quantity, part, bucket))


async def return_units(session: Session, returned: list[Units]) -> None:
    """Put locked units back on the shelf, in one order for everybody, lest two wait in a circle."""
    sums: dict[tuple[str, int], int] = {}
    for sku, bucket, quantity in returned:
        for part, units in session.lines_of(sku):
            sums[part, bucket] = sums.get((part, bucket), 0) + units * quantity
    for (sku, bucket), quantity in sorted(sums.items()):
        await session.run(_RETURN_UNITS, (quantity, quantity, sku, bucket))


async def begin_sale(
    session: Session, terms: Terms, opens_at_s: float, strategy: str, bucket_count: int
) -> None:
    """Forget all orders, put the full stock on the shelf and set the opening."""
    for table in ("payments", "reservations", "stock", "bundle_lines", "items", "sale"):
        await session.run(f"DELETE FROM {table}")
    await coupons.begin(session, terms.coupon)
    await session.run(
        "INSERT INTO sale (id, opens_at_s, strategy) VALUES (1, ?, ?)", (opens_at_s, strategy)
    )
    for position, item in enumerate(terms.items):
        await session.run(
            "INSERT INTO items VALUES (?, ?, ?, ?)",
            (item.sku, position, item.price_cents, item.per_account_limit),
        )
        if item.lines:
            continue
        parts = _split(item.initial_units, bucket_count)
        rows = [(item.sku, bucket, units, units) for bucket, units in enumerate(parts)]
        await session.run_many(_STOCK_ROW, rows)
    lines = [(item.sku, *line) for item in terms.items for line in item.lines]
    if lines:
        await session.run_many("INSERT INTO bundle_lines VALUES (?, ?, ?)", lines)


def _split(units: int, part_count: int) -> list[int]:
    whole, rest = divmod(units, part_count)
    return [whole + (part < rest) for part in range(part_count)]


async def holds_sale(session: Session, terms: Terms, strategy: str) -> bool:
    """Whether the database holds this sale; false when it is empty.

    Raises: DatabaseError if it holds the sale of other items, or one kept by another strategy.
    """
    found = await session.all(_TERMS)
    if not found:
        return False
    kept = await session.one("SELECT strategy FROM sale")
    assert kept is not None
    if kept[0] != strategy:
        message = (
            f"the database holds a sale kept by another strategy (got {strategy}); allowed "
            f"{kept[0]}; give another file, or remove this one"
        )
        raise DatabaseError(message)
    wanted = [
        (item.sku, item.price_cents, item.per_account_limit, item.initial_units)
        for item in terms.items
    ]
    lines = [(item.sku, *line) for item in terms.items for line in item.lines]
    kept_lines = await session.all("SELECT bundle, sku, units FROM bundle_lines")
    is_same = found == wanted and sorted(kept_lines) == sorted(lines)
    if not is_same or not await coupons.holds(session, terms.coupon):
        message = (
            "the database holds a sale with other items, prices, limits, stock, bundles or coupon "
            "than the scenario; give another file, or remove this one"
        )
        raise DatabaseError(message)
    return True
