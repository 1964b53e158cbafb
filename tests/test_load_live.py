"""Live runs against real servers: what is sent, what is recorded, and how a run may end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.launch import LiveOptions, LiveRun, Progress, run_live

pytestmark = [pytest.mark.live, pytest.mark.alone]

HERE = Path(__file__).resolve().parent
STEPS = ("browse", "reserve", "pay")

SCENARIO = """\
version: 1
name: {name}
shop: {{lock_time: 30s, items: [{{sku: tv, stock: 6, price: 20.00}}]}}
crowd:
  normal_load_per_s: {rate}
  load_factor: 1
  drain: {drain}
  phases: [{{name: sale, start: -500ms, duration: {duration}, shape: {{kind: constant}}}}]
  personas:
    fan: {{share: 1, think_time: 50ms, refresh_gap: 200ms, payment_time: 50ms, retry_wait: 100ms,
           unpaid_fraction: 0, buy_fraction: {buy}, request_timeout: {timeout},
           retry_limit: {retries}, identities: {{accounts: 40}}}}
payments: {{channels: [{{name: card, share: 1}}]}}
service:
  stations: [{{name: web, servers: 1}}]
  browse: [{{station: web, time: 1ms}}]
  reserve: [{{station: web, time: 1ms}}]
  pay: [{{station: web, time: 1ms}}]
"""
DEFAULTS = {
    "name": "small",
    "rate": 30,
    "duration": "2s",
    "drain": "1s",
    "buy": 0,
    "timeout": "5s",
    "retries": 3,
}

WATCHED_HOOKS = """\
hooks:
  stock: {request: {url: "/admin/stock/{{sku}}"}, available: $.left, locked: $.hold}
  audit: {requests: [{url: /admin/account}], items: $.goods}
"""

PLAIN_PROFILE = """\
version: 1
name: plain
steps:
  browse: [{url: URL, follow_redirects: true, outcome: [{status: 200, reply: ok}]}]
  reserve: [{url: /plain, method: POST, outcome: [{status: 200, reply: ok}]}]
  pay: [{url: /plain, method: POST, outcome: [{status: 200, reply: ok}]}]
"""

ODD_PROFILE = """\
version: 1
name: odd
headers:
  X-Session: "{{session}}"
  Authorization: Bearer {{token}}
retry_after: honour
shared:
  - {url: /token, extract: {token: {json: $.token}}}
visitor:
  cookies: true
  generate: {session: uuid}
  credentials: {file: people.csv, by: account}
  setup:
    - url: /login
      form: {login: "{{login}}", password: "{{password}}"}
      follow_redirects: true
      outcome: [{url: {matches: /home$}, text: Welcome, reply: ok}]
steps:
  browse:
    - url: /goods/{{sku}}
      extract: {csrf: {form_field: csrf}}
      outcome:
        - {text: Buy now, reply: ok}
        - {text: sold out, reply: sold_out}
        - {text: {matches: not started}, reply: not_open}
  reserve:
    - url: /cart
      form: {csrf: "{{csrf}}", n: "{{quantity}}"}
      headers: {Idempotency-Key: "{{idempotency_key}}"}
      extract: {order: {url: location, matching: "/orders/(.+)"}, page: {url: location}}
      outcome:
        - {status: 302, reply: ok}
        - {status: 400, json: {$.error.code: NO_STOCK}, reply: sold_out}
    - url: "{{page}}"
      poll: {until: {json: {$.state: held}}, every: 20ms, deadline: 5s}
      extract: {amount_cents: {json: $.total}}
      outcome: [{status: 200, reply: ok}]
  pay:
    - url: /graphql
      graphql:
        query: "mutation pay($order: ID!) { pay(order: $order) { status } }"
        variables: {order: "{{order}}", quantity: "{{quantity}}", attempt: "{{attempt}}"}
      outcome:
        - {json: {$.errors: {exists: true}}, reply: error}
        - {json: {$.data.pay.status: CAPTURED}, reply: ok}
