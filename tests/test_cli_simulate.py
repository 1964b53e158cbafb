"""`doorbuster simulate` and its neighbours: what goes wrong ends in a sentence and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.cli.progress import progress
from doorbuster.records.run_folder import RunFolder

DEMO = str(Path(__file__).parent.parent / "scenarios" / "demo.yaml")
DOORBUSTER = str(Path(sys.executable).parent / "doorbuster")


def run(*words: str, results: Path) -> Result:
    return CliRunner().invoke(main, [*words, "--results", str(results)], catch_exceptions=False)


def test_a_simulation_leaves_a_judged_folder_with_a_report(tmp_path: Path) -> None:
    result = run("simulate", DEMO, "--replications", "4", "--json", results=tmp_path)
    assert result.exit_code == exit_codes.PASS
    printed = json.loads(result.stdout)
    folder = RunFolder.open(Path(printed["folder"]))
    assert folder.is_complete
    assert json.loads((folder.path / "verdict.json").read_text())["status"] == "pass"
    assert (folder.path / "report.html").stat().st_size > 100_000
    assert (tmp_path / "demo" / "latest").resolve() == folder.path.resolve()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--load-factor", "0.0000001"], "the plan is empty"),
        (["--load-factor", "1000000"], "the plan is too large"),
        (["--window", "100s..200s"], "holds no arrivals"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    result = run("simulate", DEMO, *words, results=tmp_path)
    assert result.exit_code == exit_codes.USAGE
    assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_largest_seed_is_replication_0s(tmp_path: Path) -> None:
    seed = str(2**63 - 1)
    result = run("simulate", DEMO, "--seed", seed, "--replications", "2",
                 "--load-factor", "1", "--json", results=tmp_path)  # fmt: skip
    first, second = RunFolder.open(Path(json.loads(result.stdout)["folder"])).run[
        "replication_seeds"
    ]
    assert first == 2**63 - 1
    assert 0 <= second < 2**63


def test_a_file_in_place_of_the_results_is_told(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("not a folder")
    result = run("simulate", DEMO, "--load-factor", "1", results=tmp_path)
    assert result.exit_code == exit_codes.USAGE
    assert "no folder" in result.stderr


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    run("simulate", DEMO, "--load-factor", "1", "--replications", "1", results=tmp_path)
    folder = (tmp_path / "demo" / "latest").resolve()
    os.truncate(folder / "visits.parquet", 100)
    result = CliRunner().invoke(main, ["report", str(folder)], catch_exceptions=False)
    assert result.exit_code == exit_codes.USAGE
    assert "visits.parquet: is damaged" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_the_environments_fault(tmp_path: Path) -> None:
    (tmp_path / "plan.svg").symlink_to("/dev/full")
    command = ["check", DEMO, "--plot", str(tmp_path / "plan.svg")]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == exit_codes.TARGET_FAILED
    assert "No space left" in result.stderr


@pytest.mark.parametrize(("engine", "jobs"), [("simpy", "1"), ("simpy", "2"), ("compiled", "1")])
def test_ctrl_c_keeps_the_finished_sales(tmp_path: Path, engine: str, jobs: str) -> None:
    # Sent to the whole process group, as a terminal does, once a first sale is finished.
    process = subprocess.Popen(
        [DOORBUSTER, "simulate", DEMO, "--replications", "5000", "--jobs", jobs,
         "--engine", engine, "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(kept_so_far(tmp_path)) > 0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == exit_codes.INTERRUPTED
    assert "Traceback" not in err
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert folder.run["status"] == "interrupted"
    kept = len(folder.run["replication_seeds"])
    assert 0 < kept == len(folder.audits)
    assert set(folder.table("visits")["replication"].to_pylist()) == set(range(kept))
    assert f"Interrupted; {kept} of 5000 sales are kept" in err
    assert json.loads((folder.path / "verdict.json").read_text())["status"] == "invalid"
    assert (folder.path / "report.html").exists()
    assert "INVALID" in out
    assert processes_of_group(process.pid) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is Linux's")
def test_a_killed_run_leaves_its_sales_and_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [DOORBUSTER, "simulate", DEMO, "--replications", "500", "--jobs", "2",
         "--engine", "simpy", "--results", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(kept_so_far(tmp_path)) > 0)
    process.kill()
    process.wait()
    wait_for(lambda: processes_of_group(process.pid) == [])
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    kept = len(folder.audits)
    assert kept > 0
    assert folder.run["status"] == "running"
    assert set(range(kept)) <= set(folder.table("requests")["replication"].to_pylist())
    result = CliRunner().invoke(main, ["report", str(folder.path)], catch_exceptions=False)
    assert result.exit_code == exit_codes.PASS


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is Linux's")
@pytest.mark.parametrize(("engine", "load_factor"), [("simpy", "10"), ("compiled", "100")])
def test_a_worker_that_dies_fails_the_run_and_keeps_the_sales(
    tmp_path: Path, engine: str, load_factor: str
) -> None:
    # The compiled engine takes a pool from three million visitors in all.
    process = subprocess.Popen(
        [DOORBUSTER, "simulate", DEMO, "--replications", "500", "--jobs", "2",
         "--engine", engine, "--load-factor", load_factor, "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(kept_so_far(tmp_path)) > 0)
    worker = a_worker_of(process.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == exit_codes.TARGET_FAILED
    assert "Traceback" not in err
    assert f"process {worker} of the pool died (SIGKILL)" in out
    assert "TARGET FAILED: The target or the environment failed: " in out
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    kept = len(folder.run["replication_seeds"])
    assert f"{kept} of 500 sales are kept" in err
    assert folder.run["status"] == "failed"
    assert set(folder.table("visits")["replication"].to_pylist()) == set(range(kept))
    assert processes_of_group(process.pid) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--precision", "0"], "'0' is no share above 0 and below 1; write 5% or 0.05"),
        (["--precision", "100%"], "'100%' is no share"),
        (["--precision", "5%", "--measure", "unit-sold"], "did you mean 'units-sold'?"),
        (["--precision", "5%", "--measure", "conversion:bots"], "allowed: fan, casual, bot"),
        (["--precision", "5%", "--measure", "stock-share"], "write stock-share:PERSONA"),
        (["--precision", "5%", "--measure", "response-p0"], "no such percentile"),
        (["--measure", "gmv"], "gmv: how sure? add --precision 5%"),
        (["--measure", "response-p95=fast"], "'fast' is no half-width; write for example 20ms"),
        (["--cluster", "somewhere"], "write tcp://HOST:PORT"),
        (["--cluster", "tcp://127.0.0.1:1", "--jobs", "2"], "leave it out with --cluster"),
    ],
)
def test_options_that_mean_nothing_are_told(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    result = run("simulate", DEMO, *words, results=tmp_path)
    assert result.exit_code == exit_codes.USAGE
    assert sentence in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_precision_ends_the_run_before_the_maximum(tmp_path: Path) -> None:
    # Every sale of the demo at factor 3 sells all 60 units: sure after 5, and 5 more agree.
    result = run("simulate", DEMO, "--load-factor", "3", "--replications", "50", "--precision",
                 "5%", "--measure", "units-sold", "--json", results=tmp_path)  # fmt: skip
    printed = json.loads(result.stdout)
    assert printed["precision"]["reached"] is True
    assert printed["precision"]["replications_max"] == 50
    folder = RunFolder.open(Path(printed["folder"]))
    assert folder.run["replications"] == len(folder.audits) == 10
    units = next(row for row in printed["measures"] if row["name"] == "units-sold")
    assert (units["mean"], units["half_width"], units["sales"]) == (60, 0, 10)
    # All that was planned was simulated: the run is as valid as one of a fixed size.
    assert "invalid" not in {check["status"] for check in printed["checks"]}


def test_a_precision_that_is_not_reached_is_told(tmp_path: Path) -> None:
    result = run("simulate", DEMO, "--load-factor", "3", "--replications", "6", "--measure",
                 "sell-out=1ms", "--measure", "bots=50%", results=tmp_path)  # fmt: skip
    assert "The precision was NOT reached with 6 of at most 6 sales" in result.stderr
    assert "sell-out: ± " in result.stderr
    assert "(wanted ± 1.00 ms)" in result.stderr
    table = result.stdout.split("PASS")[0]
    assert "Mean over 6 sales" in table
    assert "bots" in table


def test_plain_progress_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 60.0, 61.0, 68.0, 90.0, 7290.0])
    monkeypatch.setattr("doorbuster.cli.progress.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("doorbuster.cli.progress.QUIET_S", 5.0)
    with progress("simulating") as advance:
        # A minute in which something was compiled, perhaps: nobody knows how fast it goes on.
        advance(0.1, "1 of 10 sales")
        advance(0.2, "2 of 10 sales")  # A second later: too early for another line.
        advance(0.5, "5 of 10 sales")
        advance(0.0, "none")  # Another piece of work under the same title.
        advance(0.25, "1 of 4 sales")
    assert capsys.readouterr().err.splitlines() == [
        "simulating: 10% 1 of 10 sales",
        "simulating: 50% 5 of 10 sales, 10 s left",
        "simulating: 0% none",
        "simulating: 25% 1 of 4 sales, 6 h left",
    ]


LIMIT_BYTES = 150_000


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_keeps_what_was_finished(tmp_path: Path, jobs: int) -> None:
    # The system refuses every file beyond the limit, as a full disk would.
    limited = (
        "import resource, sys; from doorbuster.cli.main import main\n"
        "if __name__ == '__main__':\n"
        f"    resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, {LIMIT_BYTES}))\n"
        "    main()\n"
    )
    (tmp_path / "limited.py").write_text(limited)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "limited.py"), "simulate", DEMO, "--load-factor", "1",
         "--replications", "100", "--jobs", str(jobs), "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == exit_codes.TARGET_FAILED
    assert "Traceback" not in done.stderr
    assert "-sim.arrows: the system refuses: File too large" in done.stderr
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    kept = len(folder.audits)
    assert kept > 0
    assert f"{kept} of 100 sales are kept" in done.stderr
    assert folder.run["status"] == "failed"
    assert "File too large" in folder.run["reasons"][0]
    for name in ("visits", "requests", "stock"):
        assert set(folder.table(name)["replication"].to_pylist()) == set(range(kept))


def kept_so_far(results: Path) -> list[str]:
    """The lines of the journal of the run that is under way: one a finished sale."""
    journals = list(results.glob("demo/2*/spool/sales.jsonl"))
    return journals[0].read_text().splitlines() if journals else []


def wait_for(happened: Callable[[], bool], limit_s: float = 300.0) -> None:
    started = time.monotonic()
    while not happened():
        assert time.monotonic() - started < limit_s, "it never happened"
        time.sleep(0.05)


def processes_of_group(group: int) -> list[int]:
    """Living processes of a process group; zombies are dead."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def a_worker_of(parent: int) -> int:
    """A process of the pool, and not Python's resource tracker."""
    for process in processes_of_group(parent):
        command = Path(f"/proc/{process}/cmdline").read_text()
        if "spawn_main" in command:
            return process
    raise AssertionError("no worker")
