"""Notifications as a shop gets them: signed, repeated, doubled, late, out of order, never lost."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers import charge, close, provider_at

from doorbuster_shop.provider.running import Mail
from doorbuster_shop.provider.schedules import GAPS_S, remaining_gaps_s
from doorbuster_shop.provider.signature import HEADER, mistake, sign

live = pytest.mark.live
SECRET = "between us"


class Delivery(NamedTuple):
    at_s: float
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


class Hook:
    """Somebody's webhook: notes every delivery, answers as `status_of` says."""

    def __init__(self) -> None:
        self.got: list[Delivery] = []
        self.status_of: Callable[[int], int] = lambda _number: 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = len(hook.got)
                hook.got.append(Delivery(time.time(), dict(self.headers), body))
                self.send_response(hook.status_of(number))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    @contextmanager
    def open(self) -> Iterator[Hook]:
        thread = Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def wait_for(self, count: int) -> list[Delivery]:
        until(lambda: len(self.got) >= count, f"{count} deliveries, got {len(self.got)}")
        return self.got

    @property
    def types(self) -> list[str]:
        return [delivery.told["type"] for delivery in self.got]


def until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.01)


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook().open() as opened:
        yield opened


def mail(hook: Hook, time_scale: float = 0.01) -> Mail:
    return Mail(hook.url, SECRET, time_scale)


PLAIN = {"webhooks": {"duplicate_fraction": 0, "late_fraction": 0}}


def test_the_published_schedules() -> None:
    """WeChat Pay: 15 repetitions in 24h4m. Alipay: 7 in 24h24m, the fifth after 3h24m."""
    assert (len(GAPS_S["wechat"]), sum(GAPS_S["wechat"])) == (15, 24 * 3600 + 240)
    assert GAPS_S["wechat"][:6] == (15, 15, 30, 180, 600, 1200)
    assert (len(GAPS_S["alipay"]), sum(GAPS_S["alipay"])) == (7, 24 * 3600 + 24 * 60)
    assert sum(GAPS_S["alipay"][:5]) == 3 * 3600 + 24 * 60


@given(gaps=st.lists(st.floats(0.1, 100), max_size=8), elapsed_s=st.floats(0, 900))
def test_who_comes_back_goes_on_with_the_schedule(gaps: list[float], elapsed_s: float) -> None:
    """At once, then at the moments that were still to come."""
    waits = remaining_gaps_s(tuple(gaps), elapsed_s)
    due = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    moments = [elapsed_s + sum(waits[: n + 1]) for n in range(len(waits))]
    assert waits[0] == 0
    assert moments[1:] == pytest.approx([d for d in due if d > elapsed_s])


def test_a_signature_holds_for_its_body_secret_and_time() -> None:
    """Anything else is refused, and so is a copy after five minutes."""
    header = sign(SECRET, b"{}", 1_000.9)
    assert mistake(SECRET, b"{}", header, 1_299.0) is None
    assert mistake(SECRET, b"{}", header, 701.0) is None
    refused = [
        mistake(SECRET, b"{} ", header, 1_000.0),
        mistake("another", b"{}", header, 1_000.0),
        mistake(SECRET, b"{}", header.replace("t=1000", "t=1001"), 1_000.0),
        mistake(SECRET, b"{}", header, 1_301.0),
        mistake(SECRET, b"{}", header, 699.0),
        mistake(SECRET, b"{}", "", 1_000.0),
        mistake(SECRET, b"{}", header.upper(), 1_000.0),
    ]
    assert None not in refused


