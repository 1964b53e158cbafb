"""The provider's calls: close, refund and ledger, over HTTP."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from tests.providers import charge, close, found, provider_at

pytestmark = pytest.mark.live


def test_an_unpaid_charge_can_be_closed(tmp_path: Path) -> None:
    """Nothing is taken, whoever waits is told, and the key is used up."""
    with provider_at(tmp_path, {"latency": "600ms"}) as (_, http):
        replies: list[httpx.Response] = []
        paying = threading.Thread(target=lambda: replies.append(charge(http, "k")))
        paying.start()
        while "charge_id" not in found(http, "k"):
            time.sleep(0.01)
        assert found(http, "k")["status"] == "processing"
        closed = close(http, "k")
        assert (closed.status_code, closed.json()["status"]) == (200, "closed")
        assert close(http, "k").json() == closed.json()
        paying.join(10)
        assert (replies[0].status_code, replies[0].json()["code"]) == (402, "closed")
        assert charge(http, "k").json()["status"] == "closed"
        ledger = http.get("/ledger").json()
        assert (ledger["captured_count"], ledger["closed_count"]) == (0, 1)
        assert ledger["charges"][0]["captured_at_s"] is None
        assert ledger["charges"][0]["closed_at_s"] is not None


def test_a_key_can_be_closed_before_its_charge_arrives(tmp_path: Path) -> None:
    """The demand that was still on its way takes no money."""
    with provider_at(tmp_path, {}) as (_, http):
        assert close(http, "late").json()["status"] == "closed"
        late = charge(http, "late")
        assert (late.status_code, late.json()["code"]) == (402, "closed")
        assert http.get("/ledger").json()["charges"] == []


def test_a_captured_charge_says_that_it_is(tmp_path: Path) -> None:
    """409 with the charge; after its refund it is still no charge that can be closed."""
    with provider_at(tmp_path, {}) as (_, http):
        charge_id = charge(http, "k").json()["charge_id"]
        told = close(http, "k")
        assert told.status_code == 409
        assert told.json()["status"] == told.json()["code"] == "captured"
        http.post("/refunds", json={"charge_id": charge_id})
        told = close(http, "k")
        assert (told.status_code, told.json()["status"]) == (409, "refunded")


def test_a_declined_charge_is_closed_already(tmp_path: Path) -> None:
    with provider_at(tmp_path, {"decline_fraction": 1}) as (_, http):
        assert charge(http, "k").status_code == 402
        told = close(http, "k")
        assert (told.status_code, told.json()["status"]) == (200, "declined")


def test_the_ledger_has_every_charge_with_its_times(tmp_path: Path) -> None:
    """Asked, captured, refunded: in this order, null where it did not happen."""
    with provider_at(tmp_path, {"latency": "50ms"}, {"name": "no", "decline_fraction": 1}) as (
        _,
        http,
    ):
        began_s = time.time()
        kept = charge(http, "kept", reference="order-1").json()
        back = charge(http, "back", reference="order-2").json()
        charge(http, "declined", reference="order-3", channel="no")
        refund = {"charge_id": back["charge_id"]}
        first = http.post("/refunds", json=refund)
        assert first.json() == {"charge_id": back["charge_id"], "status": "refunded"}
        refunded_at_s = http.get("/ledger").json()["charges"][1]["refunded_at_s"]
        time.sleep(0.02)
        assert http.post("/refunds", json=refund).status_code == 200
        ledger = http.get("/ledger").json()
        declined_id = found(http, "declined")["charge_id"]
        refused = http.post("/refunds", json={"charge_id": declined_id})
        assert (refused.status_code, refused.json()["code"]) == (409, "not_captured")
    rows = {row["reference"]: row for row in ledger["charges"]}
    assert [rows[f"order-{n}"]["status"] for n in (1, 2, 3)] == ["captured", "refunded", "declined"]
    one, two, three = (rows[f"order-{n}"] for n in (1, 2, 3))
    assert one["charge_id"] == kept["charge_id"]
    assert began_s <= one["asked_at_s"]
    assert one["captured_at_s"] == pytest.approx(one["asked_at_s"] + 0.05)
    assert two["captured_at_s"] <= two["refunded_at_s"] == refunded_at_s
    assert (one["refunded_at_s"], three["captured_at_s"]) == (None, None)
    assert (ledger["captured_cents"], ledger["refunded_cents"]) == (9_800, 4_900)


def test_a_channel_that_is_out_gives_nothing_back(tmp_path: Path) -> None:
    """A refund is refused in an outage and possible after it."""
    outage = {"start": "600ms", "duration": "600ms"}
    opens_at_s = time.time() + 3600
    with provider_at(tmp_path, {"outages": [outage]}, opens_at_s=opens_at_s) as (_, http):
        opened_s = time.time()
        http.post("/reset", json={"opens_at_s": opened_s})
        refund = {"charge_id": charge(http, "k").json()["charge_id"]}
        time.sleep(opened_s + 0.7 - time.time())
        assert http.post("/refunds", json=refund).status_code == 503
        time.sleep(opened_s + 1.25 - time.time())
        assert http.post("/refunds", json=refund).status_code == 200
