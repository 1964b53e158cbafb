"""`unguarded_release`, broken on purpose: what is past its time is released, paid or not.

As in litemall, whose timeout task looks at the time of an order and not at its state; money that
comes later sells the units all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.stock import return_units
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.store import Store

_PAST_THEIR_TIME = """
SELECT id, sku, bucket, quantity FROM reservations
WHERE released_at_s IS NULL AND expires_at_s <= ?
ORDER BY expires_at_s LIMIT ? FOR UPDATE SKIP LOCKED
"""
_RELEASE = "UPDATE reservations SET state = 'released', released_at_s = ? WHERE id = ?"


class UnguardedRelease(ConditionalUpdate):
    """The sweep does not ask whether an order is being paid or is paid."""

    name: ClassVar[str] = "unguarded_release"
    is_guarded: ClassVar[bool] = False
    guards_sales: ClassVar[bool] = False

    async def release_lapsed(self, store: Store, now_s: float, batch_max: int) -> int:
        """Release each order once, as soon as its time is over."""
        async with store.transaction() as session:
            past = await session.all(_PAST_THEIR_TIME, (now_s, batch_max))
            await session.run_many(_RELEASE, [(now_s, row[0]) for row in past])
            await return_units(session, [(sku, bucket, units) for _, sku, bucket, units in past])
        return len(past)
