"""The reference shop when processes die: what was told to a buyer still holds afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from doorbuster.records.audit import Audit
from doorbuster_shop.running import RunningShop, ShopStartError, running_shop

pytestmark = pytest.mark.live

STOCK, VISITORS = 60, 90
SALE: dict[str, Any] = {
    "version": 1,
    "name": "crash-test",
    "shop": {
        "lock_time": "60s",
        "release_sweep": "250ms",
        "items": [{"sku": "console", "stock": STOCK, "price": 499}],
    },
    "crowd": {
        "normal_load_per_s": 1,
        "phases": [
            {
                "name": "sale",
                "start": 0,
                "duration": "1s",
                "shape": {"kind": "constant", "level": 1},
            }
        ],
        "personas": {"fan": {"share": 1}},
    },
    "payments": {
        "timeout": "60s",  # Longer than a restart on a busy machine.
        "channels": [
            {
                "name": "card",
                "share": 1,
                "latency": {"kind": "uniform", "low": "50ms", "high": "1s"},
                "decline_fraction": 0.2,
                "late_fraction": 0,
            }
        ],
    },
    "service": {
        "stations": [{"name": "web", "servers": 1}],
        "browse": [{"station": "web", "time": "1ms"}],
        "reserve": [{"station": "web", "time": "1ms"}],
        "pay": [{"station": "web", "time": "1ms"}],
    },
}


@pytest.fixture
def scenario_path(tmp_path: Path) -> Path:
    path = tmp_path / "sale.yaml"
    path.write_text(json.dumps(SALE), "utf-8")
    return path


@pytest.fixture
def running(scenario_path: Path, tmp_path: Path) -> Iterator[RunningShop]:
    with running_shop(scenario_path, seed=3, folder=tmp_path / "shop") as shop:
        yield shop


class Crowd:
    """Visitors who repeat every request with its key until somebody answers."""

    def __init__(self, running: RunningShop) -> None:
        self._running = running
        self.told_paid: set[str] = set()
        self.told_declined: set[str] = set()
        self.refused_count = 0
        self.broken_count = 0

    async def _ask(
        self, session: aiohttp.ClientSession, path: str, body: object, key: str
    ) -> tuple[int, dict[str, Any]]:
        for _ in range(600):
            headers = {"Idempotency-Key": key}
            try:
                async with session.post(path, json=body, headers=headers) as reply:
                    return reply.status, await reply.json()
            except aiohttp.ClientError:
                self.broken_count += 1
                await asyncio.sleep(0.1)
        raise AssertionError("nobody answered for a minute")

    async def _visit(self, session: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(number * 0.015)
        wish = {"sku": "console", "quantity": 1, "account": number}
        status, told = await self._ask(session, "/reservations", wish, f"wish-{number}")
        if status != 201:
            assert told["code"] == "sold_out"
            self.refused_count += 1
            return
        path = f"/reservations/{told['reservation_id']}/payments"
        offer = {"channel": "card", "means": f"test-{number}-0"}
        status, _ = await self._ask(session, path, offer, f"pay-{number}")
        assert status in (200, 402)
        (self.told_paid if status == 200 else self.told_declined).add(told["reservation_id"])

    async def come(self, death_at_s: float, death: Callable[[], None]) -> None:
        """Everybody visits; meanwhile death strikes."""

        async def strike() -> None:
            await asyncio.sleep(death_at_s)
            await asyncio.to_thread(death)

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self._running.url, connector=connector) as session:
            visits = [self._visit(session, number) for number in range(VISITORS)]
            await asyncio.gather(strike(), *visits)


def account_of(running: RunningShop) -> Audit:
    headers = {"Authorization": f"Bearer {running.admin_token}"}
    reply = httpx.get(f"{running.url}/admin/audit", headers=headers, timeout=10)
    return Audit.model_validate(reply.json())


def assert_sale_is_whole(running: RunningShop, crowd: Crowd) -> None:
    account = account_of(running)
    [line] = account.items
    assert line.available_units + line.locked_units + line.sold_units == STOCK
    assert line.sold_units == line.orders_paid == len(crowd.told_paid)
    assert line.locked_units == len(crowd.told_declined)
    assert line.max_units_per_account == 1
    assert account.payments_captured == len(crowd.told_paid)
    assert account.captured_cents == account.paid_cents == 49_900 * len(crowd.told_paid)
    assert (account.orders_captured_twice, account.payments_without_order) == (0, 0)
    # Everybody got an answer, and there was something to survive.
    assert len(crowd.told_paid) + len(crowd.told_declined) + crowd.refused_count == VISITORS
    assert crowd.broken_count > 0
    assert crowd.told_paid
    assert crowd.told_declined


def test_the_shop_is_killed_in_the_middle_of_the_sale(running: RunningShop) -> None:
    """kill -9 and a restart, twice: no unit and no cent is lost, nobody pays twice."""

    def kill_and_restart_twice() -> None:
        for _ in range(2):
            os.kill(running.shop_pid, signal.SIGKILL)
            running.restart_shop()
            time.sleep(0.3)

    crowd = Crowd(running)
    asyncio.run(crowd.come(0.6, kill_and_restart_twice))
    assert_sale_is_whole(running, crowd)


def test_the_provider_is_killed_in_the_middle_of_the_sale(running: RunningShop) -> None:
    """The journal brings its charges back; the shop asks again under the same keys."""

    def kill_and_restart() -> None:
        os.kill(running.provider_pid, signal.SIGKILL)
        running.restart_provider()

    crowd = Crowd(running)
    crowd.broken_count = 1  # Buyers see no broken connection: the shop waits for the provider.
    asyncio.run(crowd.come(0.6, kill_and_restart))
    assert_sale_is_whole(running, crowd)


def test_a_payment_left_open_by_a_dead_shop_is_settled_by_the_next(
    running: RunningShop,
) -> None:
    """Nobody retries: the restarted shop itself asks the provider what became of the payment."""
    with httpx.Client(base_url=running.url) as http:
        wish = {"sku": "console", "quantity": 1, "account": 1}
        told = http.post("/reservations", json=wish, headers={"Idempotency-Key": "w"}).json()

    async def pay_and_kill() -> None:
        async with aiohttp.ClientSession(running.url) as session:
            path = f"/reservations/{told['reservation_id']}/payments"
            offer = {"channel": "card", "means": "test-1-0"}
            paying = asyncio.ensure_future(
                session.post(path, json=offer, headers={"Idempotency-Key": "p"})
            )
            await asyncio.sleep(0.04)  # The fastest answer takes 50 ms.
            os.kill(running.shop_pid, signal.SIGKILL)
            with pytest.raises(aiohttp.ClientError):
                await paying

    asyncio.run(pay_and_kill())
    assert httpx.get(f"{running.provider_url}/ledger").json()["processing_count"] == 1
    running.restart_shop()
    deadline_s = time.monotonic() + 5
    while (account := account_of(running)).items[0].sold_units == 0:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert account.items[0].locked_units == 0
    assert account.paid_cents == account.captured_cents == 49_900


def test_a_shop_that_is_asked_to_end_finishes_what_it_began(running: RunningShop) -> None:
    """SIGTERM while a buyer pays: the buyer gets the answer, then the shop is gone."""
    with httpx.Client(base_url=running.url) as http:
        wish = {"sku": "console", "quantity": 1, "account": 1}
        told = http.post("/reservations", json=wish, headers={"Idempotency-Key": "w"}).json()

    async def pay_and_end() -> int:
        async with aiohttp.ClientSession(running.url) as session:
            path = f"/reservations/{told['reservation_id']}/payments"
            offer = {"channel": "card", "means": "test-1-0"}
            headers = {"Idempotency-Key": "p"}
            paying = asyncio.ensure_future(session.post(path, json=offer, headers=headers))
            await asyncio.sleep(0.04)  # The fastest answer takes 50 ms.
            os.kill(running.shop_pid, signal.SIGTERM)
            async with await paying as reply:
                return reply.status

    assert asyncio.run(pay_and_end()) == 200
    deadline_s = time.monotonic() + 5
    while running.dead() is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    running.restart_shop()
    assert account_of(running).items[0].sold_units == 1


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_the_children_die_with_their_parent(
    scenario_path: Path, tmp_path: Path, death: signal.Signals
) -> None:
    """However the parent goes, shop and provider go too."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from doorbuster_shop.running import running_shop\n"
        "with running_shop(Path(sys.argv[1]), seed=1, folder=Path(sys.argv[2])) as shop:\n"
        "    print(shop.shop_pid, shop.provider_pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(scenario_path), str(tmp_path / "shop")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(death)
    parent.wait(10)
    parent.stdout.close()
    deadline_s = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline_s, "a child outlived its parent"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_a_taken_port_and_a_strange_database_are_told(
    running: RunningShop, scenario_path: Path, tmp_path: Path
) -> None:
    """What cannot start says why, and leaves nothing running."""
    port = int(running.url.rsplit(":", 1)[1])
    with (
        pytest.raises(ShopStartError, match=f"port {port}: .*give another one"),
        running_shop(scenario_path, seed=1, folder=tmp_path / "other", port=port),
    ):
        pass
    strange = tmp_path / "strange.db"
    strange.write_text("no database at all " * 100)
    with (
        pytest.raises(ShopStartError, match=r"the shop did not start(.|\n)*strange\.db"),
        running_shop(scenario_path, seed=1, folder=tmp_path / "other", database_path=strange),
    ):
        pass
