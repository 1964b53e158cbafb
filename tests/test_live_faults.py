"""Faults on a real shop: what breaks breaks, comes back, and leaves every order and payment whole.

Judges are the database's own account, the provider's ledger and the operating system.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from tests.conftest import SMALL, Change, merged
from tests.shop_stores import OPENS_S, Kept, kept_store

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.records.audit import Audit
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.launch import LiveOptions, run_live
from doorbuster_shop.possible import ImpossibleError, check_possible
from doorbuster_shop.running import RunningShop, running_shop

LOCK_S, SWEEP_S = 2.0, 0.25
PERSONA = {
    "share": 1,
    "think_time": "50ms",
    "refresh_gap": "300ms",
    "restock_refresh_limit": 20,
    "payment_time": {"kind": "lognormal", "median": "300ms", "sigma": 0.5},
    "unpaid_fraction": 0.2,
    "retry_wait": "200ms",
    "retry_limit": 20,
    "request_timeout": "3s",
    "patience": "20s",
}
SALE: Change = merged(
    SMALL,
    {
        "name": "broken",
        "shop": {
            "lock_time": f"{LOCK_S}s",
            "release_sweep": f"{SWEEP_S}s",
            "items": [{"sku": "console", "stock": 150, "price": 499}],
        },
        "crowd": {
            "normal_load_per_s": 25,
            "load_factor": 1,
            "phases": [
                {
                    "name": "sale",
                    "start": "-500ms",
                    "duration": "9s",
                    "shape": {"kind": "constant", "level": 1},
                }
            ],
            "personas": {"fan": PERSONA},
            "drain": "5s",
        },
        "payments": {
            "channels": [{"name": "card", "share": 1, "latency": "100ms", "late_fraction": 0}]
        },
    },
)
ALL_KINDS = [
    {"kind": "kill_worker", "start": "500ms", "duration": "600ms"},
    {"kind": "restart_database", "start": "1500ms", "duration": "800ms"},
    {"kind": "slow_database", "start": "2600ms", "duration": "400ms", "extra": "20ms"},
    {"kind": "freeze", "start": "3200ms", "duration": "300ms"},
    {"kind": "kill_shop", "start": "3800ms", "duration": "1s"},
    {"kind": "provider_outage", "start": "5500ms", "duration": "500ms", "answer": "hang"},
    {"kind": "kill_provider", "start": "6500ms", "duration": "800ms"},
]


def written(folder: Path, *faults: Change, **change: Any) -> Path:
    path = folder / "sale.yaml"
    path.write_text(json.dumps(merged(SALE, {"faults": list(faults), **change})), "utf-8")
    return path


def admin(shop: RunningShop, path: str) -> Any:
    headers = {"Authorization": f"Bearer {shop.admin_token}"}
    return httpx.get(f"{shop.url}/admin/{path}", headers=headers, timeout=10).json()


class Desk:
    """The address that a reset names, as a profile's hooks speak to it."""

    def __init__(self, shop: RunningShop) -> None:
        self._headers = {"Authorization": f"Bearer {shop.admin_token}"}
        body = {"opens_at_epoch_s": time.time() - 1}
        told = httpx.post(f"{shop.url}/admin/reset", json=body, headers=self._headers).json()
        self.url = f"http://127.0.0.1:{told['faults_port']}"

    def ask(self, call: str, kind: str, duration_s: float = 60.0, **more: Any) -> httpx.Response:
        body = {"kind": kind, "duration_s": duration_s, **more}
        return httpx.post(f"{self.url}/{call}", json=body, headers=self._headers, timeout=30)

    def begin(self, kind: str, duration_s: float = 60.0, **more: Any) -> None:
        assert self.ask("begin", kind, duration_s, **more).status_code == httpx.codes.OK

    def end(self, kind: str) -> None:
        assert self.ask("end", kind).status_code == httpx.codes.OK


def is_open(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


# -- a whole sale ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_sale(
    tmp_path_factory: pytest.TempPathFactory, postgresql_address: str
) -> Iterator[tuple[RunFolder, RunningShop, Path]]:
    """Every kind of fault in one sale: PostgreSQL, two workers; records, shop, folder of logs."""
    del postgresql_address  # Skips where there is no such server.
    folder = tmp_path_factory.mktemp("broken")
    path = written(folder, *ALL_KINDS)
    with running_shop(path, seed=1, folder=folder, store="postgresql", worker_count=2) as shop:
        options = LiveOptions(target=shop.url, admin_token=shop.admin_token)
        run = run_live(read_scenario(path), RunSettings(seed=1), options, folder / "results")
        assert run.folder is not None, run.sentences
        assert run.exit_code == exit_codes.PASS, run.sentences
        yield RunFolder.open(run.folder), shop, folder


