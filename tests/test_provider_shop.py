"""The shop and its provider: notifications, charges in the books, outages and silence survived."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.providers import CARD, scenario_file

from doorbuster_shop.provider.running import running_provider
from doorbuster_shop.provider.signature import HEADER, sign
from doorbuster_shop.running import RunningShop, ShopStartError, running_shop

pytestmark = pytest.mark.live
SECRET = "between us"
SILENT = {"timeouts": {"fraction": 1, "captured_fraction": 1}}
PROMPT = {"webhooks": {"duplicate_fraction": 1, "late_fraction": 0}}


class Buyer:
    """Talks to a running shop, as buyer and as operator."""

    def __init__(self, running: RunningShop) -> None:
        self.http = httpx.Client(base_url=running.url, timeout=20)
        self._token = {"Authorization": f"Bearer {running.admin_token}"}

    def begin(self) -> None:
        """Open the sale now, for the shop and for its provider's outages."""
        reset = {"opens_at_epoch_s": time.time()}
        assert self.http.post("/admin/reset", json=reset, headers=self._token).status_code == 200

    def reserve(self, account: int) -> str:
        wish = {"sku": "console", "quantity": 1, "account": account}
        reply = self.http.post(
            "/reservations", json=wish, headers={"Idempotency-Key": f"w{account}"}
        )
        assert reply.status_code == 201
        order: str = reply.json()["reservation_id"]
        return order

    def pay(self, order: str, key: str = "p", channel: str = "card") -> httpx.Response:
        offer = {"channel": channel, "means": "test-1-0"}
        return self.http.post(
            f"/reservations/{order}/payments", json=offer, headers={"Idempotency-Key": key + order}
        )

    def ask(self, path: str) -> dict[str, Any]:
        reply = self.http.get(path, headers=self._token)
        assert reply.status_code == 200
        content: dict[str, Any] = reply.json()
        return content

    def cancel(self, order: str) -> None:
        path = f"/admin/reservations/{order}/cancel"
        assert self.http.post(path, headers=self._token).json() == {"released": True}

    @property
    def stock(self) -> dict[str, Any]:
        [level] = self.ask("/admin/stock")["items"]
        return dict(level)


@contextmanager
def shop_with(
    folder: Path, *channels: dict[str, Any], terms: dict[str, Any] | None = None, **options: Any
) -> Iterator[tuple[RunningShop, Buyer]]:
    path = scenario_file(folder, *channels, **(terms or {}))
    with running_shop(
        path, seed=5, folder=folder / "shop", notify_secret=SECRET, **options
    ) as running:
        buyer = Buyer(running)
        with buyer.http:
            yield running, buyer


def until(holds: Callable[[], bool], what: str, timeout_s: float = 15) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)


def test_a_notification_settles_what_the_answer_does_not(tmp_path: Path) -> None:
    """The provider never answers, but notifies, twice: the buyer is told long before a timeout."""
    with shop_with(tmp_path, SILENT | PROMPT) as (_, buyer):
        began_s = time.monotonic()
        told = buyer.pay(buyer.reserve(1))
        assert (told.status_code, told.json()["status"]) == (200, "paid")
        assert time.monotonic() - began_s < 5
        time.sleep(1.3)  # The copy comes a second later.
        assert buyer.stock["sold"] == 1
        account = buyer.ask("/admin/audit")
        assert account["payments_captured"] == 1
        assert account["captured_cents"] == account["paid_cents"] == 49_900


def test_without_notification_the_shop_asks(tmp_path: Path) -> None:
    """A charge that was never answered: pending for the buyer, settled by a query."""
    with shop_with(tmp_path, SILENT) as (_, buyer):
        told = buyer.pay(buyer.reserve(1))
        assert (told.status_code, told.json()["status"]) == (202, "pending")
        until(lambda: buyer.stock["sold"] == 1, "the query")
        assert buyer.http.get(f"/payments/{told.json()['payment_id']}").json()["status"] == "paid"


def _notify(buyer: Buyer, body: bytes, header: str) -> httpx.Response:
    return buyer.http.post("/webhooks/provider", content=body, headers={HEADER: header})


