"""kill -9 of the provider at any moment: no captured charge is lost, none is made twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.providers import BODY, CARD, provider_at

from doorbuster.scenario.payments import Payments
from doorbuster_shop.child import Child
from doorbuster_shop.provider.charges import Demand
from doorbuster_shop.provider.counter import Counter, Terms

BUYERS, KILLS = 120, 8


class Shop:
    """Repeats every call under its key until somebody answers, and remembers what it was told."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.told: dict[str, str] = {}
        self.given_back: set[str] = set()
        self.broken_count = 0

    async def _ask(self, http: aiohttp.ClientSession, path: str, body: Any, key: str) -> Any:
        while True:
            try:
                headers = {"Idempotency-Key": key}
                async with http.post(path, json=body, headers=headers) as reply:
                    return await reply.json()
            except aiohttp.ClientError:
                self.broken_count += 1
                await asyncio.sleep(0.02)

    async def _sell(self, http: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(number * 0.02)
        body = BODY | {"means": f"test-{number}-0", "reference": f"order-{number}"}
        reply = await self._ask(http, "/charges", body, f"k{number}")
        self.told[f"order-{number}"] = reply["status"]
        if reply["status"] == "captured" and number % 3 == 0:
            refund = {"charge_id": reply["charge_id"]}
            await self._ask(http, "/refunds", refund, f"k{number}")
            self.given_back.add(f"order-{number}")

    async def sell(self, death: Any) -> None:
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as http:
            buyers = [self._sell(http, number) for number in range(BUYERS)]
            await asyncio.wait_for(asyncio.gather(death(), *buyers), 120)


@pytest.mark.live
def test_the_provider_is_killed_again_and_again(tmp_path: Path) -> None:
    """Eight times at random moments (seeded): the ledger says what the shop was told."""
    moments = random.Random(8)

    def kill(child: Child) -> None:
        os.kill(child.pid, signal.SIGKILL)
        child.restart()

    async def death() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(moments.uniform(0.0, 0.3))
            await asyncio.to_thread(kill, child)

    traits = {"latency": {"kind": "uniform", "low": "0s", "high": "300ms"}, "decline_fraction": 0.3}
    with provider_at(tmp_path, traits) as (child, http):
        shop = Shop(child.url)
        asyncio.run(shop.sell(death))
        ledger = http.get("/ledger").json()
    rows = {row["reference"]: row for row in ledger["charges"]}
    assert len(rows) == len(ledger["charges"]) == BUYERS == len(shop.told)
    for reference, status in shop.told.items():
        now = "refunded" if reference in shop.given_back else status
        assert rows[reference]["status"] == now, reference
    assert ledger["references_captured_twice"] == 0
    assert set(shop.told.values()) == {"captured", "declined"}
    assert shop.given_back
    assert shop.broken_count > KILLS


def test_a_journal_cut_anywhere_is_a_book_of_the_past(tmp_path: Path) -> None:
    """At whatever byte the writing stopped, all whole lines count and the rest never was."""
    path = tmp_path / "journal.jsonl"
    payments = Payments.model_validate({"channels": [CARD]})

    async def written() -> None:
        counter = Counter(payments, Terms(1, 0.0, path), time.time)
        counter.open()
        for number in range(4):
            counter.charge(Demand(f"k{number}", "card", "m", 100, "r"))
        assert counter.refund(counter.books.charges["ch_00000002"]) is not None
        await counter.close()

    async def entered() -> tuple[int, int]:
        counter = Counter(payments, Terms(1, 0.0, path), time.time)
        counter.open()
        totals = counter.books.totals(time.time())
        await counter.close()
        return totals.captured_count, totals.refunded_count

    asyncio.run(written())
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        line_count = whole[:size].count(b"\n")
        assert asyncio.run(entered()) == (min(line_count, 4), max(line_count - 4, 0))
