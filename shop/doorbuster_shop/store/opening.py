"""Opens a store by its address, with the strategy that the scenario names."""

from __future__ import annotations

import hashlib
from typing import Final

from doorbuster_shop.store.counters import Counter, ProcessCounter, RedisCounter
from doorbuster_shop.store.session import DatabaseError
from doorbuster_shop.store.sqlite import open_sqlite
from doorbuster_shop.store.store import Store
from doorbuster_shop.store.strategies.buckets import Buckets
from doorbuster_shop.store.strategies.check_then_write import CheckThenWrite
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate
from doorbuster_shop.store.strategies.optimistic import Optimistic
from doorbuster_shop.store.strategies.prededuct import Prededuct
from doorbuster_shop.store.strategies.prededuct_without_return import PredeductWithoutReturn
from doorbuster_shop.store.strategies.row_lock import RowLock
from doorbuster_shop.store.strategies.scattered_buckets import ScatteredBuckets
from doorbuster_shop.store.strategies.stale_expiry import StaleExpiry
from doorbuster_shop.store.strategies.stuck_sold_out import StuckSoldOut
from doorbuster_shop.store.strategies.unguarded_release import UnguardedRelease

POSTGRESQL_SCHEMES = ("postgresql://", "postgres://")
_PLAIN: Final = (
    ConditionalUpdate,
    RowLock,
    Optimistic,
    Buckets,
    CheckThenWrite,
    UnguardedRelease,
    StuckSoldOut,
    StaleExpiry,
    ScatteredBuckets,
)
_COUNTING: Final = (Prededuct, PredeductWithoutReturn)

PLAIN = {strategy.name: strategy for strategy in _PLAIN}
"""Strategies that need nothing but the database."""
COUNTING = {strategy.name: strategy for strategy in _COUNTING}
"""Strategies with a counter in front of it."""


def is_postgresql(address: str) -> bool:
    """Whether a store's address means PostgreSQL; all others are paths of SQLite files."""
    return address.startswith(POSTGRESQL_SCHEMES)


async def open_store(address: str, strategy_name: str, redis_address: str | None = None) -> Store:
    """Open the store at a path (SQLite) or an address postgresql://...

    Raises: DatabaseError.
    """
    strategy = await _strategy(address, strategy_name, redis_address)
    try:
        if not is_postgresql(address):
            return open_sqlite(address, strategy)
        # Loading the client takes 0.1 s that a shop on SQLite need not spend.
        from doorbuster_shop.store.postgresql import open_postgresql  # noqa: PLC0415

        return await open_postgresql(address, strategy)
    except DatabaseError:
        await strategy.close()
        raise


async def _strategy(address: str, name: str, redis_address: str | None) -> ConditionalUpdate:
    if name in PLAIN:
        return PLAIN[name]()
    if redis_address is not None:
        # A counter belongs to one database, whoever else uses this Redis.
        which = hashlib.sha256(address.encode()).hexdigest()[:16]
        counter = RedisCounter(redis_address, f"doorbuster:{name}:{which}")
        await _check(counter)
        return COUNTING[name](counter)
    if is_postgresql(address):
        message = f"the strategy {name} keeps its counter in Redis; give its address with --redis"
        raise DatabaseError(message)
    process_counter: Counter = ProcessCounter()
    return COUNTING[name](process_counter)


async def _check(counter: RedisCounter) -> None:
    reason = await counter.why_unreachable()
    if reason is not None:
        await counter.close()
        message = f"--redis: cannot be reached ({reason})"
        raise DatabaseError(message)
