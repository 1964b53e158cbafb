"""Replications on a Dask cluster of worker processes: the same bytes, and losses that are told."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import BOOKS, TABLES
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import Engine, dask_crew, simulate_run
from doorbuster_sim.crews import Crew, OwnProcess, WorkersLostError
from doorbuster_sim.dask_crew import ClusterError, dask_cluster
from doorbuster_sim.process_crew import process_pool

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"


@contextmanager
def local_cluster() -> Iterator[Any]:
    """A scheduler and two worker processes on this machine, as a user would start them."""
    import dask
    import distributed

    # The scheduler asks a killed worker for its results for so long; it would be half a minute.
    patience: Any = dask.config.set({"distributed.comm.timeouts.connect": "3s"})
    # Dask leaves sockets and loops to the garbage collector when a worker was killed.
    with patience, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make: Any = distributed.LocalCluster
        with make(
            n_workers=2,
            processes=True,
            threads_per_worker=1,
            dashboard_address=None,
            host="127.0.0.1",
        ) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with local_cluster() as running:
        yield running


def small_run(
    results: Path,
    crew: Crew,
    *,
    load_factor: float = 1,
    count: int = 7,
    engine: Engine = "simpy",
) -> RunFolder:
    folder = RunFolder.create(results, scenario_name="demo", world="sim", seed=3)
    settings = RunSettings(seed=3, load_factor=load_factor)
    file = read_scenario(DEMO)
    simulate_run(folder, file, settings, replications=count, crew=crew, engine=engine)
    return folder


def digests(folder: RunFolder) -> dict[str, str]:
    files = sorted(folder.path.glob("*.parquet"))
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_a_cluster_writes_the_bytes_of_a_process_pool(tmp_path: Path, cluster: Any) -> None:
    # Both engines on both crews of two processes, and this process: five runs, the same tables.
    alone = digests(small_run(tmp_path, OwnProcess()))
    assert len(alone) == len(TABLES) + len(BOOKS) - 1  # It has no warehouses.
    engines: tuple[Engine, ...] = ("simpy", "compiled")
    with dask_cluster(cluster.scheduler_address) as crew:
        assert crew.worker_count == 2
        there = [digests(small_run(tmp_path, crew, engine=engine)) for engine in engines]
    with process_pool(2) as pool:
        here = [digests(small_run(tmp_path, pool, engine=engine)) for engine in engines]
    assert [*there, *here] == [alone] * 4


def test_the_option_names_the_cluster(tmp_path: Path, cluster: Any) -> None:
    words = ["--load-factor", "3", "--replications", "3", "--results", str(tmp_path)]
    command = ["simulate", DEMO.as_posix(), *words, "--cluster", cluster.scheduler_address]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == exit_codes.PASS, result.output
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert len(folder.run["replication_seeds"]) == 3


def test_ctrl_c_keeps_the_finished_sales_of_a_cluster(tmp_path: Path, cluster: Any) -> None:
    process = subprocess.Popen(
        [Path(sys.executable).parent / "doorbuster", "simulate", DEMO, "--replications", "500",
         "--engine", "simpy", "--results", tmp_path, "--cluster", cluster.scheduler_address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    started = time.monotonic()
    while not any(p.stat().st_size for p in tmp_path.glob("demo/2*/spool/sales.jsonl")):
        assert time.monotonic() - started < 300
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == exit_codes.INTERRUPTED
    assert "Traceback" not in err
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert folder.run["status"] == "interrupted"
    kept = len(folder.run["replication_seeds"])
    assert kept == len(set(folder.table("visits")["replication"].to_pylist())) > 0
    assert f"{kept} of 500 sales are kept" in err


def test_a_sale_of_a_lost_worker_is_given_to_another(tmp_path: Path) -> None:
    with local_cluster() as mine, dask_cluster(mine.scheduler_address) as crew:
        pids = crew.executor._client.run(os.getpid)  # type: ignore[attr-defined]
        killer = threading.Timer(1.0, os.kill, (next(iter(pids.values())), signal.SIGKILL))
        killer.start()
        folder = small_run(tmp_path, crew, load_factor=10, count=10)
        killer.join()
    assert folder.is_complete
    assert digests(folder) == digests(small_run(tmp_path, OwnProcess(), load_factor=10, count=10))


def test_a_cluster_that_loses_all_its_workers_fails_the_run(tmp_path: Path) -> None:
    with local_cluster() as mine, dask_cluster(mine.scheduler_address, alone_s=2) as crew:
        closer = threading.Timer(3.0, mine.scale, (0,))
        closer.start()
        with pytest.raises(WorkersLostError, match="no worker was left for 2 s; start workers"):
            small_run(tmp_path, crew, load_factor=10, count=200)
        closer.join()
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert folder.run["status"] == "failed"
    assert "no worker was left" in folder.run["reasons"][0]
    kept = len(folder.run["replication_seeds"])
    assert kept == len(set(folder.table("visits")["replication"].to_pylist()))


def test_a_scheduler_that_is_gone_fails_the_run(tmp_path: Path) -> None:
    with local_cluster() as mine, dask_cluster(mine.scheduler_address) as crew:
        closer = threading.Timer(3.0, mine.close)
        closer.start()
        with pytest.raises(WorkersLostError, match="the scheduler is gone"):
            small_run(tmp_path, crew, load_factor=10, count=200)
        closer.join()
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert folder.run["status"] == "failed"
    assert len(folder.audits) == len(folder.run["replication_seeds"])


def test_a_scheduler_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:  # Bound and not listening: nobody else gets the port.
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        command = ["simulate", DEMO.as_posix(), "--results", str(tmp_path), "--cluster", address]
        result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == exit_codes.TARGET_FAILED
    assert "no scheduler answers within 10 s" in result.stderr
    assert "start one with: dask scheduler" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    command = ["simulate", DEMO.as_posix(), "--results", str(tmp_path), "--cluster", "tcp://a:1"]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == exit_codes.USAGE
    assert "pip install 'doorbuster[dask]'" in result.stderr


def test_another_version_on_a_worker_is_told(cluster: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(dask_crew, "__version__", "99.0")
    with (
        pytest.raises(ClusterError, match=r"has another Doorbuster .*; install version 99\.0"),
        dask_cluster(cluster.scheduler_address),
    ):
        pass