def test_the_check_of_the_documentation_works() -> None:
    """What docs/provider.md gives people to paste believes the same signatures as we do."""
    page = (Path(__file__).parents[1] / "docs" / "provider.md").read_text("utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    now_s = time.time()
    headers = [sign(SECRET, b"{}", now_s), sign("guessed", b"{}", now_s)]
    headers.append(sign(SECRET, b"{}", now_s - 400))
    for header in headers:
        believed = names["is_genuine"](SECRET.encode(), header, b"{}")
        assert believed == (mistake(SECRET, b"{}", header, now_s) is None)
    assert not names["is_genuine"](SECRET.encode(), headers[0], b"{ }")


@live
def test_a_notification_is_signed_and_tells_the_charge(tmp_path: Path, hook: Hook) -> None:
    """The signature is computed here as docs/provider.md says, with nothing of ours."""
    with provider_at(tmp_path, PLAIN, mail=mail(hook)) as (_, http):
        made = charge(http, "k").json()
        [delivery] = hook.wait_for(1)
        stamp, digest = delivery.headers[HEADER].split(",")
        signed = stamp.removeprefix("t=").encode() + b"." + delivery.body
        wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert digest == f"v1={wanted}"
        assert abs(int(stamp.removeprefix("t=")) - delivery.at_s) < 5
        assert delivery.told["type"] == "charge.captured"
        assert delivery.told["charge"] == made
        until(lambda: http.get("/notifications").json()["acknowledged"] == 1, "the note")
        charge_id = made["charge_id"]
        http.post("/refunds", json={"charge_id": charge_id})
        http.post("/refunds", json={"charge_id": charge_id})
        hook.wait_for(2)
        time.sleep(0.3)
        assert hook.types == ["charge.captured", "charge.refunded"]
        assert len({delivery.told["id"] for delivery in hook.got}) == 2


@live
def test_it_is_sent_until_it_is_acknowledged(tmp_path: Path, hook: Hook) -> None:
    """WeChat Pay's intervals at a hundredth: 150, 150, 300 ms; a new signature every time."""
    hook.status_of = lambda number: 200 if number == 3 else 500
    with provider_at(tmp_path, PLAIN, mail=mail(hook)) as (_, http):
        charge(http, "k")
        got = hook.wait_for(4)
        until(lambda: http.get("/notifications").json()["waiting"] == 0, "the end")
        counts = http.get("/notifications").json()
        time.sleep(0.3)
    assert counts == {
        "waiting": 0, "acknowledged": 1, "given_up": 0, "deliveries": 4, "held_back": 0,
    }  # fmt: skip
    assert len(hook.got) == 4
    assert len({delivery.body for delivery in got}) == 1
    assert [delivery.headers["Doorbuster-Delivery"] for delivery in got] == ["1", "2", "3", "4"]
    gaps_s = [b.at_s - a.at_s for a, b in pairwise(got)]
    for gap_s, wanted_s in zip(gaps_s, (0.15, 0.15, 0.3), strict=True):
        assert wanted_s - 0.01 <= gap_s < wanted_s + 2


@live
def test_it_is_given_up_at_the_end_of_the_schedule(tmp_path: Path, hook: Hook) -> None:
    """Alipay: eight deliveries in all; the ledger still knows the truth."""
    hook.status_of = lambda _number: 500
    traits = {"webhooks": {"schedule": "alipay", "late_fraction": 0}}
    with provider_at(tmp_path, traits, mail=mail(hook, 1e-6)) as (_, http):
        charge(http, "k")
        until(lambda: http.get("/notifications").json()["given_up"] == 1, "giving up")
        assert http.get("/ledger").json()["captured_count"] == 1
    assert len(hook.got) == 8


@live
def test_copies_lateness_and_disorder_on_purpose(tmp_path: Path, hook: Hook) -> None:
    """Each fraction at 1 does it to every notification of its channel."""
    doubled = {"name": "doubled", "webhooks": {"duplicate_fraction": 1, "late_fraction": 0}}
    late_ways = {"late_fraction": 1, "late_by": "700ms", "duplicate_fraction": 0}
    late = {"name": "late", "webhooks": late_ways}
    with provider_at(tmp_path, doubled, late, mail=mail(hook)) as (_, http):
        began_s = time.time()
        charge(http, "a", channel="doubled")
        hook.wait_for(2)
        assert len({delivery.told["id"] for delivery in hook.got}) == 1
        assert 0.9 < hook.got[1].at_s - hook.got[0].at_s < 5
        hook.got.clear()
        began_s = time.time()
        charge(http, "b", channel="late")
        hook.wait_for(1)
        assert 0.7 <= hook.got[0].at_s - began_s < 5


@live
def test_a_refund_overtakes_the_capture(tmp_path: Path, hook: Hook) -> None:
    """Held back until the next of the channel has gone out, whichever charge that is about."""
    traits = {"webhooks": {"reordered_fraction": 0.5, "late_fraction": 0, "duplicate_fraction": 0}}
    with provider_at(tmp_path, traits, mail=mail(hook)) as (_, http):
        for visitor in range(24):
            charge_id = charge(http, f"k{visitor}", means=f"test-{visitor}-0").json()["charge_id"]
            http.post("/refunds", json={"charge_id": charge_id})
        hook.wait_for(48)
        assert http.get("/notifications").json()["held_back"] > 7
    order = [(d.told["charge"]["charge_id"], d.told["type"]) for d in hook.got]
    assert len(set(order)) == 48
    overtaken = [
        charge_id
        for charge_id, kind in order
        if kind == "charge.captured"
        and order.index((charge_id, "charge.refunded")) < order.index((charge_id, kind))
    ]
    assert overtaken


@live
def test_what_was_closed_is_not_decided(tmp_path: Path, hook: Hook) -> None:
    """No notification of a capture that did not happen; nor of anything after a reset."""
    with provider_at(tmp_path, PLAIN | {"latency": "300ms"}, mail=mail(hook)) as (child, http):
        Thread(target=lambda: charge(http, "k")).start()
        until(lambda: close_if_known(http), "the charge")
        time.sleep(0.6)
        assert hook.got == []
        Thread(target=lambda: charge(http, "forgotten")).start()
        until(lambda: http.get("/notifications").json()["waiting"] == 1, "the notification")
        http.post("/reset", json={})
        time.sleep(0.6)
        assert hook.got == []
        assert child.exit_code() is None


def close_if_known(http: Any) -> bool:
    known: bool = http.get("/charges", params={"idempotency_key": "k"}).status_code == 200
    return known and close(http, "k").status_code == 200


@live
def test_a_notification_outlives_the_provider(tmp_path: Path, hook: Hook) -> None:
    """kill -9 before the acknowledgement: sent after the restart; after it: not sent again."""
    hook.status_of = lambda _number: 500
    with provider_at(tmp_path, PLAIN, mail=mail(hook, 1.0)) as (child, http):
        charge(http, "k")
        hook.wait_for(1)
        for wanted in (2, 2):
            os.kill(child.pid, signal.SIGKILL)
            hook.status_of = lambda _number: 200
            child.restart()
            hook.wait_for(wanted)
            until(lambda: http.get("/notifications").json()["waiting"] == 0, "silence")
            time.sleep(0.3)
    assert len(hook.got) == 2
    assert len({delivery.told["id"] for delivery in hook.got}) == 1
