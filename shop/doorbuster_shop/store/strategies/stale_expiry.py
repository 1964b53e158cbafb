"""`stale_expiry`, broken on purpose: the sweep believes a copy that is one sweep old.

As in Saleor, where lapsed checkouts are picked from a replica and released without another look: an
order that was paid meanwhile loses its units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

from doorbuster_shop.store.stock import return_units
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.store import Store

_UNPAID = """
SELECT id, sku, bucket, quantity, expires_at_s FROM reservations
WHERE state = 'locked' AND NOT EXISTS (
    SELECT 1 FROM payments
    WHERE payments.reservation_id = reservations.id AND payments.state IN ('pending', 'paid')
)
ORDER BY expires_at_s
"""
_RELEASE = "UPDATE reservations SET state = 'released', released_at_s = ? WHERE id = ?"


class _Copied(NamedTuple):
    id: str
    sku: str
    bucket: int
    quantity: int
    expires_at_s: float


class StaleExpiry(ConditionalUpdate):
    """What happened since the last sweep is not seen."""

    name: ClassVar[str] = "stale_expiry"
    is_guarded: ClassVar[bool] = False

    def __init__(self) -> None:
        self._copy: list[_Copied] = []

    async def start(self, store: Store) -> None:
        """The copy begins as the database is now."""
        await self._renew(store)

    async def release_lapsed(self, store: Store, now_s: float, batch_max: int) -> int:
        """Release what the copy says has lapsed unpaid, without looking at the database."""
        lapsed = [row for row in self._copy if row.expires_at_s <= now_s][:batch_max]
        self._copy = self._copy[len(lapsed) :]
        async with store.transaction() as session:
            await session.run_many(_RELEASE, [(now_s, row.id) for row in lapsed])
            await return_units(session, [(row.sku, row.bucket, row.quantity) for row in lapsed])
        return len(lapsed)

    async def end_sweep(self, store: Store, now_s: float) -> None:
        """The replica catches up, for the next sweep to believe."""
        del now_s
        await self._renew(store)

    async def _renew(self, store: Store) -> None:
        async with store.reading() as session:
            self._copy = [_Copied._make(row) for row in await session.all(_UNPAID)]
