"""The reference shop as buyers meet it: real processes, real HTTP, a real database."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from doorbuster.provider import provider_answer, provider_of
from doorbuster.records.audit import Audit
from doorbuster.scenario.reading import read_scenario
from doorbuster_shop.running import RunningShop, running_shop

pytestmark = pytest.mark.live

SEED = 7
LOCK_S, SWEEP_S, TIMEOUT_S, SLOW_S = 1.5, 0.25, 0.5, 2.5
SALE: dict[str, Any] = {
    "version": 1,
    "name": "shop-test",
    "shop": {
        "lock_time": f"{LOCK_S}s",
        "release_sweep": f"{SWEEP_S}s",
        "items": [
            {"sku": "console", "stock": 20, "price": 499},
            {"sku": "headset", "stock": 50, "price": 29.9, "per_account_limit": 3},
        ],
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
        "timeout": f"{TIMEOUT_S}s",
        "channels": [
            {"name": name, "share": 1, "latency": latency, "decline_fraction": declines,
             "late_fraction": 0}
            for name, latency, declines in [
                ("quick", "5ms", 0), ("moody", "5ms", 0.5), ("slow", f"{SLOW_S}s", 0),
                ("never", "5ms", 1),
            ]
        ],
    },
    "service": {
        "stations": [{"name": "web", "servers": 1}],
        "browse": [{"station": "web", "time": "1ms"}],
        "reserve": [{"station": "web", "time": "1ms"}],
        "pay": [{"station": "web", "time": "1ms"}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def scenario_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "sale.yaml"
    path.write_text(json.dumps(SALE), "utf-8")  # JSON is YAML.
    return path


@pytest.fixture(scope="module")
def running(scenario_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    with running_shop(scenario_path, seed=SEED, folder=tmp_path_factory.mktemp("shop")) as shop:
        yield shop


class Buyer:
    """A few calls in the words of the API, and fresh keys."""

    def __init__(self, shop: RunningShop) -> None:
        self.http = httpx.Client(base_url=shop.url, timeout=10)
        self.admin = {"Authorization": f"Bearer {shop.admin_token}"}
        self._keys = 0

    def key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"

    def reserve(self, account: object, *, sku: str = "console", key: str = "", quantity: int = 1
                ) -> httpx.Response:  # fmt: skip
        body = {"sku": sku, "quantity": quantity, "account": account}
        headers = {"Idempotency-Key": key or self.key()}
        return self.http.post("/reservations", json=body, headers=headers)

    def pay(
        self,
        reservation: httpx.Response,
        channel: str = "quick",
        *,
        means: str = "m",
        key: str = "",
    ) -> httpx.Response:
        reservation_id = reservation.json()["reservation_id"]
        return self.http.post(
            f"/reservations/{reservation_id}/payments",
            json={"channel": channel, "means": means},
            headers={"Idempotency-Key": key or self.key()},
        )

    def stock(self, sku: str = "console") -> tuple[int, int, int]:
        items = self.http.get("/admin/stock", headers=self.admin).json()["items"]
        [item] = [item for item in items if item["sku"] == sku]
        return item["available"], item["locked"], item["sold"]

    def audit(self) -> Audit:
        return Audit.model_validate(self.http.get("/admin/audit", headers=self.admin).json())

    def reset(self, *, opens_in_s: float = 0.0, **others: Any) -> httpx.Response:
        body = {"opens_at_epoch_s": time.time() + opens_in_s, **others}
        return self.http.post("/admin/reset", headers=self.admin, json=body)


@pytest.fixture
def buyer(running: RunningShop) -> Iterator[Buyer]:
    """A buyer in a fresh sale."""
    buyer = Buyer(running)
    assert buyer.reset(force=True, seed=SEED).status_code == 200
    yield buyer
    buyer.http.close()


def until(true: Callable[[], bool], within_s: float) -> float:
    """Seconds until something holds. Fails when it takes longer than within_s."""
    started_s = time.monotonic()
    while not true():
        assert time.monotonic() - started_s < within_s, "it took too long"
        time.sleep(0.01)
    return time.monotonic() - started_s


def assert_all_adds_up(account: Audit) -> None:
    for line in account.items:
        assert line.available_units + line.locked_units + line.sold_units == line.initial_units
        assert line.lapsed_locks == 0
    assert account.captured_cents == account.paid_cents
    assert (account.orders_captured_twice, account.payments_without_order) == (0, 0)


def test_looking_reserving_paying(buyer: Buyer) -> None:
    """The happy path, each answer with all its members."""
    page = {"sku": "console", "price_cents": 49_900, "available": 20, "status": "on_sale"}
    assert buyer.http.get("/items/console").json() == page
    reservation = buyer.reserve(1)
    assert reservation.status_code == 201
    told = reservation.json()
    assert told.keys() == {"reservation_id", "amount_cents", "discount_cents", "expires_in_s"}
    assert told["amount_cents"] == 49_900
    assert told["expires_in_s"] == pytest.approx(LOCK_S, abs=1e-6)
    assert buyer.stock() == (19, 1, 0)
    payment = buyer.pay(reservation)
    assert payment.status_code == 200
    payment_id = payment.json()["payment_id"]
    assert payment.json() == {"payment_id": payment_id, "status": "paid"}
    assert buyer.http.get(f"/payments/{payment_id}").json()["status"] == "paid"
    assert buyer.stock() == (19, 0, 1)
    account = buyer.audit()
    assert_all_adds_up(account)
    assert (account.payments_captured, account.paid_cents) == (1, 49_900)
    assert buyer.pay(reservation).json()["code"] == "already_paid"


def test_nothing_is_sold_before_the_opening(buyer: Buyer) -> None:
    """`not_open` on the page and on the button, until the very opening."""
    buyer.reset(opens_in_s=0.5)
    assert buyer.http.get("/items/console").json()["status"] == "not_open"
    early = buyer.reserve(1, key="same")
    assert (early.status_code, early.json()["code"]) == (425, "not_open")
    until(lambda: buyer.reserve(1, key="same").status_code == 201, within_s=2)


async def _rush(url: str, count: int, account: Callable[[int], int]) -> Counter[tuple[int, str]]:
    """Many buyers at once, who pay what they get; (status, code) of everybody's last answer."""

    async def visit(session: aiohttp.ClientSession, number: int) -> tuple[int, str]:
        body = {"sku": "console", "quantity": 1, "account": account(number)}
        key = {"Idempotency-Key": f"visitor-{number}"}
        async with session.post("/reservations", json=body, headers=key) as reply:
            told = await reply.json()
            if reply.status != 201:
                return reply.status, told["code"]
        path = f"/reservations/{told['reservation_id']}/payments"
        means = {"channel": "quick", "means": f"test-{number}-0"}
        async with session.post(path, json=means, headers=key) as reply:
            return reply.status, (await reply.json())["status"]

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        return Counter(await asyncio.gather(*(visit(session, n) for n in range(count))))


