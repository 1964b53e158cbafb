"""`prededuct`: a counter in front of the database turns the crowd away; the database decides.

Whoever gets past the counter still takes the units by a conditional update, so a counter that is
too high only lets more people in. One that is too low would hide units, so it is set to what the
database says after each sweep. Without its counter the shop sells from the database alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store import reservations
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.stock import Offered
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

if TYPE_CHECKING:
    from doorbuster_shop.store.counters import Counter
    from doorbuster_shop.store.session import Lines, Session
    from doorbuster_shop.store.stock import Units
    from doorbuster_shop.store.store import Store


class Prededuct(ConditionalUpdate):
    """What was taken from the counter goes back on any refusal and with every lapsed lock."""

    name: ClassVar[str] = "prededuct"
    returns_refused: ClassVar[bool] = True
    """Whether units of a wish that the database refused go back to the counter."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._lines_of: Callable[[str], Lines] = lambda sku: ((sku, 1),)

    async def start(self, store: Store) -> None:
        """The counter begins at what the database has."""
        self._lines_of = store.lines_of
        await self._reconcile(store)

    async def reserve(
        self, store: Store, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """Ask the counter first, and the database if it allows."""
        if not await self._count(store.lines_of(wish.sku), wish.quantity):
            return await _refused_by_counter(store, wish, now_s)
        is_taken = is_written = False

        async def take(session: Session, wish: Wish) -> int | Refusal:
            nonlocal is_taken
            bucket = await self.take(session, wish)
            is_taken = not isinstance(bucket, Refusal)
            return bucket

        told: Reservation | Refusal | None = None
        try:
            async with store.transaction() as session:
                told = await reservations.reserve(session, wish, now_s, lock_time_s, take)
            is_written = is_taken
        finally:
            # A wish that is repeated has taken its units the first time.
            if not is_written and (self.returns_refused or not isinstance(told, Refusal)):
                await self._give_back(store.lines_of(wish.sku), wish.quantity)
        return told

    async def _count(self, lines: Lines, quantity: int) -> bool:
        """Take every line from the counter, in key order; false, and none is, when one lacks units.

        A bundle that is refused at its second line has kept the units of its first from others for
        that long. Nobody knowing (the counter is lost) is a yes: the database decides.
        """
        for number, (sku, units) in enumerate(lines):
            if await self._counter.take(sku, units * quantity) is False:
                await self._give_back(lines[:number], quantity)
                return False
        return True

    async def _give_back(self, lines: Lines, quantity: int) -> None:
        for sku, units in lines:
            await self._counter.give_back(sku, units * quantity)

    async def on_returned(self, returned: list[Units]) -> None:
        """Units on the shelf can be taken at the counter again."""
        for sku, _, quantity in returned:
            await self._give_back(self._lines_of(sku), quantity)

    async def on_taken_again(self, wish: Wish) -> None:
        """Units that are gone from the shelf can no longer be taken at the counter."""
        for sku, units in self._lines_of(wish.sku):
            await self._counter.take(sku, units * wish.quantity)

    async def end_sweep(self, store: Store, now_s: float) -> None:
        """Put right what a lost answer or a restart of the counter has left wrong."""
        del now_s
        await self._reconcile(store)

    async def _reconcile(self, store: Store) -> None:
        levels = await store.read_levels()
        await self._counter.set({level.sku: level.available for level in levels})

    async def close(self) -> None:
        """Let go of the counter."""
        await self._counter.close()


async def _refused_by_counter(store: Store, wish: Wish, now_s: float) -> Reservation | Refusal:
    """What to tell whom the counter has no units for: a repeated wish may still have its own."""
    async with store.reading() as session:
        judged = await reservations.judge(session, wish, now_s)
    return Refusal.SOLD_OUT if isinstance(judged, Offered) else judged
