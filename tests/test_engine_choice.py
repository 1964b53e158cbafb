"""Which engine a run takes, what it says about it, and that it never crashes over it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doorbuster import exit_codes
from doorbuster.cli.console import _CompilingTold
from doorbuster.cli.main import main
from doorbuster.draws import draw
from doorbuster.records.run_folder import RunFolder
from doorbuster_sim import choose_engine, engines
from doorbuster_sim.compiled_engine.loop import room, run
from doorbuster_sim.engines import COMPILING_VISITORS

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "scenarios" / "demo.yaml"


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that compiled code can be kept or not, and is there or not."""
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)

    def pretend(*, can_be_kept: bool = True, is_kept: bool = False) -> None:
        monkeypatch.setattr(engines, "can_keep_code", lambda _: can_be_kept)
        monkeypatch.setattr(engines, "code_is_kept", lambda _: is_kept)

    return pretend


# --- the choice ---


def test_a_small_crowd_is_not_worth_compiling(code: Callable[..., None]) -> None:
    code(is_kept=False)
    engine, reason = choose_engine("auto", visitor_count=10_376, job_count=2)
    assert engine == "simpy"
    assert reason.startswith("through with 10,376 visitors before the other is compiled")
    assert choose_engine("compiled", visitor_count=10).engine == "compiled"


def test_a_large_crowd_is_worth_compiling(code: Callable[..., None]) -> None:
    code(is_kept=False)
    assert choose_engine("auto", visitor_count=COMPILING_VISITORS) == ("compiled", "")
    # Two processes simulate twice as much in the same time.
    few = choose_engine("auto", visitor_count=2 * COMPILING_VISITORS - 1, job_count=2)
    many = choose_engine("auto", visitor_count=2 * COMPILING_VISITORS, job_count=2)
    assert (few.engine, many.engine) == ("simpy", "compiled")


def test_kept_code_is_always_taken(code: Callable[..., None]) -> None:
    code(is_kept=True)
    assert choose_engine("auto", visitor_count=1) == ("compiled", "")
    # What is kept here is of no use to the machines of a cluster.
    assert choose_engine("auto", visitor_count=1, keeps_code=False).engine == "simpy"


def test_code_that_cannot_be_kept_is_told(code: Callable[..., None]) -> None:
    code(can_be_kept=False)
    engine, reason = choose_engine("auto", visitor_count=10 * COMPILING_VISITORS)
    assert engine == "simpy"
    assert "compiled code cannot be kept: " in reason
    assert "NUMBA_CACHE_DIR" in reason
    engine, reason = choose_engine("compiled")
    assert engine == "compiled"
    assert "compiled anew in every run" in reason


def test_without_a_compiler_simpy_runs_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    for wanted in ("auto", "compiled"):
        engine, reason = choose_engine(wanted)
        assert engine == "simpy"
        assert "NUMBA_DISABLE_JIT" in reason


# --- the command ---


def simulate(results: Path, *words: str) -> Result:
    command = ["simulate", str(DEMO), "--load-factor", "1", "--replications", "2", *words]
    return CliRunner().invoke(main, [*command, "--results", str(results)], catch_exceptions=False)


def engine_of(results: Path) -> str:
    return str(RunFolder.open((results / "demo" / "latest").resolve()).run["engine"])


@pytest.mark.parametrize(("is_kept", "engine"), [(False, "simpy"), (True, "compiled")])
def test_the_command_chooses_once_tells_and_records_it(
    tmp_path: Path, code: Callable[..., None], is_kept: bool, engine: str
) -> None:
    code(is_kept=is_kept)
    result = simulate(tmp_path, "--json")
    lines = [line for line in result.stderr.splitlines() if line.startswith("Engine: ")]
    assert len(lines) == 1
    assert lines[0].startswith(f"Engine: {engine}")
    assert ("before the other is compiled" in lines[0]) == (engine == "simpy")
    assert json.loads(result.stdout)["folder"]
    assert engine_of(tmp_path) == engine


def test_a_wanted_engine_needs_no_word(tmp_path: Path) -> None:
    assert "Engine" not in simulate(tmp_path, "--engine", "simpy").stderr
    assert engine_of(tmp_path) == "simpy"


def test_compiling_is_told_once_with_its_duration(capsys: pytest.CaptureFixture[str]) -> None:
    told = _CompilingTold()
    for function in (draw, draw, room, run, room, draw):
        told(function)
    assert capsys.readouterr().err.splitlines() == [
        "Compiling what draws the crowd, once: some 10 s ...",
        "Compiling the engine, once: about half a minute ...",
    ]


# --- where nothing can be written ---


@pytest.fixture
def read_only_copy() -> Iterator[Path]:
    """A copy of the packages in a folder that nobody may write, and a folder for results.

    Not below tmp_path, which only its owner may enter.
    """
    with tempfile.TemporaryDirectory(prefix="doorbuster-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "results").mkdir()
        (folder / "results").chmod(0o777)
        for package in ("core/doorbuster", "simulations/doorbuster_sim"):
            there = folder / "site" / Path(package).name
            shutil.copytree(ROOT / package, there, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(DEMO, folder / "demo.yaml")
        copied = [folder / "site", *(folder / "site").rglob("*")]
        for path in copied:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in copied:
            if path.is_dir():
                path.chmod(stat.S_IRWXU)


def as_somebody_without_rights(folder: Path) -> list[str]:
    """The words before a command that take root's rights away; skips where that is impossible."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may write everywhere, and there is no setpriv to become somebody else")
    words = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    program = "import numba, sys; open(sys.argv[1])"
    enter = [*words, sys.executable, "-c", program, str(folder / "demo.yaml")]
    if subprocess.run(enter, capture_output=True, check=False).returncode != 0:
        pytest.skip("another user than root cannot run this Python")
    return words


@pytest.mark.slow
def test_where_nothing_can_be_written_simpy_runs(read_only_copy: Path) -> None:
    words = as_somebody_without_rights(read_only_copy)
    program = "from doorbuster.cli import main\nif __name__ == '__main__':\n    main()"
    results = read_only_copy / "results"
    done = subprocess.run(
        [*words, sys.executable, "-c", program, "simulate", str(read_only_copy / "demo.yaml"),
         "--load-factor", "3", "--replications", "2", "--results", str(results)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(read_only_copy / "site"),
            "HOME": "/nonexistent",
        },
        cwd=read_only_copy,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == exit_codes.PASS, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("Engine: ")]
    assert len(sentences) == 1
    assert sentences[0].startswith("Engine: simpy (compiled code cannot be kept: ")
    assert str(read_only_copy / "site" / "doorbuster_sim" / "__pycache__") in sentences[0]
    assert "Compiling what draws the crowd, as in every run: " in done.stderr
    assert engine_of(results) == "simpy"