def test_the_webhook_believes_no_stranger(tmp_path: Path) -> None:
    """Forged, altered, old: 401 and no effect. Copies and unknown payments: 200 and no effect."""
    with shop_with(tmp_path, {"latency": "30s"}) as (_, buyer):
        order = buyer.reserve(1)
        offer = {"channel": "card", "means": "test-1-0"}
        path, key = f"/reservations/{order}/payments", {"Idempotency-Key": "p"}
        with pytest.raises(httpx.ReadTimeout):
            buyer.http.post(path, json=offer, headers=key, timeout=0.5)
        [row] = buyer.ask("/admin/charges")["charges"]
        assert row["state"] == "processing"
        payment_id = buyer.http.post(path, json=offer, headers=key).json()["payment_id"]
        charge = {"charge_id": "ch_1", "idempotency_key": payment_id, "status": "captured"}
        body = json.dumps({"id": "ev_1", "type": "charge.captured", "charge": charge}).encode()
        now_s = time.time()
        refused = [
            _notify(buyer, body, ""),
            _notify(buyer, body, sign("guessed", body, now_s)),
            _notify(buyer, body + b" ", sign(SECRET, body, now_s)),
            _notify(buyer, body, sign(SECRET, body, now_s - 400)),
        ]
        assert [reply.status_code for reply in refused] == [401] * 4
        assert buyer.stock["sold"] == 0
        garbage = b'{"id": 7}'
        assert _notify(buyer, garbage, sign(SECRET, garbage, now_s)).status_code == 422
        for _ in range(3):
            assert _notify(buyer, body, sign(SECRET, body, time.time())).status_code == 200
            # Acknowledged is settled: the database has it already.
            assert buyer.stock["sold"] == 1
        late = body.replace(b"captured", b"declined")
        assert _notify(buyer, late, sign(SECRET, late, now_s)).status_code == 200
        strange = body.replace(payment_id.encode(), b"pay_unknown")
        assert _notify(buyer, strange, sign(SECRET, strange, now_s)).status_code == 200
        assert buyer.stock["sold"] == 1


def paid_too_late(running: RunningShop, buyer: Buyer) -> str:
    """An order cancelled while the silent provider has its payment, once it is refunded."""
    order = buyer.reserve(1)
    with pytest.raises(httpx.ReadTimeout):
        buyer.http.post(
            f"/reservations/{order}/payments",
            json={"channel": "card", "means": "test-1-0"},
            headers={"Idempotency-Key": "p"},
            timeout=0.3,
        )
    buyer.cancel(order)
    ledger = f"{running.provider_url}/ledger"
    until(lambda: httpx.get(ledger).json()["refunded_count"] == 1, "the refund")
    return order


def test_money_that_comes_after_the_lock_is_gone_is_given_back(tmp_path: Path) -> None:
    """Cancelled while the provider is silent; the notification of the capture leads to a refund."""
    late = {"webhooks": {"late_fraction": 1, "late_by": "1s", "duplicate_fraction": 1}}
    with shop_with(tmp_path, SILENT | late) as (running, buyer):
        order = paid_too_late(running, buyer)
        time.sleep(1.3)
        [row] = buyer.ask("/admin/charges")["charges"]
        assert (row["state"], row["order_id"], row["amount_cents"]) == ("refunded", order, 49_900)
        assert row["asked_s"] <= row["captured_s"] <= row["refunded_s"]
        assert buyer.stock["sold"] == 0


def test_a_refund_in_an_outage_is_not_hammered(tmp_path: Path) -> None:
    """Told of a capture after its lock is gone, in an outage: asked again at growing intervals."""
    late = {"webhooks": {"late_fraction": 1, "late_by": "3500ms", "duplicate_fraction": 0}}
    outage = {"outages": [{"start": "3s", "duration": "4s"}]}
    with shop_with(tmp_path, SILENT | late | outage) as (running, buyer):
        buyer.begin()
        paid_too_late(running, buyer)
        log = Path(tmp_path / "shop" / "shop.log").read_text("utf-8")
        assert 1 <= log.count("POST /refunds: answered 503") <= 8


