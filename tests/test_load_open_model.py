"""The point of the whole replay: a target that stands still is seen to stand still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster_load.launch import LiveOptions, run_live

pytestmark = [pytest.mark.live, pytest.mark.alone]

HERE = Path(__file__).resolve().parent
RATE_PER_S = 200
SALE_S = 10
FREEZE_AT_S = 4
FREEZE_S = 2

SCENARIO = f"""\
version: 1
name: frozen
shop: {{lock_time: 30s, items: [{{sku: tv, stock: 1, price: 1.00}}]}}
crowd:
  normal_load_per_s: {RATE_PER_S}
  load_factor: 1
  drain: 1s
  phases: [{{name: sale, start: 0, duration: {SALE_S}s, shape: {{kind: constant}}}}]
  personas: {{passer-by: {{share: 1, buy_fraction: 0}}}}
payments: {{channels: [{{name: card, share: 1}}]}}
service:
  stations: [{{name: web, servers: 1}}]
  browse: [{{station: web, time: 1ms}}]
  reserve: [{{station: web, time: 1ms}}]
  pay: [{{station: web, time: 1ms}}]
"""
PROFILE = """\
version: 1
name: plain
steps:
  browse: [{url: /plain, outcome: [{status: 200, reply: ok}]}]
  reserve: [{url: /plain, method: POST, outcome: [{status: 200, reply: ok}]}]
  pay: [{url: /plain, method: POST, outcome: [{status: 200, reply: ok}]}]
"""


@contextmanager
def server() -> Iterator[tuple[str, int]]:
    """URL and process id of a small server."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "odd_shop.py")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
        process.kill()


def freeze(pid: int, at_epoch_s: float) -> None:
    """Stop a process for two seconds at a wall-clock time."""
    time.sleep(max(0.0, at_epoch_s - time.time()))
    os.kill(pid, signal.SIGSTOP)
    time.sleep(FREEZE_S)
    os.kill(pid, signal.SIGCONT)


def freeze_in_the_sale(pid: int, results: Path) -> None:
    """The same, counted from the opening of a run that is about to start."""
    by_s = time.monotonic() + 40
    while not (found := list(results.glob("*/2*/run.json"))):
        if time.monotonic() > by_s:
            return
        time.sleep(0.05)
    opening = datetime.fromisoformat(RunFolder(found[0].parent).run["t0_utc"]).astimezone(UTC)
    freeze(pid, opening.timestamp() + FREEZE_AT_S)


def closed_run(found: dict[str, float]) -> None:
    """A plain Locust test against a server that freezes as well."""
    with (
        server() as (url, pid),
        subprocess.Popen(
            [sys.executable, str(HERE / "closed_model.py"), url, str(SALE_S)],
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        freeze(pid, time.time() + FREEZE_AT_S)
        found.update(json.loads(process.stdout.readline()))


def test_a_frozen_target_is_not_flattered(tmp_path: Path) -> None:
    """A server stands still for 2 s of 10 s at 200 arrivals a second.

    Arrivals in the freeze wait up to 2 s, so every fifth one waits, on average a second: the
    90th percentile must be about 1 s. A closed test of the same rate waits together with the
    server, sends fewer requests, and its 95th percentile does not even notice.
    """
    (tmp_path / "sale.yaml").write_text(SCENARIO)
    (tmp_path / "profile.yaml").write_text(PROFILE)
    results = tmp_path / "results"
    closed: dict[str, float] = {}
    other = threading.Thread(target=closed_run, args=(closed,), daemon=True)
    other.start()
    with server() as (url, pid):
        freezer = threading.Thread(target=freeze_in_the_sale, args=(pid, results), daemon=True)
        freezer.start()
        options = LiveOptions(target=url, profile=str(tmp_path / "profile.yaml"))
        run = run_live(read_scenario(tmp_path / "sale.yaml"), RunSettings(), options, results)
        freezer.join()
    other.join(timeout=40)
    assert run.exit_code == 0, run.sentences
    assert run.folder is not None
    folder = RunFolder.open(run.folder)
    requests = folder.table("requests")
    response_s = requests.column("done_s").to_numpy() - requests.column("intended_s").to_numpy()
    delay_s = requests.column("sent_s").to_numpy() - requests.column("intended_s").to_numpy()
    p90_s = float(np.quantile(response_s, 0.9))
    delay_p99_s = float(np.quantile(delay_s, 0.99))
    sys.stderr.write(f"open p90 {p90_s:.3f} s, late p99 {delay_p99_s * 1e3:.1f} ms; {closed}\n")

    planned = folder.run["plan_count"]
    assert 1800 < planned < 2200
    assert len(response_s) == planned
    assert 0.7 < p90_s < 1.4
    assert closed, "the closed run has not ended"
    assert closed["count"] < 0.9 * RATE_PER_S * SALE_S
    assert closed["p95_s"] < p90_s / 3
