"""`row_lock`: hold the stock row, look at it, then write. SQLite's BEGIN IMMEDIATE is that lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session

_LOOK = "SELECT available_units FROM stock WHERE sku = ? AND bucket = 0 FOR UPDATE"
_WRITE = """
UPDATE stock SET available_units = ?, locked_units = locked_units + ?, version = version + 1
WHERE sku = ? AND bucket = 0
"""


class RowLock(ConditionalUpdate):
    """What was read still holds when it is written, for everybody else waits."""

    name: ClassVar[str] = "row_lock"

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Read under the lock, line by line in key order, decide here, write."""
        writes: list[tuple[int, int, str]] = []
        for sku, each in session.lines_of(wish.sku):
            units = each * wish.quantity
            row = await session.one(_LOOK, (sku,))
            assert row is not None
            if row[0] < units:
                return Refusal.SOLD_OUT
            writes.append((row[0] - units, units, sku))
        for values in writes:
            await session.run(_WRITE, values)
        return 0
