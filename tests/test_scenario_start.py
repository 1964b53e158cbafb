"""The first steps of a newcomer: `init` and `doctor`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from doorbuster import machine
from doorbuster.cli import main
from doorbuster.scenario.reading import read_scenario


def test_init_writes_a_scenario_that_is_valid(tmp_path: Path) -> None:
    """It loads, has the name of its file, and its comments teach."""
    path = tmp_path / "summer-sale.yaml"
    result = CliRunner().invoke(main, ["init", str(path)])
    assert result.exit_code == 0
    assert result.stdout == f"{path}\n"
    assert f"Next: doorbuster check {path}" in result.stderr
    assert read_scenario(path).scenario.name == "summer-sale"
    lines = path.read_text("utf-8").splitlines()
    assert sum(line.lstrip().startswith("#") for line in lines) > 25


@pytest.mark.parametrize(
    ("stem", "name"), [("2026", "2026"), ("true", "true"), ("big sale", "sale"), ("秒杀", "sale")]
)
def test_init_finds_a_name_for_any_file(tmp_path: Path, stem: str, name: str) -> None:
    path = tmp_path / f"{stem}.yaml"
    CliRunner().invoke(main, ["init", str(path)])
    assert read_scenario(path).scenario.name == name


def test_init_overwrites_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "sale.yaml"
    path.write_text("mine")
    refused = CliRunner().invoke(main, ["init", str(path)])
    assert refused.exit_code == 2
    assert refused.stderr == f"{path}: is there already; name another file or add --force\n"
    assert path.read_text() == "mine"
    assert CliRunner().invoke(main, ["init", str(path), "--force"]).exit_code == 0
    assert read_scenario(path).scenario.name == "sale"


def test_init_without_its_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["init", str(tmp_path / "none" / "sale.yaml")])
    assert result.exit_code == 2
    assert "no such folder" in result.stderr


# --- doctor ---


def test_the_doctor_looks_at_everything() -> None:
    """Each line says ok, warn or fail; a bad finding has a remedy; Locust stays out of here."""
    result = CliRunner().invoke(main, ["doctor", "--json"])
    found = json.loads(result.stdout)
    subjects = [finding["subject"] for finding in found["findings"]]
    assert subjects == [
        "Python", "processors", "open files", "memory", "disk", "clock", "clock source", "ports",
        "locust", "gevent", "numba", "browser",
    ]  # fmt: skip
    assert all(f["status"] in ("ok", "warn", "fail") for f in found["findings"])
    assert all(f["remedy"] for f in found["findings"] if f["status"] != "ok")
    assert result.exit_code == (0 if found["fit"] else 4)
    assert "locust" not in sys.modules


def test_the_doctor_speaks_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed check makes the machine unfit: exit 4, with what to do."""
    findings = [
        machine.Finding("Python", "ok", "3.11.7"),
        machine.Finding("open files", "fail", "256 a process", "ulimit -n 10000"),
    ]
    monkeypatch.setattr(machine, "examine", lambda _results: findings)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 4
    assert result.stdout.splitlines() == [
        "ok    Python: 3.11.7",
        "fail  open files: 256 a process; ulimit -n 10000",
    ]
    assert "1 of 2 checks failed" in result.stderr


def test_a_library_that_cannot_be_imported_is_a_finding() -> None:
    found = machine.library("no_such_library_anywhere")
    assert found.status == "fail"
    assert "No module named 'no_such_library_anywhere'" in found.found
    assert found.remedy


@pytest.mark.parametrize(
    ("value", "status"), [(99, "fail"), (100, "warn"), (999, "warn"), (1000, "ok")]
)
def test_grades(value: float, status: str) -> None:
    assert machine.graded(value, 100, 1000) == status


def test_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    [disk] = [f for f in machine.examine(tmp_path / "results") if f.subject == "disk"]
    assert disk.status == "fail"
    assert "--results" in disk.remedy