hooks:
  reset:
    - url: /admin/reset
      headers: {X-Admin: "{{admin_token}}"}
      json: {opens: "{{t0_epoch_s}}"}
  stock: {request: {url: "/admin/stock/{{sku}}"}, available: $.left, locked: $.hold}
  audit:
    requests: [{url: /admin/account}]
    items: $.goods
    fields:
      sku: $.id
      initial_units: $.start
      available_units: $.left
      locked_units: $.hold
      sold_units: $.paid
      orders_paid: $.orders
      max_units_per_account: $.most
    totals: {payments_captured: $.money.captures}
"""


@contextmanager
def running_odd_shop() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """URL and process of an odd shop."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "odd_shop.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}", process
        process.kill()


@pytest.fixture(scope="module")
def odd_shop() -> Iterator[str]:
    """The URL of a running odd shop."""
    with running_odd_shop() as (url, _):
        yield url


@pytest.fixture(scope="module")
def doomed_shop() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Another one, to be killed."""
    with running_odd_shop() as shop:
        yield shop


def write_scenario(folder: Path, **change: Any) -> Path:
    """A small scenario file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sale.yaml"
    path.write_text(SCENARIO.format(**{**DEFAULTS, **change}))
    return path


def write_profile(folder: Path, text: str, **change: str) -> str:
    """A profile file, with some words replaced."""
    for old, new in change.items():
        text = text.replace(old, new)
    path = folder / "profile.yaml"
    path.write_text(text)
    return str(path)


