"""A behaviour of the user's own: the SimPy engine says so and runs it, live and simulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from doorbuster import exit_codes
from doorbuster.cli import main
from doorbuster.plan import Timetable, build_plan
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import simulate_sale
from doorbuster_sim.compiled_engine.sale import CompiledSale
from doorbuster_sim.tallying import Tallying

DOORBUSTER = str(Path(sys.executable).parent / "doorbuster")
DEMO = Path(__file__).resolve().parents[1] / "scenarios" / "demo.yaml"

BUILT_IN = """
from doorbuster.visitor import next_step as built_in

def next_step(behaviour, visitor, persona, state, reply, elapsed_s):
    return built_in(behaviour, visitor, persona, state, reply, elapsed_s)
"""
ONE_LOOK = """
from doorbuster.visitor import VisitState
from doorbuster.vocabulary import Action, Outcome

def one_look(behaviour, visitor, persona, state, reply, elapsed_s):
    gone = VisitState(Action.LEAVE, 0, 0, 0, 0, 0, 0, state.channel, Outcome.BROWSED)
    return gone, Action.LEAVE, 0.0
"""


def scenario_with(folder: Path, source: str | None, words: str, text: str | None = None) -> Path:
    """The demo, or another scenario, with a line about behaviour; and the Python file."""
    if source is not None:
        (folder / "mine.py").write_text(source)
    path = folder / "demo.yaml"
    text = DEMO.read_text() if text is None else text
    path.write_text(text.replace("\ncrowd:\n", f"\ncrowd:\n  behaviour: {words}\n"))
    return path


def simulate(path: Path, *words: str) -> Result:
    command = ["simulate", str(path), "--results", str(path.parent / "results"), *words]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def newest(path: Path) -> RunFolder:
    return RunFolder.open((path.parent / "results" / "demo" / "latest").resolve())


@pytest.mark.parametrize("engine", [(), ("--engine", "compiled"), ("--engine", "auto")])
def test_simpy_runs_it_and_one_sentence_says_why(tmp_path: Path, engine: tuple[str, ...]) -> None:
    path = scenario_with(tmp_path, ONE_LOOK, "{path: mine.py, function: one_look}")
    result = simulate(path, "--replications", "1", *engine)
    assert result.exit_code in (exit_codes.PASS, exit_codes.FAILED)
    assert "Engine: simpy (visitors behave as mine.py says, and that is not compiled)" in (
        result.stderr
    )
    visits = newest(path).table("visits")
    assert set(visits["outcome"].to_pylist()) == {"browsed"}
    assert set(visits["request_count"].to_pylist()) == {1}
    assert newest(path).run["engine"] == "simpy"


def test_a_copy_of_the_built_in_behaviour_changes_no_record(tmp_path: Path) -> None:
    own = read_scenario(scenario_with(tmp_path, BUILT_IN, "{path: mine.py}")).scenario
    plain = read_scenario(DEMO).scenario
    timetable = Timetable.of(plain)
    plan = build_plan(plain, 1, timetable)
    one, other = (simulate_sale(s, plan, timetable, seed=1) for s in (own, plain))
    assert one.visits.equals(other.visits)
    assert one.requests.equals(other.requests)
    assert one.audit == other.audit


def test_counting_goes_with_it(tmp_path: Path) -> None:
    path = scenario_with(tmp_path, ONE_LOOK, "{path: mine.py, function: one_look}")
    result = simulate(path, "--replications", "1", "--records", "none", "--json")
    [tally] = newest(path).tallies
    assert tally["requests_found"] == tally["planned"]
    assert json.loads(result.stdout)["report"] is None


def test_the_compiled_engine_refuses_it(tmp_path: Path) -> None:
    path = scenario_with(tmp_path, BUILT_IN, "{path: mine.py}")
    scenario = read_scenario(path).scenario
    with pytest.raises(ValueError, match="SimPy engine"):
        CompiledSale(scenario, Timetable.of(scenario), 1, 1, _nowhere())


def _nowhere() -> Tallying:
    return Tallying.__new__(Tallying)


@pytest.mark.parametrize(
    ("source", "words", "sentence"),
    [
        (None, "{path: mine.py}", "cannot use mine.py: No such file or directory"),
        ("def f(:\n", "{path: mine.py}", "cannot use mine.py: line 1: "),
        ("def f(): ...\n", "{path: mine.py}", "no function next_step at its top level (found: f)"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_mistake_in_the_scenario(
    tmp_path: Path, source: str | None, words: str, sentence: str
) -> None:
    path = scenario_with(tmp_path, source, words)
    result = simulate(path)
    assert result.exit_code == exit_codes.USAGE
    assert sentence in result.stderr
    assert "crowd.behaviour" in result.stderr
    assert not (tmp_path / "results").exists()


HEAD = "from doorbuster.vocabulary import Action\n"
FUNCTION = "def next_step(behaviour, visitor, persona, state, reply, elapsed_s):\n    "


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("raise KeyError(reply)", "mine.py: next_step failed for visitor "),
        ("return None", "it gave None"),
        ("return state, Action.BROWSE, -1.0", "must give a wait of 0 s or more third (got -1.0)"),
        ("return state, 77, 0.0", "must give an action second (got 77)"),
        ("return state, Action.PAY, 0.0", "the state's action is 1, the action given is 3"),
        ("return (1,), Action.BROWSE, 0.0", "must give a VisitState first (got tuple)"),
        ("return state._replace(action=0), 0, 0.0", "a visitor has an outcome when it leaves"),
    ],
)
def test_a_function_that_fails_ends_the_run_with_a_sentence(
    tmp_path: Path, body: str, sentence: str
) -> None:
    path = scenario_with(tmp_path, HEAD + FUNCTION + body + "\n", "{path: mine.py}")
    result = simulate(path, "--replications", "1")
    assert result.exit_code == exit_codes.USAGE
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert newest(path).run["status"] == "failed"
    assert any(sentence in reason for reason in newest(path).run["reasons"])


def test_a_file_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    path = scenario_with(tmp_path, BUILT_IN + "\n1 / 0\n", "{path: mine.py}")
    result = simulate(path, "--replications", "1")
    assert result.exit_code == exit_codes.USAGE
    assert "mine.py: cannot be run (ZeroDivisionError" in result.stderr


@pytest.mark.slow
def test_both_worlds_run_it(tmp_path: Path) -> None:
    from tests.test_rehearse import SHORT_SALE

    path = scenario_with(tmp_path, ONE_LOOK, "{path: mine.py, function: one_look}", SHORT_SALE)
    done = subprocess.run(
        [DOORBUSTER, "rehearse", path.name, "--json", "--replications", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    folders = sorted((tmp_path / "results" / "short").glob("*-*-*"))
    visits = {f.name.split("-")[1]: RunFolder.open(f).table("visits") for f in folders}
    outcomes = {world: set(table["outcome"].to_pylist()) for world, table in visits.items()}
    assert outcomes == {"sim": {"browsed"}, "live": {"browsed"}}
