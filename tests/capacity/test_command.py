"""`doorbuster capacity` as people call it: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from doorbuster import exit_codes
from doorbuster.cli.main import main
from doorbuster.report.catalogue import catalogue, say

DEMO = str(Path(__file__).parents[2] / "scenarios" / "demo.yaml")
DOORBUSTER = str(Path(sys.executable).parent / "doorbuster")

# The whole way in seconds: one slow server, small crowds, coarse steps.
QUICK = ["--jobs", "1", "--replications", "4", "--precision", "0.2"]


def run(*words: str, results: Path) -> Result:
    return CliRunner().invoke(main, [*words, "--results", str(results)], catch_exceptions=False)


@pytest.fixture
def slow_shop(tmp_path: Path, written_scenario: dict[str, Any]) -> str:
    """A shop of one server and 60 ms a page, which breaks at some 3 times its normal load."""
    scenario = written_scenario
    scenario["service"] |= {
        "stations": [{"name": "web", "servers": 1}],
        "browse": [{"station": "web", "time": {"kind": "exponential", "mean": "60ms"}}],
    }
    scenario["objectives"] = [
        {"name": "page", "kind": "response_time", "step": "browse", "at_most": "1s"}
    ]
    path = tmp_path / "slow.yaml"
    YAML().dump(scenario, path)
    return str(path)


def test_a_study_leaves_json_and_a_page(tmp_path: Path, slow_shop: str) -> None:
    words = ["capacity", slow_shop, "--load-factor", "2", "--up-to", "5", *QUICK]
    result = run(*words, "--json", results=tmp_path / "results")
    printed = json.loads(result.stdout)
    assert result.exit_code == printed["exit_code"] == exit_codes.PASS
    assert printed["schema"] == "doorbuster.capacity/1"
    assert printed["ended"] == "complete"
    assert [(c["cause"], c["resource"]) for c in printed["causes"]] == [("servers", "web")]
    assert printed["causes"][0]["held"] > printed["capacity"]["broke"]
    assert len(printed["frontier"]) > 1
    folder = Path(printed["folder"])
    assert (folder.parent / "latest-capacity").resolve() == folder.resolve()
    kept = json.loads((folder / "capacity.json").read_text("utf-8"))
    assert {name: kept[name] for name in printed if name in kept} == {
        name: printed[name] for name in printed if name in kept
    }
    assert kept["scenario_text"] == Path(slow_shop).read_text("utf-8")
    page = (folder / "report.html").read_text("utf-8")
    for language in ("en", "zh-CN"):
        assert say("capacity.section.knee", language=language) in page
    assert [path for path in folder.parent.iterdir() if path.name == "latest"] == []


def test_the_terminal_says_it_in_sentences_and_the_verdict_last(
    tmp_path: Path, slow_shop: str
) -> None:
    """The same seed gives the same words; the planned load lies beyond what holds."""
    words = ["capacity", slow_shop, "--load-factor", "5", "--up-to", "6", *QUICK]
    first = run(*words, results=tmp_path / "a")
    second = run(*words, results=tmp_path / "b")
    assert first.exit_code == exit_codes.FAILED
    assert first.stdout == second.stdout
    lines = first.stdout.splitlines()
    assert len(lines) <= 10
    assert lines[0].startswith("Holds up to load factor ")
    assert lines[1].startswith("First to break: page (p95 ≤ 1.00 s), at ")
    assert lines[2].startswith("Because web (servers: 1) is full: ")
    assert any("one more server at web (1 → 2)" in line for line in lines)
    assert lines[-1] == "BEYOND: the planned load factor 5 lies beyond capacity."


def test_a_price_changes_what_is_bought(tmp_path: Path, slow_shop: str) -> None:
    """Servers at a hundred times the price of faster pages: the frontier buys the pages."""
    words = ["capacity", slow_shop, "--load-factor", "2", "--up-to", "5", *QUICK, "--json"]
    prices = ["--cost", "web.servers=100", "--cost", "web.speed=1"]
    printed = json.loads(run(*words, *prices, results=tmp_path / "results").stdout)
    assert printed["frontier"][1]["bought"] == {"web.speed": 1}
    assert printed["frontier"][1]["cost"] == 1.0


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        (["--up-to", "5"], ["--up-to: must lie above the planned load factor 10 (got 5)"]),
        (
            ["--cost", "web.server=3", "--cost", "web.servers=free", "--up-to", "1"],
            [
                "--cost: no such lever (got 'web.server')",
                "did you mean web.servers?",
                "--cost: web.servers needs a number above 0 (got 'free')",
                "--up-to: must lie above",
                "3 mistakes; nothing was run.",
            ],
        ),
        (["--cost", "web.servers=1", "--cost", "web.servers=2"], ["web.servers is priced twice"]),
        (["--load-factor", "0.01"], ["the planned crowd is too small", "1 mistake;"]),
        (["--up-to", "1000000"], ["the plan is too large"]),
        (["--replications", "1"], ["1 is not in the range"]),
        (["--precision", "nan"], ["no finite number"]),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    tmp_path: Path, words: list[str], sentences: list[str]
) -> None:
    result = run("capacity", DEMO, *words, results=tmp_path)
    assert result.exit_code == exit_codes.USAGE
    for sentence in sentences:
        assert sentence in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_scenario_without_a_deciding_objective_is_refused(
    tmp_path: Path, written_scenario: dict[str, Any]
) -> None:
    path = tmp_path / "aimless.yaml"
    share = {"name": "bots", "kind": "stock_share", "persona": "fan", "at_most": 1.0}
    YAML().dump({**written_scenario, "objectives": [share]}, path)
    result = run("capacity", str(path), results=tmp_path / "results")
    assert result.exit_code == exit_codes.USAGE
    assert "aimless.yaml: objectives: none that the shop's capacity decides" in result.stderr


def test_a_file_in_place_of_the_results_is_told(tmp_path: Path, slow_shop: str) -> None:
    (tmp_path / "small").write_text("not a folder")
    result = run("capacity", slow_shop, *QUICK, results=tmp_path)
    assert result.exit_code == exit_codes.USAGE
    assert "is no folder that takes a study" in result.stderr


def test_ctrl_c_keeps_what_is_known(tmp_path: Path, slow_shop: str) -> None:
    """Sent to the whole process group, as a terminal does, once a first stage is kept.

    What is left then, bisection to half a per cent and all that follows, takes many times longer
    than the signal.
    """
    process = subprocess.Popen(
        [DOORBUSTER, "capacity", slow_shop, "--engine", "simpy", "--jobs", "2", "--load-factor",
         "2", "--up-to", "5", "--replications", "3", "--precision", "0.005", "--results",
         str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    kept = tmp_path / "small" / "latest-capacity" / "capacity.json"
    deadline = time.monotonic() + 120
    while not kept.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    assert json.loads(kept.read_text("utf-8"))["ended"] == "running"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == exit_codes.INTERRUPTED
    assert "Traceback" not in err
    assert "Interrupted after" in out
    content = json.loads(kept.read_text("utf-8"))
    assert content["ended"] == "interrupted"
    assert len(content["sweep"]) >= 10
    assert (kept.parent / "report.html").exists()


def test_the_words_of_causes_and_levers_are_there_in_every_language() -> None:
    """Each kind of cause and of lever has its sentences; they are put together at run time."""
    from doorbuster.capacity.bottleneck import CauseKind
    from doorbuster.capacity.levers import LeverKind

    for language in ("en", "zh-CN"):
        known = catalogue(language)
        for kind in CauseKind.__args__:  # type: ignore[attr-defined]
            for start in ("capacity.cause", "capacity.answer.cause", "capacity.relief"):
                assert f"{start}.{kind}" in known
        for kind in LeverKind.__args__:  # type: ignore[attr-defined]
            key = f"capacity.lever.{kind}"
            assert key in known or {f"{key}.one", f"{key}.many"} <= set(known)
