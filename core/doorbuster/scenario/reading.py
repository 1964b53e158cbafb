"""Reads a scenario file: YAML 1.2, every mistake at once, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from doorbuster.scenario.model import Scenario, cross_check


class ScenarioError(Exception):
    """A scenario file with mistakes; `problems` holds one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class ScenarioFile:
    """A scenario with the text it was read from, which goes into run.json."""

    path: Path
    text: str
    scenario: Scenario


def read_scenario(path: Path) -> ScenarioFile:
    """Read and check a scenario file. Raises: ScenarioError with every mistake."""
    text = path.read_text("utf-8")
    try:
        data = YAML(typ="safe").load(text)
        scenario = Scenario.model_validate(data, context={"folder": str(path.parent)})
    except ValidationError as error:
        raise ScenarioError([str(problem) for problem in error.errors()]) from None
    problems = cross_check(scenario)
    if problems:
        raise ScenarioError([f"{path}: {place}: {problem}" for place, problem in problems])
    return ScenarioFile(path, text, scenario)
