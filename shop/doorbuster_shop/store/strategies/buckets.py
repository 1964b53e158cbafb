"""`buckets`: the units of an item lie in several rows, so that not everybody waits for one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store import reservations
from doorbuster_shop.store.reservations import Refusal, Reservation, Take, Wish
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate, lock_units

if TYPE_CHECKING:
    from doorbuster_shop.store.session import Session
    from doorbuster_shop.store.store import Store

BUCKET_COUNT = 8

_LEVELS = "SELECT bucket, available_units FROM stock WHERE sku = ? ORDER BY bucket"
_CARRY = """
UPDATE stock SET initial_units = initial_units + ?, available_units = available_units + ?,
       version = version + 1
WHERE sku = ? AND bucket = ?
"""


class Buckets(ConditionalUpdate):
    """One's own bucket by a hash of the account, the next one that has enough when it has not."""

    name: ClassVar[str] = "buckets"
    bucket_count: ClassVar[int] = BUCKET_COUNT
    gathers: ClassVar[bool] = True
    """Whether units of several buckets make one order."""

    async def reserve(
        self, store: Store, wish: Wish, now_s: float, lock_time_s: float
    ) -> Reservation | Refusal:
        """Look around only in a second transaction.

        In PostgreSQL an update that found too few units may have locked their row all the same;
        to lock others after it, in another order than everybody else, could end in a deadlock.
        """
        told = await super().reserve(store, wish, now_s, lock_time_s)
        if told is not Refusal.SOLD_OUT:
            return told
        async with store.transaction() as session:
            return await reservations.reserve(session, wish, now_s, lock_time_s, self.take_again)

    async def take(self, session: Session, wish: Wish) -> int | Refusal:
        """Units of one's own bucket."""
        own = _own_bucket(wish)
        is_taken = await lock_units(session, wish.sku, own, wish.quantity)
        return own if is_taken else Refusal.SOLD_OUT

    async def take_again(self, session: Session, wish: Wish) -> int | Refusal:
        """Units of the next bucket, or of several when only all together have enough.

        All buckets are locked, always in the same order, so that no two buyers wait in a circle.
        """
        seen: dict[int, int] = dict(await session.all(_LEVELS, (wish.sku,)))
        if not self._have_enough(seen, wish):
            return Refusal.SOLD_OUT
        levels: dict[int, int] = dict(await session.all(f"{_LEVELS} FOR UPDATE", (wish.sku,)))
        if not self._have_enough(levels, wish):
            return Refusal.SOLD_OUT
        own = _own_bucket(wish)
        around = [(own + step) % BUCKET_COUNT for step in range(BUCKET_COUNT)]
        chosen = next((bucket for bucket in around if levels[bucket] >= wish.quantity), None)
        if chosen is None:
            chosen = own
            await _gather(session, wish, levels, around)
        is_locked = await lock_units(session, wish.sku, chosen, wish.quantity)
        assert is_locked
        return chosen

    @property
    def takes(self) -> tuple[Take, ...]:
        """Look around only in a second transaction, as for a reservation."""
        return (self.take, self.take_again)

    def _have_enough(self, levels: dict[int, int], wish: Wish) -> bool:
        found = sum(levels.values()) if self.gathers else max(levels.values())
        return found >= wish.quantity


def _own_bucket(wish: Wish) -> int:
    return zlib.crc32(wish.account.encode()) % BUCKET_COUNT


async def _gather(session: Session, wish: Wish, levels: dict[int, int], around: list[int]) -> None:
    """Carry units into the first bucket until it has enough."""
    own, *others = around
    missing_units = wish.quantity - levels[own]
    for bucket in others:
        carried_units = min(levels[bucket], missing_units)
        if carried_units:
            await session.run(_CARRY, (-carried_units, -carried_units, wish.sku, bucket))
            await session.run(_CARRY, (carried_units, carried_units, wish.sku, own))
            missing_units -= carried_units
