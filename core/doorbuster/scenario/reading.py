"""Reads a scenario file: YAML 1.2, every mistake at once, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from doorbuster.documents import DocumentError, read_document
from doorbuster.scenario.cross_check import CHECKS
from doorbuster.scenario.model import Scenario


class ScenarioError(DocumentError):
    """A scenario file with mistakes; `problems` holds one sentence for each."""


@dataclass(frozen=True)
class ScenarioFile:
    """A scenario with the text it was read from, which goes into run.json."""

    path: Path
    text: str
    scenario: Scenario


def read_scenario(path: Path) -> ScenarioFile:
    """Read and check a scenario file. Raises: ScenarioError with every mistake."""
    scenario, text = read_document(path, Scenario, checks=CHECKS, error=ScenarioError)
    return ScenarioFile(path, text, scenario)