class Runs:
    """Several small live runs at the same time: none asserts a latency, so they share the cores."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._pool = ThreadPoolExecutor(16)
        self._runs: dict[str, Future[LiveRun]] = {}
        self.progress: dict[str, list[Progress]] = {}
        self._interrupted = self._pool.submit(self._interrupt)

    def start(
        self,
        name: str,
        *,
        workers: int = 1,
        profile: str = PLAIN_PROFILE,
        url: str = "/plain",
        meanwhile: Callable[[Path], None] | None = None,
        limit: int = 1000,
        token: str = "let me in",
        target: str = "",
        people: int = 60,
        **scenario: Any,
    ) -> None:
        """Start one run; `meanwhile` is called with its results folder."""
        folder = self._folder / name
        file = read_scenario(write_scenario(folder, name=name, **scenario))
        options = LiveOptions(
            target=target or self._target,
            profile=write_profile(folder, profile, URL=url),
            workers=workers,
            in_flight_limit=limit,
            admin_token=token,
            stop_file=folder / "stop-now",
        )
        rows = "".join(f"ann{number},pw-ann{number}\n" for number in range(people))
        (folder / "people.csv").write_text(f"login,password\n{rows}")
        results = folder / "results"
        seen = self.progress[name] = []
        self._runs[name] = self._pool.submit(
            run_live, file, RunSettings(), options, results, on_progress=seen.append
        )
        if meanwhile is not None:
            self._pool.submit(meanwhile, results)

    def ended(self, name: str) -> LiveRun:
        """The run when it has ended."""
        return self._runs[name].result(timeout=60)

    def folder(self, name: str) -> RunFolder:
        """The records of a run that has ended."""
        path = self.ended(name).folder
        assert path is not None, self.ended(name).sentences
        return RunFolder.open(path)

    def interrupted(self) -> tuple[int, str, str, Path]:
        """Exit code, stdout, stderr and run folder of a command that got a Ctrl-C."""
        return self._interrupted.result(timeout=90)

    def _interrupt(self) -> tuple[int, str, str, Path]:
        folder = self._folder / "interrupted"
        scenario = write_scenario(folder, duration="60s")
        profile = write_profile(folder, PLAIN_PROFILE, URL="/plain")
        results = folder / "results"
        main = "from doorbuster.cli import main; main()"
        arguments = [str(scenario), "--target", self._target, "--profile", profile]
        with subprocess.Popen(
            [sys.executable, "-c", main, "load", *arguments, "--results", str(results)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            path = started_folder(results)
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err, path


def started_folder(results: Path) -> Path:
    """The run folder as soon as the sale is under way."""
    by_s = time.monotonic() + 60
    while time.monotonic() < by_s:
        for file in results.glob("*/2*/run.json"):
            folder = RunFolder(file.parent)
            if folder.table("visits").num_rows > 10:
                return folder.path
        time.sleep(0.05)
    message = "no run has started"
    raise AssertionError(message)


def kill_a_worker(results: Path) -> None:
    """End worker 1 the hard way."""
    workers = RunFolder.open(started_folder(results)).run["workers"]
    os.kill(workers[1]["pid"], signal.SIGKILL)


def touch_stop_file(results: Path) -> None:
    """Throw the kill switch."""
    started_folder(results)
    (results.parent / "stop-now").touch()


@pytest.fixture(scope="module")
def runs(
    odd_shop: str,
    doomed_shop: tuple[str, subprocess.Popen[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """All the small runs, started together."""
    folder = tmp_path_factory.mktemp("runs")
    runs = Runs(folder, odd_shop)
    doomed, process = doomed_shop

    def kill_the_shop(results: Path) -> None:
        started_folder(results)
        started_folder(folder / "dead-unwatched" / "results")
        process.kill()

    runs.start(
        "dead",
        target=doomed,
        profile=PLAIN_PROFILE + WATCHED_HOOKS,
        duration="9s",
        retries=0,
        meanwhile=kill_the_shop,
    )
    runs.start("dead-unwatched", target=doomed, duration="9s", retries=0)
    runs.start("one", profile=f"{PLAIN_PROFILE}connections: per_visitor\n")
    runs.start("two", workers=2)
    runs.start("killed", workers=2, duration="9s", meanwhile=kill_a_worker)
    runs.start("stopped", duration="20s", meanwhile=touch_stop_file)
    runs.start("hanging", url="/hang", timeout="300ms", retries=1, limit=4)
    runs.start("away", url="/away", retries=0)
    runs.start("cut", url="/hang", drain="300ms")
    runs.start("early", drain="120s")
    runs.start("odd", profile=ODD_PROFILE, buy=1, drain="3s", rate=15)
    runs.start("refused", profile=ODD_PROFILE, token="wrong")
    runs.start("poor", profile=ODD_PROFILE, people=1)
    return runs


def column(folder: RunFolder, table: str, name: str) -> list[Any]:
    """One column of a table."""
    values: list[Any] = folder.table(table).column(name).to_pylist()
    return values


def test_every_planned_visitor_has_exactly_one_row(runs: Runs) -> None:
    """The accounting identity holds however a run ends: whole, killed, stopped or dropping."""
    for name in ("one", "two", "killed", "stopped", "hanging", "away", "cut", "dead"):
        folder = runs.folder(name)
        visitors = sorted(column(folder, "visits", "visitor"))
        assert visitors == list(range(folder.run["plan_count"])), name
        assert not (folder.path / "spool").exists()


def test_every_request_that_a_visitor_counts_has_a_row(runs: Runs) -> None:
    """Also the requests that the end of the sale, a stop or a dead target cut off."""
    for name in ("one", "two", "stopped", "hanging", "away", "cut", "dead"):
        folder = runs.folder(name)
        told = sum(column(folder, "visits", "request_count"))
        assert folder.table("requests").num_rows == told > 0, name
    outcomes = Counter(column(runs.folder("cut"), "visits", "outcome"))
    assert outcomes["cut_off"] > 0
    assert None in column(runs.folder("cut"), "requests", "done_s")


def test_a_run_ends_when_everybody_has_left(runs: Runs) -> None:
    """A drain of two minutes is not waited for: `folder` gives up after one."""
    folder = runs.folder("early")
    assert folder.run["status"] == "complete"
    assert set(column(folder, "visits", "outcome")) == {"browsed"}


def test_progress_knows_the_plan_from_its_first_line(runs: Runs) -> None:
    for name in ("one", "two"):
        planned = runs.folder(name).run["plan_count"]
        assert {progress.planned for progress in runs.progress[name]} == {planned}


@pytest.mark.parametrize("name", ["dead", "dead-unwatched"])
def test_a_target_that_dies_has_failed(runs: Runs, name: str) -> None:
    """Exit 4 and status failed, with the moment of its last answer; the records are kept."""
    run, folder = runs.ended(name), runs.folder(name)
    assert run.exit_code == 4, run.sentences
    assert folder.run["status"] == "failed"
    [reason] = folder.run["reasons"]
    assert reason.startswith("the target stopped answering at T")
    outcomes = Counter(column(folder, "visits", "outcome"))
    assert outcomes["browsed"] > 0
    assert outcomes["failed"] > 0
    assert folder.table("stock").num_rows > 0 or name == "dead-unwatched"


def test_one_and_two_workers_offer_the_same_load(runs: Runs) -> None:
    """The same visitors at the same moments, whatever the number of processes."""
    offered = []
    for name in ("one", "two"):
        folder = runs.folder(name)
        assert runs.ended(name).exit_code == 0, runs.ended(name).sentences
        assert folder.run["status"] == "complete"
        planned = set(
            zip(
                column(folder, "visits", "visitor"),
                column(folder, "visits", "arrival_s"),
                strict=True,
            )
        )
        intended = zip(
            column(folder, "requests", "visitor"),
            column(folder, "requests", "intended_s"),
            strict=True,
        )
        assert set(intended) == planned
        assert set(column(folder, "visits", "outcome")) == {"browsed"}
        offered.append((folder.run["plan_hash"], planned))
    assert offered[0] == offered[1]
    workers = runs.folder("two").run["workers"]
    assert len({worker["pid"] for worker in workers}) == 2
    assert all(worker["planned"] == worker["sent"] > 0 for worker in workers)


def test_nothing_is_sent_before_its_time(runs: Runs) -> None:
    """Dispatch delays are never negative, and the first arrival is not late by set-up work."""
    requests = runs.folder("one").table("requests")
    delays = requests.column("sent_s").to_numpy() - requests.column("intended_s").to_numpy()
    assert delays.min() >= 0
    assert np.median(delays) < 0.05


def test_a_lost_worker_voids_the_run(runs: Runs) -> None:
    """Exit 3 with the worker named; its visitors count as not run, the others' are kept."""
    run, folder = runs.ended("killed"), runs.folder("killed")
    assert run.exit_code == 3, run.sentences
    assert any("worker 1 was lost" in sentence for sentence in run.sentences)
    facts = folder.run
    assert facts["status"] == "interrupted"
    assert facts["generator"]["lost_workers"] == [1]
    assert [worker["lost"] for worker in facts["workers"]] == [False, True]
    outcomes = Counter(column(folder, "visits", "outcome"))
    assert outcomes["not_run"] > 0
    assert outcomes["browsed"] > 0


