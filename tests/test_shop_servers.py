"""Throw-away servers, and the shop on top of them: started with one command, gone with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from tests.conftest import SMALL, merged

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster_shop import throwaway
from doorbuster_shop.child import ShopStartError
from doorbuster_shop.throwaway import MissingServerError

DEMO = Path(__file__).resolve().parents[1] / "scenarios" / "demo.yaml"


def is_listening(address: str) -> bool:
    host, port = address.rpartition("@")[2].partition("/")[0].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def until_gone(address: str, folder: Path) -> None:
    deadline_s = time.monotonic() + 10
    while is_listening(address) or any(folder.glob("doorbuster-store-*")):
        assert time.monotonic() < deadline_s, "the server or its folder is still there"
        time.sleep(0.05)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder like /tmp: the server's own user may go in, make a folder and remove it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o1777)
        yield Path(name)


@pytest.mark.services
@pytest.mark.parametrize("kind", ["postgresql", "redis"])
def test_a_server_goes_with_its_parent(
    kind: str, public_folder: Path, request: pytest.FixtureRequest
) -> None:
    """Also when the parent is killed: no process, no folder stays."""
    request.getfixturevalue(f"{kind}_address")  # Skips where there is no such server.
    code = (
        "import sys, time; from doorbuster_shop import throwaway\n"
        f"with throwaway.throwaway_{kind}() as address:\n"
        "    print(address, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(public_folder)},
    )
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    assert is_listening(address)
    assert any(public_folder.glob("doorbuster-store-*"))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until_gone(address, public_folder)


@pytest.mark.services
def test_a_server_that_does_not_start_is_quoted(
    monkeypatch: pytest.MonkeyPatch, redis_address: str
) -> None:
    """Its last words, after more than one attempt; nothing stays behind."""
    taken = int(redis_address.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr(throwaway, "_free_port", lambda: taken)
    # Whoever has the port answers to Redis' question, but not to PostgreSQL's.
    with (
        pytest.raises(ShopStartError, match=r"PostgreSQL did not start, 3 times(?s:.*)in use"),
        throwaway.throwaway_postgresql(),
    ):
        pass


@pytest.fixture
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without PostgreSQL and Redis."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(throwaway, "POSTGRESQL_FOLDERS", ())


@pytest.mark.usefixtures("no_servers")
def test_a_missing_server_is_named() -> None:
    """With what to install, and what else to do."""
    with pytest.raises(MissingServerError, match=r"initdb.*apt install postgresql.*postgresql://"):
        throwaway.postgresql_programs()
    with pytest.raises(MissingServerError, match=r"redis-server.*apt install redis.*redis://"):
        throwaway.redis_program()


@pytest.mark.usefixtures("no_servers")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--store", "postgresql"], "PostgreSQL: no initdb and postgres on this machine"),
        (["--redis"], "Redis: no redis-server on this machine"),
        (["--store", "postgres"], "--store: unknown store (got 'postgres')"),
        (["--redis", "localhost"], "--redis: no address (got 'localhost')"),
        (["--store", "postgresql", "--database", "x.db"], "--database: a file is for --store"),
    ],
)
def test_serve_says_what_is_wrong_with_its_store(arguments: list[str], told: str) -> None:
    """A usage error and a sentence; nothing is started."""
    result = CliRunner().invoke(main, ["serve", str(DEMO), *arguments])
    assert result.exit_code == exit_codes.USAGE
    assert told in result.stderr


@pytest.mark.live
def test_serve_says_that_a_database_does_not_answer() -> None:
    """The exit code of a failed target, and the address without its password."""
    address = "postgresql://me:secret@127.0.0.1:1/shop"
    result = CliRunner().invoke(main, ["serve", str(DEMO), "--store", address])
    assert result.exit_code == exit_codes.TARGET_FAILED
    assert "postgresql://127.0.0.1/shop: cannot be opened as a shop database" in result.stderr
    assert "secret" not in result.stderr


def scenario(folder: Path, strategy: str) -> Path:
    path = folder / "sale.yaml"
    content: dict[str, Any] = merged(SMALL, {"shop": {"strategy": strategy}})
    path.write_text(json.dumps(content), "utf-8")  # JSON is YAML.
    return path


@pytest.mark.live
@pytest.mark.services
@pytest.mark.parametrize(
    ("strategy", "others"), [("row_lock", []), ("prededuct", ["--redis"])], ids=str
)
def test_one_command_serves_on_postgresql(
    tmp_path: Path, postgresql_address: str, redis_address: str, strategy: str, others: list[str]
) -> None:
    """Reserve, pay, read the books; at Ctrl-C everything ends."""
    del postgresql_address, redis_address  # They skip where there are no servers.
    code = "import sys; from doorbuster.cli import main; main(sys.argv[1:])"
    path = str(scenario(tmp_path, strategy))
    serving = subprocess.Popen(
        [sys.executable, "-c", code, "serve", path, "--json", "--store", "postgresql", *others],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert serving.stdout is not None
    facts = json.loads(serving.stdout.readline())
    admin = {"Authorization": f"Bearer {facts['admin_token']}"}
    with httpx.Client(base_url=facts["shop"], timeout=30) as http:
        wish = {"sku": "console", "quantity": 1, "account": 1}
        made = http.post("/reservations", json=wish, headers={"Idempotency-Key": "k"})
        assert made.status_code == 201
        url = f"/reservations/{made.json()['reservation_id']}/payments"
        offer = {"channel": "card", "means": "m"}
        paid = http.post(url, json=offer, headers={"Idempotency-Key": "p"})
        assert paid.status_code in (200, 402)
        strange = {**wish, "account": "a\0b"}
        refused = http.post("/reservations", json=strange, headers={"Idempotency-Key": "strange"})
        assert (refused.status_code, refused.json()["code"]) == (422, "malformed")
        [order] = http.get("/admin/orders", headers=admin).json()["orders"]
        assert order["order_id"] == made.json()["reservation_id"]
        assert order["state"] == ("sold" if paid.status_code == 200 else "locked")
        assert (order["account"], order["sku"]) == ("1", "console")
        assert 0 <= order["reserved_s"] < 60
        [line] = http.get("/admin/audit", headers=admin).json()["items"]
        assert line["available_units"] == 19
        assert 'sku="console",state="available"} 19.0' in http.get("/metrics").text
    serving.send_signal(signal.SIGINT)
    assert serving.wait(20) == exit_codes.PASS
    serving.stdout.close()