@pytest.mark.services
@pytest.mark.live
@pytest.mark.alone
def test_every_planned_fault_is_in_the_record(
    broken_sale: tuple[RunFolder, RunningShop, Path],
) -> None:
    """None before its time. A busy machine may be late."""
    run = broken_sale[0].run
    planned = Scenario.model_validate(merged(SALE, {"faults": ALL_KINDS})).faults
    by_kind = {fault["kind"]: fault for fault in run["faults"]}
    assert len(by_kind) == len(run["faults"]) == len(planned)
    for fault in planned:
        happened = by_kind[fault.kind]
        assert fault.start <= happened["begun_s"] < happened["ended_s"]
        assert fault.start + fault.duration <= happened["ended_s"]
    assert run["status"] == "complete"
    assert run["reasons"] == []


@pytest.mark.services
@pytest.mark.live
@pytest.mark.alone
def test_nothing_is_lost_and_nobody_pays_twice(
    broken_sale: tuple[RunFolder, RunningShop, Path],
) -> None:
    """The database counts its own rows; the provider knows what it has taken."""
    records, shop, _ = broken_sale
    audit, orders = Audit.model_validate(admin(shop, "audit")), admin(shop, "orders")["orders"]
    (item,) = audit.items
    assert item.available_units + item.locked_units + item.sold_units == item.initial_units
    assert audit.paid_cents
    assert audit.captured_cents == audit.paid_cents
    assert (audit.orders_captured_twice, audit.payments_without_order) == (0, 0)
    ledger = httpx.get(f"{shop.provider_url}/ledger").json()
    assert ledger["references_captured_twice"] == 0
    captured = {c["reference"] for c in ledger["charges"] if c["status"] == "captured"}
    assert captured == {order["order_id"] for order in orders if order["state"] == "sold"}
    # Whoever was told that the order is paid has it: as many sold as visitors say.
    outcomes = records.table("visits").column("outcome").to_pylist()
    assert outcomes.count("sold") <= len(captured)
    # No lock outlives its time, the sweep and the faults in which nobody could sweep.
    away_s = sum(fault["ended_s"] - fault["begun_s"] for fault in records.run["faults"])
    released = [order for order in orders if order["state"] == "released"]
    assert released
    for order in released:
        assert order["released_s"] - order["expires_s"] < SWEEP_S + away_s + 2.0


@pytest.mark.services
@pytest.mark.live
@pytest.mark.alone
def test_a_shop_without_its_database_says_so_and_logs_no_traceback(
    broken_sale: tuple[RunFolder, RunningShop, Path],
) -> None:
    """While PostgreSQL is away buyers are told 503; what the shop logs are sentences."""
    records, _, folder = broken_sale
    fault = next(f for f in records.run["faults"] if f["kind"] == "restart_database")
    requests = records.table("requests").to_pydict()
    met = {
        status
        for status, sent_s in zip(requests["status"], requests["sent_s"], strict=True)
        if fault["begun_s"] < sent_s < fault["ended_s"] - 0.1
    }
    if fault["ended_s"] - fault["begun_s"] > 0.5:
        assert 503 in met
    assert met <= {0, 503, *range(200, 300), *range(400, 500)}
    log = (folder / "shop.log").read_text("utf-8")
    assert "PostgreSQL: is back" in log
    assert "Traceback" not in log


# -- one kind at a time ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningShop, Desk]]:
    """One worker on SQLite that may be killed alone or as a whole."""
    folder = tmp_path_factory.mktemp("small")
    planned = [
        {"kind": kind, "start": start, "duration": "1s"}
        for kind, start in (("kill_worker", "1s"), ("kill_shop", "3s"), ("kill_provider", "5s"))
    ]
    with running_shop(written(folder, *planned), seed=1, folder=folder) as shop:
        yield shop, Desk(shop)


def test_who_comes_while_the_only_worker_is_dead_waits(
    small_shop: tuple[RunningShop, Desk],
) -> None:
    """The port stays open; another process answers whoever has waited."""
    shop, desk = small_shop
    old_pid = shop.shop_pid
    desk.begin("kill_worker")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(httpx.get, f"{shop.url}/healthz", timeout=20)
        time.sleep(0.2)
        assert not waiting.done()
        assert shop.dead() is None  # Planned; `serve` goes on.
        desk.end("kill_worker")
        assert waiting.result(20).status_code == httpx.codes.OK
    assert shop.shop_pid != old_pid


def test_who_comes_while_the_shop_is_dead_is_refused(small_shop: tuple[RunningShop, Desk]) -> None:
    """Nobody listens, and it ends by itself when its time is over, on the same port."""
    shop, desk = small_shop
    for _ in range(2):  # The second time no process stands by yet.
        desk.begin("kill_shop", 0.5)
        assert not is_open(shop.url)
        assert shop.dead() is None
        desk.end("kill_shop")
        assert httpx.get(f"{shop.url}/healthz", timeout=20).status_code == httpx.codes.OK


