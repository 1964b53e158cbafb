"""docs/coverage.md says which tests stand for which requirement, and is current."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def loaded() -> ModuleType:
    """The script beside this file; tests are no package, so it is loaded by its path."""
    path = Path(__file__).with_name("coverage_page.py")
    spec = importlib.util.spec_from_file_location("coverage_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = loaded()


def test_the_page_is_current() -> None:
    """Else: python tests/coverage_page.py > docs/coverage.md"""
    assert page.PAGE.read_text("utf-8") == page.coverage_page(page.requirements(), page.all_marks())


def test_every_requirement_has_a_row() -> None:
    listed = page.requirements()
    assert [requirement.id for requirement in listed] == [f"A{n:03}" for n in range(1, 137)]
    assert all(requirement.gloss for requirement in listed)
    text = page.PAGE.read_text("utf-8")
    assert all(f"\n| {requirement.id} | " in text for requirement in listed)


MARKED = """
import pytest
pytestmark = pytest.mark.requirement("A001")

@pytest.mark.requirement("A002", "A003")
def test_function(): ...

class TestClass:
    @pytest.mark.slow
    @pytest.mark.requirement("A004")
    async def test_method(self): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("A005"))])
def test_parameter(x): ...

def test_nothing():
    requirement("A006")
"""


def test_marks_are_found_wherever_pytest_takes_them() -> None:
    """On functions, methods, parameters and modules; another function of that name is no mark."""
    assert sorted(page.marks_in(MARKED, "test_x.py")) == [
        ("A001", "test_x.py"),
        ("A002", "test_x.py::test_function"),
        ("A003", "test_x.py::test_function"),
        ("A004", "test_x.py::test_method"),
        ("A005", "test_x.py::test_parameter"),
    ]


def test_a_mark_that_is_no_requirement_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test_x.py::test_a: unknown requirement 'A999'"):
        page.coverage_page(page.requirements(), [page.Mark("A999", "test_x.py::test_a")])


def test_a_mark_without_a_plain_id_is_refused() -> None:
    source = "import pytest\n@pytest.mark.requirement(ID)\ndef test_a(): ...\n"
    with pytest.raises(ValueError, match=r"test_x.py:2: a requirement mark takes its id"):
        list(page.marks_in(source, "test_x.py"))


def test_the_page_counts_and_names() -> None:
    """Covered rows name their tests, the others say `not yet`; a bar in a text is escaped."""
    listed = [page.Requirement("A001", "a | b", "c"), page.Requirement("A002", "d", "e")]
    text = page.coverage_page(listed, [page.Mark("A002", "t.py::x"), page.Mark("A002", "t.py::y")])
    assert "1 of 2 are covered." in text
    assert "| A001 | a \\| b | c | not yet |" in text
    assert "| A002 | d | e | `t.py::x`<br>`t.py::y` |" in text
