"""Failure modes made on purpose: each scenario shows its own; what its page names ends it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from tests.test_detectors_keep_still import books
from tests.whole_scenarios import Whole

from doorbuster.detectors.failures import DETECTORS, failures_of
from doorbuster.scenario.reading import read_scenario

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "scenarios"
PAGES = ROOT / "docs" / "failures"
SEEDS = range(1, 7)
"""In each of these sales the failure must be there, and with the cure in none of them."""

STOCK_ROW = "service.stations.1"
CURES: dict[str, dict[str, Any]] = {
    "oversell": {"shop.strategy": "conditional_update"},
    "stock_leak": {"shop.strategy": "prededuct"},
    "fragmentation": {"shop.strategy": "buckets"},
    "zombie_sold_out": {"shop.strategy": "conditional_update"},
    "paid_but_released": {"shop.strategy": "conditional_update"},
    "paid_and_lost": {"shop.late_payment": "refund"},
    "double_charge": {"shop.unanswered_charge": "wait"},
    "repeated_callback": {"shop.strategy": "conditional_update"},
    "stock_drift": {"shop.strategy": "conditional_update"},
    "limit_bypass": {"shop.strategy": "conditional_update"},
    "coupon_overuse": {"shop.coupon.redeem": "conditional_update"},
    "late_release": {"shop.release_sweep": "100ms"},
    "release_stampede": {"shop.strategy": "prededuct", f"{STOCK_ROW}.queue_limit": 100},
    "hot_row": {"shop.strategy": "buckets", f"{STOCK_ROW}.servers": 8},
    "queue_after_sell_out": {"shop.strategy": "prededuct"},
    "retry_storm": {"service.stations.0.queue_limit": 10},
}
"""What to change in the scenario; the page of the failure says the same in words."""

every_mode = pytest.mark.parametrize("mode", CURES)


def path_of(mode: str) -> Path:
    return SCENARIOS / "failures" / f"{mode}.yaml"


def page_of(mode: str) -> str:
    return (PAGES / f"{mode}.md").read_text("utf-8")


def written(mode: str) -> dict[str, Any]:
    """The scenario as it stands in its file."""
    file: dict[str, Any] = YAML(typ="safe", pure=True).load(path_of(mode).read_text("utf-8"))
    return file


def cured(mode: str) -> dict[str, Any]:
    """The scenario with the fields changed that its page names."""
    file = deepcopy(written(mode))
    for path, value in CURES[mode].items():
        part: Any = file
        *parents, field = path.split(".")
        for key in parents:
            part = part[int(key)] if isinstance(part, list) else part[key]
        assert part.get(field, "the default") != value
        part[field] = value
    return file


def found(file: Mapping[str, Any], seed: int) -> set[str]:
    """The failures that detectors find in one simulated sale."""
    findings = failures_of(books(Whole(dict(file), seed)))
    return {name for name, finding in findings.items() if finding.count}


def test_every_failure_has_its_scenario() -> None:
    assert CURES.keys() == DETECTORS.keys()
    assert sorted(path.stem for path in (SCENARIOS / "failures").glob("*.yaml")) == sorted(CURES)
    readme = (SCENARIOS / "README.md").read_text("utf-8")
    assert [mode for mode in CURES if f"`failures/{mode}.yaml`" not in readme] == []


@every_mode
def test_the_scenario_shows_its_failure(mode: str) -> None:
    """In every sale; and over all sales, what else is found is what the page names."""
    sales = [found(written(mode), seed) for seed in SEEDS]
    assert all(mode in sale for sale in sales), sales
    beside = set().union(*sales) - {mode}
    assert beside == names_after("Fires beside it", page_of(mode))


@every_mode
def test_the_cure_ends_it(mode: str) -> None:
    """The failure is gone in every sale, and nothing of stock or money comes in its place."""
    sales = [found(cured(mode), seed) for seed in SEEDS]
    assert set().union(*sales) <= {"hot_row"} - {mode}, sales


@every_mode
def test_the_scenario_is_valid_and_small(mode: str) -> None:
    """It fits the schema, is called like its failure, is found by editors, and is seconds long."""
    schema = json.loads((SCENARIOS / "scenario.schema.json").read_text("utf-8"))
    assert list(Draft202012Validator(schema).iter_errors(written(mode))) == []
    assert read_scenario(path_of(mode)).scenario.name == mode
    first_line = path_of(mode).read_text("utf-8").splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=../scenario.schema.json"
    whole = Whole(written(mode), seed=1)
    assert len(whole.plan.arrival_s) < 600
    assert whole.timetable.end_s - whole.timetable.start_s < 40


@every_mode
def test_the_page_names_the_cure_and_the_command(mode: str) -> None:
    page = page_of(mode)
    for path, value in CURES[mode].items():
        field = path.rpartition(".")[2]
        assert f"`{field}: {value}`" in page, path
        assert f"`{field}: {value}`" in path_of(mode).read_text("utf-8"), path
    assert f"doorbuster simulate scenarios/failures/{mode}.yaml" in page


@pytest.mark.parametrize("mode", DETECTORS)
def test_the_page_tells_the_thresholds(mode: str) -> None:
    """Each constant of the detector stands in the page's table with its value."""
    page = page_of(mode)
    module = import_module(f"doorbuster.detectors.{mode}")
    thresholds = {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int | float)
    }
    for name, value in thresholds.items():
        assert re.search(rf"^\| `{name}` \| {value:g}\b", page, re.MULTILINE), (name, value)


def names_after(words: str, page: str) -> set[str]:
    """The names in backquotes in the sentence that begins with some words."""
    sentence = re.search(rf"{words}: ([^.]*)\.", " ".join(page.split()))
    assert sentence, f"no sentence `{words}: ...`"
    return set(re.findall(r"`(\w+)`", sentence[1]))
