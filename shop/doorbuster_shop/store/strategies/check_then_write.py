"""`check_then_write`, broken on purpose: the level is read, and written later as if it still held.

Two buyers who both read 1 both get the last unit.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store import reservations
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.stock import Offered
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session
    from doorbuster_shop.store.store import Store

GAP_S = 0.002
"""What lies between looking and writing in a real shop: a price, an address, another service."""

_LOOK = "SELECT available_units FROM stock WHERE sku = ? AND bucket = 0"
_WRITE = """
UPDATE stock SET available_units = ?, locked_units = locked_units + ?, version = version + 1
WHERE sku = ? AND bucket = 0
"""


class CheckThenWrite(ConditionalUpdate):
    """The decision is made outside of the transaction that carries it out."""

    name: ClassVar[str] = "check_then_write"
    is_guarded: ClassVar[bool] = False

    async def reserve(
        self, store: Store, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """Look, do something else, write."""
        async with store.reading() as session:
            offered = await reservations.judge(session, wish, now_s)
            if not isinstance(offered, Offered):
                return offered
            row = await session.one(_LOOK, (wish.sku,))
        assert row is not None
        if row[0] < wish.quantity:
            return Refusal.SOLD_OUT
        await asyncio.sleep(GAP_S)
        write = partial(_write_blindly, row[0])
        async with store.transaction() as session:
            return await reservations.reserve(session, wish, now_s, lock_time_s, write)


async def _write_blindly(seen_units: int, session: Session, wish: Wish) -> int:
    await session.run(_WRITE, (seen_units - wish.quantity, wish.quantity, wish.sku))
    return 0