def test_the_charges_of_the_books_count_from_the_opening(tmp_path: Path) -> None:
    """GET /admin/charges: the CHARGES table of the run folder; 401 without the token."""
    opens_at_s = time.time() - 100
    no = CARD | {"name": "no", "decline_fraction": 1}
    with shop_with(tmp_path, {"latency": "20ms"}, no, opens_at_s=opens_at_s) as (_, buyer):
        order, refused = buyer.reserve(1), buyer.reserve(2)
        assert buyer.pay(order).status_code == 200
        assert buyer.pay(refused, channel="no").status_code == 402
        assert buyer.http.get("/admin/charges").status_code == 401
        paid, declined = buyer.ask("/admin/charges")["charges"]
    assert (paid["order_id"], paid["channel"], paid["state"]) == (order, "card", "captured")
    assert 100 <= paid["asked_s"] < 130
    assert paid["captured_s"] == pytest.approx(paid["asked_s"] + 0.02, abs=1e-6)
    assert paid["refunded_s"] is None
    assert (declined["state"], declined["captured_s"]) == ("declined", None)
    assert set(paid) == {
        "charge_id", "order_id", "channel", "amount_cents", "state",
        "asked_s", "decided_s", "captured_s", "refunded_s",
    }  # fmt: skip


def test_an_outage_is_outlasted_while_the_lock_lives(tmp_path: Path) -> None:
    """Refused charges are tried again, under the same key, until the channel is back."""
    outage = {"start": "0s", "duration": "1500ms"}
    with shop_with(tmp_path, {"outages": [outage]}, terms={"lock_time": "60s"}) as (_, buyer):
        buyer.begin()
        told = buyer.pay(buyer.reserve(1))
        assert (told.status_code, told.json()["status"]) == (200, "paid")
        [row] = buyer.ask("/admin/charges")["charges"]
        assert row["asked_s"] >= 1.5


def test_a_payment_that_the_outage_outlasts_is_dropped(tmp_path: Path) -> None:
    """The provider never took it, and is told to close its key; then the units come back."""
    outage = {"start": "0s", "duration": "1h"}
    terms = {"lock_time": "2s", "release_sweep": "200ms"}
    with shop_with(tmp_path, {"outages": [outage]}, terms=terms) as (running, buyer):
        told = buyer.pay(buyer.reserve(1))
        assert told.status_code == 410
        until(lambda: buyer.stock["available"] == 20, "the release")
        ledger = httpx.get(f"{running.provider_url}/ledger").json()
        assert ledger["charges"] == []
        journal = Path(tmp_path / "shop" / "shop-provider.jsonl").read_text("utf-8")
        assert '"closed_key":"pay_' in journal


def test_the_rate_limit_is_waited_out(tmp_path: Path) -> None:
    """Five at once where two a second are let in: all are paid in the end, none twice."""
    with shop_with(tmp_path, {"rate_limit_per_s": 2}, terms={"lock_time": "60s"}) as (_, buyer):
        orders = [buyer.reserve(account) for account in range(5)]
        assert [buyer.pay(order).status_code for order in orders] == [200] * 5
        assert len(buyer.ask("/admin/charges")["charges"]) == 5


def test_a_shop_with_somebody_elses_provider(tmp_path: Path) -> None:
    """serve --provider: it is asked, notifies, and goes on when the shop has ended."""
    path = scenario_file(tmp_path, SILENT | PROMPT)
    with running_provider(path, seed=5, log_path=tmp_path / "provider.log") as provider:
        with shop_with(tmp_path, SILENT | PROMPT, provider_url=provider.url) as (running, buyer):
            assert running.provider_url == provider.url
            assert running.dead() is None
            buyer.pay(buyer.reserve(1))
            until(lambda: buyer.stock["sold"] == 1, "the query")
        assert httpx.get(f"{provider.url}/ledger").json()["captured_count"] == 1
    with (
        pytest.raises(ShopStartError, match=r"does not answer .*start it first"),
        shop_with(tmp_path, PROMPT, provider_url=provider.url),
    ):
        pass