def test_the_kill_switch_ends_a_run(runs: Runs) -> None:
    """A file is enough; the records are kept and say that the run was interrupted."""
    run, folder = runs.ended("stopped"), runs.folder("stopped")
    assert run.exit_code == 130, run.sentences
    assert folder.run["status"] == "interrupted"
    assert "not_run" in column(folder, "visits", "outcome")


def test_the_visitors_own_timeout_ends_a_request(runs: Runs) -> None:
    """A hanging target is left after the persona's timeout; arrivals over the limit are dropped."""
    run, folder = runs.ended("hanging"), runs.folder("hanging")
    requests = folder.table("requests")
    assert set(column(folder, "requests", "reply")) == {"timeout"}
    waited = requests.column("done_s").to_numpy() - requests.column("sent_s").to_numpy()
    assert waited.min() >= 0.299
    assert waited.max() < 2.0
    outcomes = Counter(column(folder, "visits", "outcome"))
    assert outcomes["dropped"] == folder.run["generator"]["dropped"] > 0
    assert outcomes["failed"] > 0
    assert run.exit_code == 3
    assert folder.run["generator"]["in_flight_max"] == folder.run["generator"]["in_flight_limit"]


def test_a_redirect_to_a_foreign_host_is_not_followed(runs: Runs) -> None:
    folder = runs.folder("away")
    assert set(column(folder, "requests", "reply")) == {"error"}
    assert any("shop.invalid:80 is not an allowed host" in note for note in folder.run["notes"])


