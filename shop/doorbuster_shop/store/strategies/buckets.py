"""`buckets`: the units of an item lie in several rows, so that not everybody waits for one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.reservations import Refusal, Wish
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate, lock_units

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session

BUCKET_COUNT = 8

_ALL = "SELECT bucket, available_units FROM stock WHERE sku = ? ORDER BY bucket FOR UPDATE"
_CARRY = """
UPDATE stock SET initial_units = initial_units + ?, available_units = available_units + ?,
       version = version + 1
WHERE sku = ? AND bucket = ?
"""


class Buckets(ConditionalUpdate):
    """One's own bucket by a hash of the account, the next one that has enough when it has not."""

    name: ClassVar[str] = "buckets"
    bucket_count: ClassVar[int] = BUCKET_COUNT

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Units of one bucket; gathered from several when only all together have enough."""
        own = zlib.crc32(wish.account.encode()) % BUCKET_COUNT
        if await lock_units(session, wish.sku, own, wish.quantity):
            return own
        return await self._look_around(session, wish, own)

    async def _look_around(self, session: Session, wish: Wish, own: int) -> int | Refusal:
        """Hold all buckets, always in the same order, so that no two buyers wait in a circle."""
        levels: dict[int, int] = dict(await session.all(_ALL, (wish.sku,)))
        if sum(levels.values()) < wish.quantity:
            return Refusal.SOLD_OUT
        around = [(own + step) % BUCKET_COUNT for step in range(BUCKET_COUNT)]
        chosen = next((b for b in around if levels[b] >= wish.quantity), None)
        if chosen is None:
            chosen = own
            missing_units = wish.quantity - levels[own]
            for bucket in around[1:]:
                carried_units = min(levels[bucket], missing_units)
                if carried_units:
                    await session.run(_CARRY, (-carried_units, -carried_units, wish.sku, bucket))
                    await session.run(_CARRY, (carried_units, carried_units, wish.sku, own))
                    missing_units -= carried_units
        is_locked = await lock_units(session, wish.sku, chosen, wish.quantity)
        assert is_locked
        return chosen
