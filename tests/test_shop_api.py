"""The edges of the shop's API: documents, tokens, mistakes, overload, metrics, the command."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster_shop.answers import BODY_BYTES_MAX
from doorbuster_shop.running import RunningShop, running_shop

pytestmark = pytest.mark.live

DEMO = Path(__file__).resolve().parents[1] / "scenarios" / "demo.yaml"
QUEUE_MAX = 4
KEY, OTHER_KEY = {"Idempotency-Key": "some key"}, {"Idempotency-Key": "another key"}
WISH = {"sku": "headset", "quantity": 1, "account": 1}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningShop]:
    folder = tmp_path_factory.mktemp("shop")
    with running_shop(DEMO, seed=1, folder=folder, queue_max=QUEUE_MAX) as shop:
        yield shop


@pytest.fixture(scope="module")
def http(running: RunningShop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=10) as client:
        yield client


@pytest.fixture
def admin(running: RunningShop) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.admin_token}"}


def test_the_openapi_document_is_valid_and_complete(http: httpx.Client) -> None:
    """It passes the validator, and names every path that the shop serves and no other."""
    document = http.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    assert sorted(document["paths"]) == [
        "/admin/audit",
        "/admin/charges",
        "/admin/orders",
        "/admin/reservations/{reservation_id}/cancel",
        "/admin/reset",
        "/admin/shipments",
        "/admin/stock",
        "/carts",
        "/carts/{cart_id}/order",
        "/healthz",
        "/items/{sku}",
        "/metrics",
        "/openapi.json",
        "/payments/{payment_id}",
        "/reservations",
        "/reservations/{reservation_id}",
        "/reservations/{reservation_id}/payments",
        "/reservations/{reservation_id}/refund",
        "/webhooks/provider",
    ]
    for path, operations in document["paths"].items():
        for method in operations:
            url = path.replace("{", "").replace("}", "")
            # 405 would mean that the shop does not serve what the document promises.
            assert http.request(method, url).status_code != 405, (method, path)


def _documented(document: dict[str, Any], path: str, method: str, reply: httpx.Response) -> None:
    """Fail unless the document foresees this answer of this operation, member by member."""
    responses = document["paths"][path][method]["responses"]
    assert str(reply.status_code) in responses, (method, path, reply.status_code, reply.text)
    schema = responses[str(reply.status_code)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole).validate(reply.json())


def test_every_answer_is_as_documented(http: httpx.Client, admin: dict[str, str]) -> None:
    """Real answers, good and bad, have the status and the shape that the document promises."""
    document = http.get("/openapi.json").json()
    reset = {"opens_at_epoch_s": time.time(), "force": True}
    no_stock, no_pay = "/reservations", "/reservations/{reservation_id}/payments"
    cancel = "/admin/reservations/{reservation_id}/cancel"

    def check(path: str, method: str, url: str, **options: Any) -> Any:
        reply = http.request(method, url, **options)
        _documented(document, path, method, reply)
        return reply.json()

    check("/admin/reset", "post", "/admin/reset", headers=admin, json=reset)
    check("/items/{sku}", "get", "/items/headset")
    check("/items/{sku}", "get", "/items/lamp")
    told = check(no_stock, "post", no_stock, json=WISH, headers=KEY)
    check(no_stock, "post", no_stock, json=WISH)
    check(no_stock, "post", no_stock, json={**WISH, "sku": "lamp"}, headers=OTHER_KEY)
    check(no_stock, "post", no_stock, json={"sku": 5}, headers=KEY)
    check(
        no_stock, "post", no_stock, json={**WISH, "quantity": 3}, headers={"Idempotency-Key": "q"}
    )
    pay_url = f"/reservations/{told['reservation_id']}/payments"
    channel = {"channel": "wallet-a", "means": "m"}
    check(no_pay, "post", "/reservations/none/payments", json=channel, headers=KEY)
    check(no_pay, "post", pay_url, json={**channel, "channel": "shells"}, headers=KEY)
    check("/payments/{payment_id}", "get", "/payments/none")
    check("/admin/stock", "get", "/admin/stock", headers=admin)
    check("/admin/stock", "get", "/admin/stock")
    check("/admin/audit", "get", "/admin/audit", headers=admin)
    check("/admin/orders", "get", "/admin/orders", headers=admin)
    check("/admin/orders", "get", "/admin/orders")
    check("/admin/shipments", "get", "/admin/shipments", headers=admin)
    check("/admin/shipments", "get", "/admin/shipments")
    check(cancel, "post", "/admin/reservations/none/cancel", headers=admin)
    check(cancel, "post", f"/admin/reservations/{told['reservation_id']}/cancel", headers=admin)
    check(no_pay, "post", pay_url, json=channel, headers=OTHER_KEY)
    check("/healthz", "get", "/healthz")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic wrong"},
        {"Authorization": "Bearer \u00e9"},
    ],
    ids=["none", "wrong", "another scheme", "no ascii"],
)
def test_only_the_operator_may_administrate(http: httpx.Client, headers: dict[str, str]) -> None:
    """Without the right token nothing below /admin/ answers, and nothing is changed."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, path in [("GET", "stock"), ("GET", "audit"), ("POST", "reset")]:
        reply = http.request(method, f"/admin/{path}", headers=raw)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "EOF"),
        (b"{", "EOF"),
        (b"[]", "object"),
        (json.dumps({**WISH, "quantity": 0}).encode(), "quantity: .*greater than or equal to 1"),
        (json.dumps({**WISH, "quantity": 1.5}).encode(), "quantity: "),
        (json.dumps({**WISH, "colour": "red"}).encode(), "colour: "),
        (json.dumps({**WISH, "account": None}).encode(), "account"),
        (json.dumps({**WISH, "account": ""}).encode(), "account"),
    ],
)
def test_a_malformed_wish_is_told_where(http: httpx.Client, body: bytes, said: str) -> None:
    """422 with the place and the reason, never a 500."""
    reply = http.post("/reservations", content=body, headers=KEY)
    assert (reply.status_code, reply.json()["code"]) == (422, "malformed")
    assert re.search(said, reply.json()["message"])


