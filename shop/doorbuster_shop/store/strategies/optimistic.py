"""`optimistic`: look without a lock, write if nobody has written since, else look again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session

ATTEMPTS_MAX = 8
"""How often a buyer may be overtaken; after that the shop says that it is overloaded."""

_LOOK = "SELECT available_units, version FROM stock WHERE sku = ? AND bucket = 0"
_WRITE = """
UPDATE stock SET available_units = ?, locked_units = locked_units + ?, version = version + 1
WHERE sku = ? AND bucket = 0 AND version = ?
"""


class Optimistic(ConditionalUpdate):
    """A version column tells whether somebody was faster. With SQLite's one writer nobody is."""

    name: ClassVar[str] = "optimistic"

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Bounded retries; under a rush on one item most of them lose."""
        for _ in range(ATTEMPTS_MAX):
            row = await session.one(_LOOK, (wish.sku,))
            assert row is not None
            available_units, version = row
            if available_units < wish.quantity:
                return Refusal.SOLD_OUT
            values = (available_units - wish.quantity, wish.quantity, wish.sku, version)
            if await session.run(_WRITE, values) == 1:
                return 0
        return Refusal.OVERLOADED
