"""Draws docs/coverage.md: which requirement is covered by which tests.

    python tests/coverage_page.py > docs/coverage.md

A test stands for a requirement by its mark, `@pytest.mark.requirement("A060")`, on the function,
its class, its module (`pytestmark`) or one of its parameters. The marks are read off the syntax
trees, so no test runs and nothing is imported.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "docs" / "requirements.csv"
PAGE = ROOT / "docs" / "coverage.md"

HEAD = """\
# What is covered

Every requirement and the tests that stand for it. A requirement counts as covered when a scenario
can state it, at least one world runs it, the check is in a report or a verdict, and a test carries
its id. Drawn from the marks by `python tests/coverage_page.py`; do not edit it by hand.

{covered} of {total} are covered.

| id | requirement | observable check | covered by |
|---|---|---|---|
"""


class Requirement(NamedTuple):
    """One row of docs/requirements.csv."""

    id: str
    gloss: str
    observable_check: str


class Mark(NamedTuple):
    """One id on one test; `test` is its file and name."""

    id: str
    test: str


def requirements() -> list[Requirement]:
    """All requirements in their order."""
    with REQUIREMENTS.open(newline="", encoding="utf-8") as file:
        return [Requirement(**row) for row in csv.DictReader(file)]


def marks_in(source: str, file: str) -> Iterator[Mark]:
    """Every requirement mark of a source, with the test that carries it."""
    yield from _marks_below(ast.parse(source), file, file)


def _marks_below(node: ast.AST, file: str, owner: str) -> Iterator[Mark]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        owner = f"{file}::{node.name}"
    if isinstance(node, ast.Call) and _is_requirement(node.func):
        for argument in node.args:
            match argument:
                case ast.Constant(value=str(requirement)):
                    yield Mark(requirement, owner)
                case _:
                    message = f"{file}:{node.lineno}: a requirement mark takes its id as plain text"
                    raise ValueError(message)
    for child in ast.iter_child_nodes(node):
        yield from _marks_below(child, file, owner)


def _is_requirement(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "requirement"
        and isinstance(function.value, ast.Attribute)
        and function.value.attr == "mark"
    )


def all_marks(folder: Path = ROOT / "tests") -> list[Mark]:
    """The marks of all tests below a folder, sorted, each once."""
    found = {
        mark
        for path in folder.rglob("test_*.py")
        for mark in marks_in(path.read_text("utf-8"), path.relative_to(folder).as_posix())
    }
    return sorted(found)


def coverage_page(listed: list[Requirement], marks: list[Mark]) -> str:
    """The page as it is committed. Raises: ValueError for a mark that is no requirement."""
    ids = {requirement.id for requirement in listed}
    unknown = [
        f"{mark.test}: unknown requirement {mark.id!r}" for mark in marks if mark.id not in ids
    ]
    if unknown:
        raise ValueError("\n".join(unknown))
    tests = {
        requirement.id: [m.test for m in marks if m.id == requirement.id] for requirement in listed
    }
    rows = [
        f"| {requirement.id} | {_cell(requirement.gloss)} | {_cell(requirement.observable_check)} "
        f"| {_tests(tests[requirement.id])} |\n"
        for requirement in listed
    ]
    covered = sum(bool(found) for found in tests.values())
    return HEAD.format(covered=covered, total=len(listed)) + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _tests(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests) or "not yet"


if __name__ == "__main__":
    sys.stdout.write(coverage_page(requirements(), all_marks()))