@pytest.mark.parametrize("first_over", ["kill_worker", "kill_shop"])
def test_a_worker_dies_just_before_the_shop(
    small_shop: tuple[RunningShop, Desk], first_over: str
) -> None:
    """Whichever ends first, nobody answers until the shop is back, and then somebody does."""
    shop, desk = small_shop
    desk.begin("kill_worker")
    desk.begin("kill_shop")
    desk.end(first_over)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{shop.url}/healthz", timeout=0.5)
    desk.end("kill_shop" if first_over == "kill_worker" else "kill_worker")
    assert httpx.get(f"{shop.url}/healthz", timeout=20).status_code == httpx.codes.OK
    assert shop.dead() is None


def test_a_killed_provider_keeps_its_books(small_shop: tuple[RunningShop, Desk]) -> None:
    """What it has captured stays captured."""
    shop, desk = small_shop
    body = {"channel": "card", "means": "test-1-0", "amount_cents": 5, "reference": "r"}
    headers = {"Idempotency-Key": "k"}
    httpx.post(f"{shop.provider_url}/charges", json=body, headers=headers, timeout=10)
    before = httpx.get(f"{shop.provider_url}/ledger").json()
    desk.begin("kill_provider")
    assert not is_open(shop.provider_url)
    desk.end("kill_provider")
    after = httpx.get(f"{shop.provider_url}/ledger", timeout=20).json()
    assert after["charges"] == before["charges"] != []


@pytest.mark.parametrize("answer", ["refuse", "hang"])
def test_a_provider_outage_answers_503(small_shop: tuple[RunningShop, Desk], answer: str) -> None:
    """At once, or when it is over; afterwards the same charge is taken."""
    shop, desk = small_shop
    body = {"channel": "card", "means": "test-2-0", "amount_cents": 5, "reference": answer}
    headers = {"Idempotency-Key": answer}

    def charge() -> int:
        url = f"{shop.provider_url}/charges"
        return httpx.post(url, json=body, headers=headers, timeout=20).status_code

    begun_s = time.monotonic()
    desk.begin("provider_outage", 1.0, answer=answer)
    assert charge() == httpx.codes.SERVICE_UNAVAILABLE
    if answer == "hang":
        assert time.monotonic() - begun_s >= 1.0
    desk.end("provider_outage")
    assert charge() in (httpx.codes.OK, httpx.codes.PAYMENT_REQUIRED)


def test_the_desk_refuses_what_it_cannot_do(small_shop: tuple[RunningShop, Desk]) -> None:
    """Another one of a kind that is under way, a database in a file, a stranger."""
    shop, desk = small_shop
    assert desk.ask("end", "slow_database").status_code == httpx.codes.CONFLICT
    assert desk.ask("begin", "restart_database").status_code == httpx.codes.CONFLICT
    assert desk.ask("begin", "earthquake").status_code == httpx.codes.UNPROCESSABLE_ENTITY
    desk.begin("slow_database", extra_s=0.3)
    assert desk.ask("begin", "slow_database").status_code == httpx.codes.CONFLICT
    began_s = time.monotonic()
    httpx.get(f"{shop.url}/items/console", timeout=10)
    assert time.monotonic() - began_s >= 0.3
    desk.end("slow_database")
    assert httpx.post(f"{desk.url}/begin", json={}).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]
)
def test_a_slow_database_takes_longer(database: str, request: pytest.FixtureRequest) -> None:
    """Each transaction by `extra`, as the clock of the test has it."""
    with kept_store(database, "conditional_update", request) as kept:
        assert isinstance(kept, Kept)
        kept.store.extra_s = 0.2
        began_s = time.monotonic()
        kept.reserved(at_s=OPENS_S)
        assert time.monotonic() - began_s >= 0.2


def test_a_reset_through_one_worker_is_one_for_all(tmp_path: Path) -> None:
    """Each worker is asked while the other one stands still."""
    with running_shop(written(tmp_path), seed=1, folder=tmp_path, worker_count=2) as shop:
        headers = {"Authorization": f"Bearer {shop.admin_token}"}
        for opens_in_s, status in ((60.0, "not_open"), (-60.0, "on_sale")):
            body = {"opens_at_epoch_s": time.time() + opens_in_s}
            httpx.post(f"{shop.url}/admin/reset", json=body, headers=headers, timeout=10)
            for pid in shop.shop_pids:
                os.kill(pid, signal.SIGSTOP)
                try:
                    told = httpx.get(f"{shop.url}/items/console", timeout=10).json()
                finally:
                    os.kill(pid, signal.SIGCONT)
                assert told["status"] == status


# -- what is left behind ---------------------------------------------------------------------------