@pytest.mark.requirement("A061")
def test_300_buyers_at_once_cannot_oversell_20_units(buyer: Buyer, running: RunningShop) -> None:
    """Exactly the stock is sold, everybody else hears `sold_out`."""
    ends = asyncio.run(_rush(running.url, 300, account=lambda number: number))
    assert ends == {(200, "paid"): 20, (409, "sold_out"): 280}
    assert buyer.stock() == (0, 0, 20)
    account = buyer.audit()
    assert_all_adds_up(account)
    assert account.payments_captured == 20
    assert buyer.http.get("/items/console").json()["status"] == "sold_out"


def test_one_account_cannot_race_past_its_limit(buyer: Buyer, running: RunningShop) -> None:
    """30 parallel requests of one account with different keys get what one would get."""
    ends = asyncio.run(_rush(running.url, 30, account=lambda _: 1))
    assert ends == {(200, "paid"): 1, (409, "limit_reached"): 29}
    assert buyer.audit().items[0].max_units_per_account == 1
    assert buyer.reserve("many", sku="headset", quantity=2).status_code == 201
    refused = buyer.reserve("many", sku="headset", quantity=2)
    assert (refused.status_code, refused.json()["code"]) == (409, "limit_reached")


def _drop_after_sending(running: RunningShop, path: str, body: object, key: str) -> None:
    """Send a whole request and hang up without reading the answer."""
    text = json.dumps(body)
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {key}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        )


def test_a_retry_after_a_lost_answer_has_one_effect(buyer: Buyer, running: RunningShop) -> None:
    """Reserving and paying again with the same key after the connection broke changes nothing."""
    _drop_after_sending(
        running, "/reservations", {"sku": "console", "quantity": 1, "account": 1}, "wish"
    )
    until(lambda: buyer.stock() == (19, 1, 0), within_s=2)
    first, second = buyer.reserve(1, key="wish"), buyer.reserve(1, key="wish")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["reservation_id"] == second.json()["reservation_id"]
    assert buyer.stock() == (19, 1, 0)

    path = f"/reservations/{first.json()['reservation_id']}/payments"
    _drop_after_sending(running, path, {"channel": "slow", "means": "m"}, "payment")
    # The retry joins the payment in flight: still unknown after the shop's patience, then paid.
    pending = buyer.pay(first, "slow", key="payment")
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    payment_url = f"/payments/{pending.json()['payment_id']}"
    until(lambda: buyer.http.get(payment_url).json()["status"] == "paid", within_s=SLOW_S + 1)
    assert buyer.pay(first, "slow", key="payment").status_code == 200
    account = buyer.audit()
    assert_all_adds_up(account)
    assert account.payments_captured == 1


