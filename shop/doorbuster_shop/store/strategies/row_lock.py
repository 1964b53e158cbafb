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
        """Read under the lock, decide here, write."""
        row = await session.one(_LOOK, (wish.sku,))
        assert row is not None
        if row[0] < wish.quantity:
            return Refusal.SOLD_OUT
        await session.run(_WRITE, (row[0] - wish.quantity, wish.quantity, wish.sku))
        return 0