_PARENT = """
import signal, sys, time, httpx
from pathlib import Path
from doorbuster_shop.running import running_shop
signal.signal(signal.SIGINT, signal.default_int_handler)
with running_shop(Path(sys.argv[1]), seed=1, folder=Path(sys.argv[2])) as shop:
    headers = {"Authorization": f"Bearer {shop.admin_token}"}
    reset = httpx.post(f"{shop.url}/admin/reset", json={"opens_at_epoch_s": 1}, headers=headers)
    desk = f"http://127.0.0.1:{reset.json()['faults_port']}/begin"
    order = {"kind": "freeze", "duration_s": 600, "of": "shop"}
    httpx.post(desk, json=order, headers=headers)
    print(*shop.shop_pids, shop.provider_pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("death", [signal.SIGINT, signal.SIGKILL])
def test_no_stopped_process_outlives_its_parent(tmp_path: Path, death: signal.Signals) -> None:
    """Ctrl-C, or worse, while the shop is frozen: nobody is left, stopped or running."""
    path = written(tmp_path, {"kind": "kill_shop", "start": "1s", "duration": "1s"})
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(path), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            pids = [int(word) for word in parent.stdout.readline().split()]
            # A process that runs on another core stops a moment after the signal was sent.
            deadline_s = time.monotonic() + 5
            while (states := [state_of(pid) for pid in pids]) != ["T", "S"]:
                assert time.monotonic() < deadline_s, states
                time.sleep(0.01)
            parent.send_signal(death)
            parent.wait(20)
        finally:
            parent.kill()
    deadline_s = time.monotonic() + 15
    while any(state_of(pid) not in ("", "Z") for pid in pids):
        assert time.monotonic() < deadline_s, "a child outlived its parent"
        time.sleep(0.05)
    assert not processes_with(str(tmp_path)), "somebody else is left"


def state_of(pid: int) -> str:
    """The letter of its state; nothing when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def processes_with(word: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if word in command and int(folder.name) != os.getpid():
            found.append(command)
    return found


# -- what is said before the sale ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "arguments", "said"),
    [
        ({"kind": "restart_database"}, {"store": "sqlite"}, "SQLite lives in the shop"),
        ({"kind": "restart_database"}, {"store": "postgresql://x"}, "not the shop's own"),
        ({"kind": "kill_provider"}, {"has_provider": False}, "leave --provider out"),
        ({"kind": "freeze", "of": "provider"}, {"has_provider": False}, "leave --provider out"),
    ],
)
def test_what_cannot_be_broken_is_said_beforehand(
    fault: Change, arguments: Change, said: str
) -> None:
    """One sentence that names the fault, the reason and the way out."""
    whole = merged(SALE, {"faults": [{"start": "1s", "duration": "1s", **fault}]})
    usual = {"worker_count": 1, "store": "postgresql", "has_redis": False, "has_provider": True}
    with pytest.raises(ImpossibleError, match=rf"faults\[0\]: {fault['kind']}: .*{said}"):
        check_possible(Scenario.model_validate(whole), **{**usual, **arguments})


@pytest.mark.parametrize("strategy", ["prededuct", "stuck_sold_out", "stale_expiry"])
def test_a_strategy_that_lives_in_one_process_has_one_worker(strategy: str) -> None:
    """Two would not know of each other; the counter may move to Redis."""
    scenario = Scenario.model_validate(merged(SALE, {"shop": {"strategy": strategy}}))
    check_possible(scenario, 1, "sqlite", False, True)
    with pytest.raises(ImpossibleError, match=f"2 workers: the strategy {strategy}"):
        check_possible(scenario, 2, "sqlite", False, True)
    if strategy == "prededuct":
        check_possible(scenario, 2, "postgresql", True, True)


def test_rehearse_and_serve_refuse_with_a_sentence(tmp_path: Path) -> None:
    """Exit code 2 before anything is simulated or served."""
    path = written(tmp_path, {"kind": "restart_database", "start": "1s", "duration": "1s"})
    for verb in ("rehearse", "serve"):
        told = CliRunner().invoke(main, [verb, str(path)])
        assert told.exit_code == exit_codes.USAGE
        assert "restart_database: cannot be carried out" in told.output
        assert not (tmp_path / "results").exists()


def test_a_profile_without_the_hook_is_told(tmp_path: Path, bare_profile: Path) -> None:
    """Before a packet is sent: nobody listens there."""
    path = written(tmp_path, {"kind": "kill_shop", "start": "1s", "duration": "1s"})
    options = LiveOptions(target="http://127.0.0.1:9", profile=str(bare_profile))
    run = run_live(read_scenario(path), RunSettings(), options, tmp_path)
    assert run.exit_code == exit_codes.USAGE
    assert "hooks.faults.kill_shop" in run.sentences[0]
    assert "--without-faults" in run.sentences[0]