def test_a_key_belongs_to_one_wish(buyer: Buyer) -> None:
    """The same key with another body is refused, for reservations and payments alike."""
    reservation = buyer.reserve(1, key="wish")
    assert buyer.reserve(2, key="wish").json()["code"] == "idempotency_key_reused"
    assert buyer.pay(reservation, "never", key="pay").status_code == 402
    other = buyer.pay(reservation, "quick", key="pay")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert buyer.stock() == (19, 1, 0)


@pytest.mark.requirement("A060")
def test_an_unpaid_lock_lapses_and_its_unit_is_sold_again(buyer: Buyer) -> None:
    """The unit is back within lock time and one sweep, and not before; the old lock is dead."""
    started_s = time.monotonic()
    reservation = buyer.reserve(1)
    assert buyer.reserve(1).json()["code"] == "limit_reached"
    until(lambda: buyer.stock() == (20, 0, 0), within_s=LOCK_S + SWEEP_S + 0.5)
    assert LOCK_S <= time.monotonic() - started_s <= LOCK_S + SWEEP_S + 0.3
    dead = buyer.pay(reservation)
    assert (dead.status_code, dead.json()["code"]) == (410, "reservation_expired")
    assert buyer.reserve(1).status_code == 201
    assert_all_adds_up(buyer.audit())


def test_a_late_provider_holds_the_lock_until_it_has_answered(buyer: Buyer) -> None:
    """202 when the shop's patience is over; the lock outlives its time; poll tells `paid`."""
    reservation = buyer.reserve(1)
    started_s = time.monotonic()
    pending = buyer.pay(reservation, "slow")
    assert TIMEOUT_S <= time.monotonic() - started_s < TIMEOUT_S + 0.5
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    assert buyer.pay(reservation, "quick").json()["code"] == "payment_in_progress"
    busy = buyer.reset()
    assert (busy.status_code, busy.json()["code"]) == (409, "payments_in_flight")
    time.sleep(max(0.0, started_s + LOCK_S + 2 * SWEEP_S - time.monotonic()))
    assert buyer.stock() == (19, 1, 0)
    assert_all_adds_up(buyer.audit())
    url = f"/payments/{pending.json()['payment_id']}"
    until(lambda: buyer.http.get(url).json()["status"] == "paid", within_s=SLOW_S)
    assert SLOW_S <= time.monotonic() - started_s < SLOW_S + 0.5
    assert buyer.stock() == (19, 0, 1)


def test_a_declined_payment_leaves_the_lock(buyer: Buyer) -> None:
    """402, the unit stays locked, another channel may still pay it."""
    reservation = buyer.reserve(1)
    declined = buyer.pay(reservation, "never")
    assert (declined.status_code, declined.json()["code"]) == (402, "declined")
    assert buyer.stock() == (19, 1, 0)
    assert buyer.pay(reservation, "quick").status_code == 200
    assert_all_adds_up(buyer.audit())


def test_the_provider_decides_like_the_simulation(buyer: Buyer, scenario_path: Path) -> None:
    """What a test means names is drawn as `provider_answer` draws it, visitor by visitor."""
    provider = provider_of(read_scenario(scenario_path).scenario.payments, SEED)
    expected, got = [], []
    for visitor in range(16):
        for attempt in range(2):
            _, approved = provider_answer(provider, visitor, 1, attempt)
            reservation = buyer.reserve(f"{visitor}/{attempt}", sku="headset")
            paid = buyer.pay(reservation, "moody", means=f"test-{visitor}-{attempt}")
            expected.append(200 if approved else 402)
            got.append(paid.status_code)
    assert got == expected
    assert set(got) == {200, 402}


def test_money_for_a_cancelled_lock_is_given_back(buyer: Buyer, running: RunningShop) -> None:
    """The operator cancels while the payment is in flight: the capture is refunded, not kept."""
    reservation = buyer.reserve(1)
    pending = buyer.pay(reservation, "slow")
    path = f"/admin/reservations/{reservation.json()['reservation_id']}/cancel"
    assert buyer.http.post(path).status_code == 401
    assert buyer.http.post(path, headers=buyer.admin).json() == {"released": True}
    assert buyer.http.post(path, headers=buyer.admin).json() == {"released": False}
    assert buyer.stock() == (20, 0, 0)
    url = f"/payments/{pending.json()['payment_id']}"
    until(lambda: buyer.http.get(url).json()["status"] == "expired", within_s=SLOW_S + 1)
    ledger = httpx.get(f"{running.provider_url}/ledger").json
    until(lambda: bool(ledger()["refunded_count"] == 1), within_s=1)
    account = buyer.audit()
    assert_all_adds_up(account)
    assert (account.payments_captured, account.captured_cents) == (0, 0)
