"""How long PostgreSQL leaves a row to a transaction that has waited for it and was overtaken.

    .venv/bin/python benchmarks/overtaken.py

Prints the median over some rounds of many that wait for one row, seconds for each of them.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from psycopg import AsyncConnection

from doorbuster_shop.throwaway import throwaway_postgresql

OVERTAKEN_COUNT, OVERTAKEN_ROUNDS = 12, 5
"""Transactions that wait for one row, and how often that is tried."""
SETTLING_S = 0.1
"""Until all of them wait."""


async def kept_in_vain_s() -> float:
    """All rounds, on a server that is thrown away."""
    with throwaway_postgresql() as address:
        first, *others = [
            await AsyncConnection.connect(address, autocommit=True)
            for _ in range(1 + OVERTAKEN_COUNT)
        ]
        await first.execute("CREATE TABLE hot (version INTEGER)")
        await first.execute("INSERT INTO hot VALUES (0)")
        times_s = []
        for version in range(OVERTAKEN_ROUNDS):
            await first.execute("BEGIN")
            await first.execute("UPDATE hot SET version = %s", (version + 1,))
            losing = [asyncio.ensure_future(_lose(other, version)) for other in others]
            await asyncio.sleep(SETTLING_S)
            begun_s = time.perf_counter()
            await first.execute("COMMIT")
            await asyncio.gather(*losing)
            times_s.append((time.perf_counter() - begun_s) / OVERTAKEN_COUNT)
        for connection in (first, *others):
            await connection.close()
    return float(np.median(times_s))


async def _lose(connection: AsyncConnection[Any], version: int) -> None:
    await connection.execute("BEGIN")
    change = "UPDATE hot SET version = version + 1 WHERE version = %s"
    assert (await connection.execute(change, (version,))).rowcount == 0
    await connection.execute("ROLLBACK")


if __name__ == "__main__":
    print(asyncio.run(kept_in_vain_s()))
