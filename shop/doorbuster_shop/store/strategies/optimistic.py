"""`optimistic`: look without a lock, write if nobody has written since, else begin again."""

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


class OvertakenError(Exception):
    """Somebody has written since the look."""


class Optimistic(ConditionalUpdate):
    """A version column tells whether somebody was faster. With SQLite's one writer nobody is.

    What an overtaken attempt has done is rolled back, as where each is a transaction (JPA). Else it
    would be no optimist any more: in PostgreSQL an update that has waited for a row keeps it even
    if its condition no longer holds, and the next attempt cannot fail.
    """

    name: ClassVar[str] = "optimistic"

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Bounded retries; under a rush on one item most of them lose."""
        for _ in range(ATTEMPTS_MAX):
            try:
                async with session.savepoint():
                    return await _attempt(session, wish)
            except OvertakenError:
                continue
        return Refusal.OVERLOADED


async def _attempt(session: Session, wish: Wish) -> int | Refusal:
    """Look at all lines, then write them, in key order. Raises: OvertakenError."""
    writes: list[tuple[int, int, str, int]] = []
    for sku, each in session.lines_of(wish.sku):
        units = each * wish.quantity
        row = await session.one(_LOOK, (sku,))
        assert row is not None
        available_units, version = row
        if available_units < units:
            return Refusal.SOLD_OUT
        writes.append((available_units - units, units, sku, version))
    for values in writes:
        if await session.run(_WRITE, values) != 1:
            raise OvertakenError
    return 0
