"""Compiled code: kept by the digest of its sources, shared by processes, told before it is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TWICE = """
from doorbuster.compiling import compilable

@compilable
def twice(x):
    return 2 * x
"""
SUM = """
from doorbuster.compiling import compilable
from sums.twice import twice

@compilable
def doubled_sum(values):
    total = 0.0
    for value in values:
        total += twice(value)
    return total
"""
PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np
from doorbuster.compiling import when_compiling, code_is_kept, can_keep_code
from sums.doubled_sum import doubled_sum
when_compiling(lambda function: print("compiles", function.py_func.__name__))
print("keeps", can_keep_code(doubled_sum), "kept", code_is_kept(doubled_sum))
Path(f"ready-{sys.argv[1]}").touch()
while len(list(Path().glob("ready-*"))) < int(sys.argv[2]):
    time.sleep(0.001)
print("sum", doubled_sum(np.arange(5.0)))
"""
COLD = ["keeps True kept False", "compiles doubled_sum", "compiles twice", "sum 20.0"]
KEPT = ["keeps True kept True", "sum 20.0"]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two functions, one of which calls the other."""
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "twice.py").write_text(TWICE)
    (folder / "doubled_sum.py").write_text(SUM)
    (tmp_path / "program.py").write_text(PROGRAM)
    return folder


def start(package: Path, name: str, together: int, **settings: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, [str(package.parent), *sys.path]))
    environment = {name: text for name, text in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "program.py", name, str(together)],
        cwd=package.parent,
        env={**environment, "PYTHONPATH": paths, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


def test_code_is_kept_until_any_source_changes(package: Path) -> None:
    assert outcome(start(package, "1", 1)) == COLD
    assert outcome(start(package, "2", 1)) == KEPT
    # Numba alone would go on with the code of the caller, whose own file has not changed.
    (package / "twice.py").write_text(TWICE.replace("2 * x", "3 * x"))
    assert outcome(start(package, "3", 1)) == [*COLD[:-1], "sum 30.0"]


def test_a_chosen_folder_keeps_code_by_its_sources_too(package: Path, tmp_path: Path) -> None:
    chosen = {"NUMBA_CACHE_DIR": str(tmp_path / "chosen")}
    assert outcome(start(package, "1", 1, **chosen)) == COLD
    assert outcome(start(package, "2", 1, **chosen)) == KEPT
    (package / "twice.py").write_text(TWICE.replace("2 * x", "3 * x"))
    assert outcome(start(package, "3", 1, **chosen)) == [*COLD[:-1], "sum 30.0"]
    assert len(list((tmp_path / "chosen").iterdir())) == 2
    assert list(package.rglob("compiled-*")) == []


@pytest.mark.slow
def test_processes_that_start_cold_together_do_not_disturb_each_other(package: Path) -> None:
    for number in range(2):
        # Every round has new sources, so all four find nothing and write the same files.
        (package / "twice.py").write_text(TWICE + f"\nROUND = {number}\n")
        for ready in package.parent.glob("ready-*"):
            ready.unlink()
        processes = [start(package, f"{number}-{one}", 4) for one in range(4)]
        assert [outcome(process)[-1] for process in processes] == ["sum 20.0"] * 4
        assert outcome(start(package, f"{number}-later", 1)) == KEPT
