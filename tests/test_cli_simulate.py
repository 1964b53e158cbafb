"""`doorbuster simulate` and its neighbours: what goes wrong ends in a sentence and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doorbuster import exit_codes
from doorbuster.cli.main import main
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


def test_the_largest_seed_has_a_next_one(tmp_path: Path) -> None:
    seed = str(2**63 - 1)
    result = run("simulate", DEMO, "--seed", seed, "--replications", "2",
                 "--load-factor", "1", "--json", results=tmp_path)  # fmt: skip
    folder = RunFolder.open(Path(json.loads(result.stdout)["folder"]))
    assert folder.run["replication_seeds"] == [2**63 - 1, 0]


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


def test_ctrl_c_keeps_the_finished_sales(tmp_path: Path) -> None:
    # Sent to the whole process group, as a terminal does, once a first sale is finished.
    process = subprocess.Popen(
        [DOORBUSTER, "simulate", DEMO, "--replications", "500", "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(8)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == exit_codes.INTERRUPTED
    assert "Traceback" not in err
    folder = RunFolder.open((tmp_path / "demo" / "latest").resolve())
    assert folder.run["status"] == "interrupted"
    kept = len(folder.run["replication_seeds"])
    assert f"Interrupted; {kept} of 500 sales are kept" in err
    assert json.loads((folder.path / "verdict.json").read_text())["status"] == "invalid"
    assert (folder.path / "report.html").exists()
    assert "INVALID" in out