def test_a_shop_that_nobody_here_wrote(odd_shop: str, runs: Runs) -> None:
    """Log-in, cookies, CSRF, redirects, queued orders, GraphQL, Retry-After, its own account."""
    assert runs.ended("odd").exit_code == 0, runs.ended("odd").sentences
    folder = runs.folder("odd")
    assert folder.run["notes"] == {}
    outcomes = Counter(column(folder, "visits", "outcome"))
    assert outcomes["sold"] == 6
    assert outcomes["sold_out"] == folder.run["plan_count"] - 6
    paid = [price for price in column(folder, "visits", "price_paid_cents") if price]
    assert paid == [1990] * 6
    replies = Counter(
        zip(column(folder, "requests", "step"), column(folder, "requests", "reply"), strict=True)
    )
    assert replies["browse", "not_open"] > 0
    assert replies["pay", "ok"] == 6

    [audit] = folder.audits
    assert (audit.items[0].sold_units, audit.payments_captured) == (6, 6)
    assert audit.captured_cents is None
    sold = column(folder, "stock", "sold")
    assert (sold[0], sold[-1]) == (0, 6)
    log = httpx.get(f"{odd_shop}/log", trust_env=False).json()
    _check_what_the_shop_saw([entry for entry in log if entry["path"] != "/plain"], folder)


def _check_what_the_shop_saw(log: list[dict[str, Any]], folder: RunFolder) -> None:
    """Tag and session on every request, one key for one logical attempt, Retry-After kept."""
    visits = [entry for entry in log if entry["path"] not in ("/token", "/admin/reset")]
    assert {entry["headers"]["x-doorbuster-test"] for entry in visits} == {"odd/1"}
    assert {entry["headers"]["authorization"] for entry in visits} == {"Bearer shared-token"}
    assert [entry["path"] for entry in log].count("/token") == 1
    sessions = {entry["headers"]["x-session"] for entry in visits}
    assert len(sessions) == folder.run["plan_count"]
    clicks: dict[str, list[str]] = {}
    for entry in log:
        if entry["path"] == "/cart":
            session = entry["headers"]["x-session"]
            clicks.setdefault(session, []).append(entry["headers"]["idempotency-key"])
    repeated = [keys for keys in clicks.values() if len(keys) == 2]
    assert repeated
    assert all(first == second for first, second in repeated)
    assert len({keys[0] for keys in clicks.values()}) == len(clicks)

    steps = folder.table("requests").to_pylist()
    overloaded = {row["visitor"]: row["done_s"] for row in steps if row["reply"] == "overloaded"}
    again = [
        row["intended_s"] - overloaded[row["visitor"]]
        for row in steps
        if row["step"] == "reserve" and row["attempt"] == 1
    ]
    assert again
    assert min(again) == pytest.approx(0.4, abs=0.001)


def test_a_reset_that_is_refused_is_the_targets_failure(runs: Runs) -> None:
    """Exit 4 with the target's own words, and nothing is run."""
    run = runs.ended("refused")
    assert (run.exit_code, run.folder) == (4, None)
    assert "reset hook" in run.sentences[0]
    assert "POST /admin/reset answered 403 (no): is the admin token" in run.sentences[0]


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_server_that_is_no_shop_is_told_in_one_line(tmp_path: Path) -> None:
    """Its page of HTML is not quoted."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        target = f"http://127.0.0.1:{server.server_port}"
        options = LiveOptions(target=target, admin_token="any")
        file = read_scenario(write_scenario(tmp_path))
        run = run_live(file, RunSettings(), options, tmp_path / "results")
        server.shutdown()
    assert (run.exit_code, run.folder) == (4, None)
    assert run.sentences == [
        "reset hook: POST /admin/reset answered 501: "
        "this does not look like the shop of profile 'reference'"
    ]


def test_too_few_credentials_are_refused(runs: Runs) -> None:
    """Exit 2: two buyers must not share a log-in unless the profile says so."""
    run = runs.ended("poor")
    assert (run.exit_code, run.folder) == (2, None)
    assert "too few rows (got 1, the plan has" in run.sentences[0]


def test_ctrl_c_keeps_the_records(runs: Runs) -> None:
    """Exit 130, and the run folder can be read and judged."""
    returncode, out, err, path = runs.interrupted()
    assert returncode == 130, err
    assert "interrupted by the user" in err
    assert "Traceback" not in err
    assert "INVALID" in out
    folder = RunFolder.open(path)
    assert folder.run["status"] == "interrupted"
    outcomes = Counter(column(folder, "visits", "outcome"))
    assert outcomes["browsed"] > 0
    assert outcomes.total() == folder.run["plan_count"]
