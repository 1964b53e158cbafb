"""`optimistic`: look without a lock, write if nobody has written since, else look again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.store.stock import return_units
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
            writes: list[tuple[int, int, str, int]] = []
            for sku, each in session.lines_of(wish.sku):
                units = each * wish.quantity
                row = await session.one(_LOOK, (sku,))
                assert row is not None
                available_units, version = row
                if available_units < units:
                    return Refusal.SOLD_OUT
                writes.append((available_units - units, units, sku, version))
            if await _all_written(session, writes):
                return 0
        return Refusal.OVERLOADED


async def _all_written(session: Session, writes: list[tuple[int, int, str, int]]) -> bool:
    """Write every line, in key order; false, and none is, when somebody has overtaken one."""
    for number, values in enumerate(writes):
        if await session.run(_WRITE, values) != 1:
            await return_units(session, [(sku, 0, units) for _, units, sku, _ in writes[:number]])
            return False
    return True
