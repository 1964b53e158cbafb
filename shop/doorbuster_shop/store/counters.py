"""The counter in front of the database: in this process, or in Redis for all processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_TIMEOUT_S = 0.5
"""How long a buyer waits for the counter before the database decides alone."""


class Counter(Protocol):
    """Units by item that may still be let through."""

    async def take(self, sku: str, quantity: int) -> bool | None:
        """Take units, all or none: whether there were enough; None when nobody knows."""

    async def give_back(self, sku: str, quantity: int) -> None:
        """Units may be taken again."""

    async def set(self, levels: Mapping[str, int]) -> None:
        """Begin anew with these units."""

    async def close(self) -> None:
        """Let go of it."""


class ProcessCounter:
    """A dictionary: one event loop asks it, so nothing comes between the look and the change."""

    def __init__(self) -> None:
        self._units: dict[str, int] = {}

    async def take(self, sku: str, quantity: int) -> bool | None:
        """Take units, all or none."""
        units = self._units.get(sku)
        if units is None:
            return None
        if units < quantity:
            return False
        self._units[sku] = units - quantity
        return True

    async def give_back(self, sku: str, quantity: int) -> None:
        """Units may be taken again."""
        if sku in self._units:
            self._units[sku] += quantity

    async def set(self, levels: Mapping[str, int]) -> None:
        """Begin anew with these units."""
        self._units = dict(levels)

    async def close(self) -> None:
        """Nothing to let go of."""


# Both are atomic in Redis. -1: not counted, so that nothing is made of a counter that was lost.
_TAKE = """
local units = tonumber(redis.call('HGET', KEYS[1], ARGV[1]))
if not units then return -1 end
if units < tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], -ARGV[2])
return 1
"""
_GIVE_BACK = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return -1 end
return redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
"""


class RedisCounter:
    """A hash in Redis, one field an item, changed by scripts.

    When Redis cannot be reached nobody knows, and the database decides alone.
    """

    def __init__(self, address: str, key: str) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - most shops have none
        from redis.exceptions import RedisError  # noqa: PLC0415

        self._redis: Redis = Redis.from_url(
            address, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        self._lost: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)
        self._key = key
        self._take = self._redis.register_script(_TAKE)
        self._give_back = self._redis.register_script(_GIVE_BACK)

    async def take(self, sku: str, quantity: int) -> bool | None:
        """Take units, all or none."""
        try:
            told = await self._take(keys=[self._key], args=[sku, quantity])
        except self._lost:
            return None
        return None if told < 0 else bool(told)

    async def give_back(self, sku: str, quantity: int) -> None:
        """Units may be taken again. What is lost here is put right after the next sweep."""
        try:
            await self._give_back(keys=[self._key], args=[sku, quantity])
        except self._lost:
            return

    async def set(self, levels: Mapping[str, int]) -> None:
        """Begin anew with these units."""
        try:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._key)
                if levels:
                    fields: Any = dict(levels)
                    pipe.hset(self._key, mapping=fields)
                await pipe.execute()
        except self._lost:
            return

    async def why_unreachable(self) -> str | None:
        """None when Redis answers."""
        try:
            await self._redis.ping()
        except self._lost as error:
            return f"{type(error).__name__}: {error}"
        return None

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
