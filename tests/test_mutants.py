"""The table of mutants does not rot: every defect can still be planted."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


def loaded() -> ModuleType:
    """The script of `make mutants`; tests are no package, so it is loaded by its path."""
    path = Path(__file__).parent / "mutants" / "run.py"
    spec = importlib.util.spec_from_file_location("mutants_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Where dataclasses look for the types of their fields.
    spec.loader.exec_module(module)
    return module


run = loaded()
MUTANTS = run.mutants()


def copied(mutant: Any, folder: Path) -> list[Path]:
    """The files that a mutant changes, in a folder of their own."""
    files = sorted({edit.file for edit in mutant.edits})
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, folder / file)
    return [folder / file for file in files]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.name))
def test_every_mutant_can_be_planted(mutant: Any, tmp_path: Path) -> None:
    """Its old texts occur exactly once, and what comes of it is Python."""
    files = copied(mutant, tmp_path)
    before = [file.read_text("utf-8") for file in files]
    run.plant(mutant, tmp_path)
    for file, text in zip(files, before, strict=True):
        after = file.read_text("utf-8")
        assert after != text
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(text))


def test_the_table_is_large_enough() -> None:
    """Names are unique; at least 10 defects are in both engines, each with an edit in either."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 24
    places = Counter(mutant.place for mutant in MUTANTS)
    assert places["both_engines"] >= 10
    for mutant in MUTANTS:
        engines = {"both_engines": 2, "shared_code": 1, "one_engine": 1}[mutant.place]
        assert len(mutant.engines) == engines, mutant.name


def test_a_mutant_that_no_longer_applies_is_named(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    for file in copied(mutant, tmp_path):
        file.write_text("x = 1\n", "utf-8")
    with pytest.raises(ValueError, match=rf"{mutant.name}: the old text occurs 0 times"):
        run.plant(mutant, tmp_path)


def test_only_what_every_engine_notices_is_killed() -> None:
    """Survival in one engine is survival, and what does not run was never killed."""
    fate = run.Fate(MUTANTS[0], {"simpy": "tests/test_a.py::b", "compiled": None})
    assert not fate.is_killed
    assert fate.line().startswith("SURVIVED")
    fate.killers["compiled"] = "tests/test_a.py::c"
    assert fate.is_killed
    fate.broken = "NameError"
    assert not fate.is_killed
    assert not run.Fate(MUTANTS[0]).is_killed


def test_the_table_for_the_docs() -> None:
    """One row a mutant; a test that noticed in both engines stands there once."""
    one, two, three = (run.Fate(mutant) for mutant in MUTANTS[:3])
    one.killers = {"simpy": "tests/test_a.py::b[simpy]", "compiled": "tests/test_a.py::b[compiled]"}
    two.killers = {"simpy": "tests/test_a.py::b[simpy]", "compiled": None}
    three.broken = "NameError"
    rows = [row.rpartition(" | ")[2] for row in run.table([one, two, three])]
    assert rows[4:7] == [
        "`test_a::b` |",
        "simpy: `test_a::b`; compiled: nobody |",
        "broken: NameError |",
    ]


def test_the_docs_name_every_mutant() -> None:
    page = (ROOT / "docs" / "mutants.md").read_text("utf-8")
    assert [m.name for m in MUTANTS if f"| `{m.name}` | {m.defect} |" not in page] == []


@pytest.mark.parametrize(
    ("line", "is_broken"),
    [
        ("E   numba.core.errors.TypingError: Failed in nopython mode pipeline", True),
        ("E   NameError: name 'x' is not defined", True),
        ("E     File 'a.py'\nE   SyntaxError: invalid syntax", True),
        ("E   AssertionError: assert 1 == 2", False),
        ("E       AssertionError: the books do not balance", False),
        ("a NameError that a test mentions", False),
    ],
)
def test_a_mutant_that_does_not_run_is_told_from_a_killed_one(line: str, is_broken: bool) -> None:
    assert bool(run.BROKEN.search(f"some output\n{line}\n")) == is_broken