def test_an_endless_body_is_cut_off(http: httpx.Client) -> None:
    """Bodies are bounded."""
    body = b" " * (BODY_BYTES_MAX + 1)
    reply = http.post("/reservations", content=body, headers=KEY)
    assert (reply.status_code, reply.json()["code"]) == (413, "too_large")


def test_what_does_not_exist(http: httpx.Client) -> None:
    """Unknown paths and methods get the same small JSON as every other refusal."""
    missing, wrong = http.get("/nope"), http.delete("/reservations")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")


def test_a_full_shop_refuses_at_once(running: RunningShop, admin: dict[str, str]) -> None:
    """More waiting requests than allowed: 503 with Retry-After; the operator still gets in.

    Those who are refused leave room for the last ones: a shop that wakes up serves somebody.
    """

    async def rush() -> tuple[Counter[int], set[str | None], int, int]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(running.url, connector=connector) as session:

            async def ask(path: str) -> tuple[int, str | None]:
                async with session.get(path, headers=admin) as reply:
                    await reply.read()
                    return reply.status, reply.headers.get("Retry-After")

            await asyncio.gather(*(ask("/items/headset") for _ in range(200)))
            # All 200 connections are open now. The next requests wait in them for a shop that
            # stands still: else a slow client never has more than a few on their way.
            paths = ["/items/headset"] * 200 + ["/admin/stock"]
            os.kill(running.shop_pid, signal.SIGSTOP)
            try:
                asked = [asyncio.create_task(ask(path)) for path in paths]
                await asyncio.sleep(0.5)
            finally:
                os.kill(running.shop_pid, signal.SIGCONT)
            replies = await asyncio.gather(*asked)
            (afterwards, _) = await ask("/items/headset")
        statuses = Counter(status for status, _ in replies[:-1])
        refused = {after for status, after in replies if status == 503}
        return statuses, refused, replies[-1][0], afterwards

    statuses, retry_after, operator, afterwards = asyncio.run(rush())
    # The server reads them all at one go, or in a few; of each the last ones are served.
    assert 1 <= statuses[200] <= 10 * QUEUE_MAX
    assert set(statuses) == {200, 503}
    assert retry_after == {"1"}
    assert (operator, afterwards) == (200, 200)


