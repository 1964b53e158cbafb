"""`stuck_sold_out`, broken on purpose: who once saw an item sold out never looks again.

A flag in the memory of the process spares the database; nobody takes it down when units come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store import reservations
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.stock import Offered
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.store import Store


class StuckSoldOut(ConditionalUpdate):
    """Nothing is oversold; what lapses is never sold again."""

    name: ClassVar[str] = "stuck_sold_out"

    def __init__(self) -> None:
        self._sold_out: set[str] = set()

    async def start(self, store: Store) -> None:
        """Only a new sale, or a new process, forgets the flags."""
        del store
        self._sold_out.clear()

    async def reserve(
        self, store: Store, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """Refuse by the flag, or try and raise it."""
        if wish.sku in self._sold_out:
            async with store.reading() as session:
                judged = await reservations.judge(session, wish, now_s)
            return Refusal.SOLD_OUT if isinstance(judged, Offered) else judged
        told = await super().reserve(store, wish, now_s, lock_time_s)
        if told is Refusal.SOLD_OUT:
            self._sold_out.add(wish.sku)
        return told
