"""`conditional_update`: one statement takes the units if there are enough. The one to start from.

The other strategies say in what they differ from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store import reservations
from doorbuster_shop.store.reservations import Refusal, Reservation, Wish
from doorbuster_shop.store.stock import return_units

EXTENDING = ("hold", "query_before_cancel")
"""Late payments that hold their locks; the shop's process does not load the scenario's models."""

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session
    from doorbuster_shop.store.stock import Units
    from doorbuster_shop.store.store import Store

_LOCK_UNITS = """
UPDATE stock SET available_units = available_units - ?, locked_units = locked_units + ?,
       version = version + 1
WHERE sku = ? AND bucket = ? AND available_units >= ?
"""


class ConditionalUpdate:
    """How a shop keeps its stock."""

    name: ClassVar[str] = "conditional_update"
    bucket_count: ClassVar[int] = 1
    """Rows over which the units of one item are spread."""
    is_guarded: ClassVar[bool] = True
    """Whether the tables themselves refuse an oversell."""
    guards_sales: ClassVar[bool] = True
    """Whether money that comes after the lock is gone goes back to the buyer."""

    async def start(self, store: Store) -> None:
        """A sale begins, or goes on in a new process."""

    async def reserve(
        self, store: Store, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """The whole reservation, in one transaction."""
        async with store.transaction() as session:
            return await reservations.reserve(session, wish, now_s, lock_time_s, self.take)

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Move units from available to locked: the bucket that they came from, or why not."""
        is_taken = await lock_lines(session, wish)
        return 0 if is_taken else Refusal.SOLD_OUT

    async def take_again(self, session: Session, wish: Wish) -> int | Refusal:
        """The same for a released order for which money has come."""
        is_taken = await lock_lines(session, wish)
        return 0 if is_taken else Refusal.SOLD_OUT

    async def on_taken_again(self, wish: Wish) -> None:
        """The units of a released order have left the shelf again."""

    async def release_lapsed(self, store: Store, now_s: float, batch_max: int) -> int:
        """Release lapsed locks, and tell how many."""
        extended = store.late_payment in EXTENDING
        async with store.transaction() as session:
            returned = await reservations.release_lapsed(
                session, now_s, batch_max, are_locks_extended=extended
            )
        await self.on_returned(returned)
        return len(returned)

    async def end_sweep(self, store: Store, now_s: float) -> None:
        """A sweep is through."""

    async def on_returned(self, returned: list[Units]) -> None:
        """Units are back on the shelf."""

    async def close(self) -> None:
        """The shop closes."""


async def lock_lines(session: Session, wish: Wish) -> bool:
    """Lock the units of every line, in key order; false, and none is, when one has too few.

    The rows stay ours to the end of the transaction, so what goes back was nobody else's meanwhile.
    """
    taken: list[Units] = []
    for sku, units in session.lines_of(wish.sku):
        if not await lock_units(session, sku, 0, units * wish.quantity):
            await return_units(session, taken)
            return False
        taken.append((sku, 0, units * wish.quantity))
    return True


async def lock_units(session: Session, sku: str, bucket: int, quantity: int) -> bool:
    """Lock units of one bucket; false when it has too few."""
    values = (quantity, quantity, sku, bucket, quantity)
    return await session.run(_LOCK_UNITS, values) == 1