def test_metrics_count_what_happened(http: httpx.Client, admin: dict[str, str]) -> None:
    """Prometheus can read the page; requests are counted by endpoint, stock is as it is."""

    def samples() -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(http.get("/metrics").text)
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }

    before = samples()
    http.get("/items/headset")
    http.get("/items/lamp")
    after = samples()
    for name in [
        ("doorbuster_requests_total", "browse", "200"),
        ("doorbuster_requests_total", "browse", "404"),
    ]:
        assert after[name] - before.get(name, 0) == 1
    assert after["doorbuster_request_seconds_count", "browse"] >= 2
    levels = {item["sku"]: item for item in http.get("/admin/stock", headers=admin).json()["items"]}
    for sku, level in levels.items():
        for state in ("available", "locked", "sold"):
            assert after["doorbuster_stock_units", sku, state] == level[state]


# --- the command ---


def test_serve_prints_where_everything_is_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    """One JSON object on stdout; Ctrl-C ends it with code 0 and leaves no process behind."""
    database = tmp_path / "kept.db"
    arguments = ["serve", str(DEMO), "--json", "--opens-in", "1h", "--database", str(database)]
    code = "import sys; from doorbuster.cli import main; main(sys.argv[1:])"
    serving = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DOORBUSTER_ADMIN_TOKEN": "chosen by the operator"},
        text=True,
    )
    assert serving.stdout is not None
    watchdog = threading.Timer(30, serving.kill)
    watchdog.start()
    facts = json.loads(serving.stdout.readline())
    assert facts.keys() == {"format", "shop", "openapi", "provider", "admin_token"}
    assert facts["admin_token"] == "chosen by the operator"
    assert facts["shop"].startswith("http://127.0.0.1:")
    assert httpx.get(f"{facts['shop']}/items/console").json()["status"] == "not_open"
    assert httpx.get(facts["openapi"]).status_code == 200
    assert httpx.get(f"{facts['provider']}/healthz").json()["status"] == "ok"
    serving.send_signal(signal.SIGINT)
    assert serving.wait(10) == exit_codes.PASS
    watchdog.cancel()
    serving.stdout.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(facts["shop"])
    assert database.is_file()


@pytest.mark.parametrize(("content", "told"), [("", "new."), ("x", "continued; its sale")])
def test_serve_tells_the_next_command_and_the_state_of_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, told: str
) -> None:
    """The line to paste into a second terminal is on stderr, with a token fit for a shell."""

    @contextmanager
    def shop(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(
            url="http://here",
            provider_url="",
            admin_token="a b",
            fault_count=0,
            dead=lambda: "it has ended",
        )

    monkeypatch.setattr("doorbuster_shop.running.running_shop", shop)
    handler = signal.getsignal(signal.SIGTERM)
    database = tmp_path / "x.db"
    database.write_text(content)
    result = CliRunner().invoke(main, ["serve", str(DEMO), "--database", str(database)])
    signal.signal(signal.SIGTERM, handler)
    command = f"DOORBUSTER_ADMIN_TOKEN='a b' doorbuster load {DEMO} --target http://here"
    assert f"Next: {command}\n" in result.stderr
    assert f"Database: {database}, {told}" in result.stderr


def test_serve_makes_no_folders(tmp_path: Path) -> None:
    """A mistyped path is a usage error; no tree is made of it."""
    database = tmp_path / "none" / "x.db"
    result = CliRunner().invoke(main, ["serve", str(DEMO), "--database", str(database)])
    assert result.exit_code == exit_codes.USAGE
    assert f"--database: {database.parent}: no such folder; make it first" in result.stderr
    assert not database.parent.exists()


def test_serve_tells_a_taken_port(running: RunningShop) -> None:
    """A clear sentence and the exit code of a failed target."""
    port = running.url.rsplit(":", 1)[1]
    result = CliRunner().invoke(main, ["serve", str(DEMO), "--port", port])
    assert result.exit_code == exit_codes.TARGET_FAILED
    assert f"port {port}: cannot be used for the shop" in result.stderr


def test_serve_refuses_a_wrong_scenario_and_a_wrong_time(tmp_path: Path) -> None:
    """A mistake of the user is a usage error, and nothing is started."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("version: 1\n")
    result = CliRunner().invoke(main, ["serve", str(broken)])
    assert result.exit_code == exit_codes.USAGE
    assert "nothing was run" in result.stderr
    result = CliRunner().invoke(main, ["serve", str(DEMO), "--opens-in", "soon"])
    assert result.exit_code == exit_codes.USAGE
    assert "--opens-in" in result.stderr
