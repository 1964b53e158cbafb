"""The schema and the reference page are what the models say, and both are complete."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from doorbuster.cli import main
from doorbuster.scenario import Scenario
from doorbuster.scenario.base import Part
from doorbuster.scenario.distributions import lognormal
from doorbuster.scenario.durations import format_duration, parse_duration
from doorbuster.scenario.reading import read_scenario
from doorbuster.scenario.reference import reference_page
from doorbuster.scenario.schema import scenario_schema, schema_text
from doorbuster.scenario.written import as_written

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = ROOT / "scenarios" / "scenario.schema.json"


def test_the_committed_schema_is_current() -> None:
    """Else: doorbuster schema > scenarios/scenario.schema.json"""
    assert COMMITTED.read_text("utf-8") == schema_text()


def test_the_committed_reference_page_is_current() -> None:
    """Else: doorbuster schema --page > docs/scenario.md"""
    assert (ROOT / "docs" / "scenario.md").read_text("utf-8") == reference_page()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(scenario_schema())


def parts(kind: type[Part] = Part) -> Iterator[type[Part]]:
    """Every part of a scenario; other documents are made of parts as well."""
    for part in kind.__subclasses__():
        if part.__module__.startswith("doorbuster.scenario."):
            yield part
        yield from parts(part)


def test_every_field_is_described() -> None:
    """What has no meaning in words has none in the editor and on the page."""
    missing = [
        f"{part.__name__}.{name}"
        for part in parts()
        for name, field in part.model_fields.items()
        if not field.description
    ]
    assert missing == []


def test_the_page_has_every_field() -> None:
    page = reference_page()
    for part in parts():
        for name, field in part.model_fields.items():
            assert f"| `{field.alias or name}` |" in page, (part, name)


@pytest.mark.parametrize(
    "words",
    [
        "| `lock_time` | duration | required | longer than 0 |",
        "| `release_sweep` | duration | `1s` | longer than 0 |",
        "| `start` | time from T0 | required |  |",
        "| `stock` | whole number | required | 0 or more, 1,000,000,000 or less |",
        "| `refresh_gap` | distribution | `{kind: lognormal, median: 3s, sigma: 0.4}` |  |",
        "| `per_item` | true or false | `false` |  |",
        "| `from` | number | `0.0` |",
        "### Shape `zero_hour`",
        "### Kind `weibull`",
    ],
)
def test_rows_of_the_page(words: str) -> None:
    """Units, defaults and ranges as people write them."""
    assert words in reference_page()


@pytest.mark.parametrize("path", sorted(COMMITTED.parent.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_scenario_is_written_as_it_can_be_read(path: Path) -> None:
    """The written form, every default spelled out, fits the schema and is the same scenario."""
    scenario = read_scenario(path).scenario
    written = as_written(scenario)
    assert [e.message for e in Draft202012Validator(scenario_schema()).iter_errors(written)] == []
    assert Scenario.model_validate(written) == scenario


def mutated(data: Any, path: list[Any], value: Any) -> Any:
    """A copy of the data with another value at a path."""
    data = copy.deepcopy(data)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


DISAGREEING = [
    (["shop", "lock_time"], 5),
    (["shop", "lock_time"], "0s x"),
    (["shop", "lock_time"], "-5s"),
    (["shop", "lok_time"], "5s"),
    (["shop", "items", 0, "stock"], -1),
    (["shop", "items", 0, "stock"], "20"),
    (["shop", "items", 0, "stock"], True),
    (["shop", "items", 0, "sku"], "a b"),
    (["shop", "items"], []),
    (["crowd", "load_factor"], 0),
    (["crowd", "phases", 0, "shape"], {"kind": "zerohour"}),
    (["crowd", "phases", 0, "shape"], {"kind": "ramp"}),
    (["crowd", "phases", 0, "start"], "20:00"),
    (["crowd", "personas", "fan", "think_time"], {"kind": "lognormal", "median": 3}),
    (["crowd", "personas", "fan", "buy_fraction"], 1.5),
    (["version"], 2),
    (["service", "pay"], []),
]


@pytest.mark.parametrize(("path", "value"), DISAGREEING)
def test_schema_and_model_refuse_the_same(
    small_scenario: Callable[..., Scenario], path: list[Any], value: Any
) -> None:
    """What the editor underlines is what `check` refuses."""
    data = mutated(as_written(small_scenario()), path, value)
    assert not Draft202012Validator(scenario_schema()).is_valid(data)
    with pytest.raises(ValidationError):
        Scenario.model_validate(data)


def test_defaults_in_the_schema_can_be_pasted() -> None:
    """A default stands there in the form of the file and is valid at its own place."""
    schema = scenario_schema()
    checked = 0
    for definition in schema["$defs"].values():
        for field in definition.get("properties", {}).values():
            if field.get("default") is not None:
                inner = {**field, "$defs": schema["$defs"]}
                Draft202012Validator(inner).validate(field["default"])
                checked += 1
    assert checked > 30


def test_a_part_is_written_as_in_the_file() -> None:
    assert as_written(lognormal("250ms", 0.5)) == {
        "kind": "lognormal",
        "median": "250ms",
        "sigma": 0.5,
    }


@pytest.mark.parametrize("text", ["250ms", "90s", "5m", "2h", "1d", "-10m", "1.5s", "1250us", "0s"])
def test_durations_are_read_back(text: str) -> None:
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20:00", "is a time of day"),
        ("5", "is no duration"),
        ("1e3s", "is no duration"),
        ("99999d", "is too long; allowed 3650d at most"),
    ],
)
def test_what_is_no_duration(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_duration(text)


def test_the_command_prints_and_checks(tmp_path: Path) -> None:
    """`schema` is the file; `--check` passes on it, fails on another one, refuses a missing one."""
    runner = CliRunner()
    printed = runner.invoke(main, ["schema"])
    assert json.loads(printed.stdout) == scenario_schema()
    good = runner.invoke(main, ["schema", "--check", "--file", str(COMMITTED)])
    assert (good.exit_code, good.stdout) == (0, "")
    other = tmp_path / "old.json"
    other.write_text("{}")
    old = runner.invoke(main, ["schema", "--check", "--file", str(other)])
    assert old.exit_code == 1
    assert f"run: doorbuster schema > {other}" in old.stderr
    gone = runner.invoke(main, ["schema", "--check", "--file", str(tmp_path / "none.json")])
    assert gone.exit_code == 2
    page = runner.invoke(main, ["schema", "--page"])
    assert page.stdout == reference_page()
