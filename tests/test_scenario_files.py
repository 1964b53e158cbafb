"""The shipped scenarios: each loads, fits its schema, is explained, and does what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from scipy import stats

from doorbuster.forecast import forecast
from doorbuster.forecast.sentences import sentences
from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import Lognormal
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import simulate_sale

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "scenarios"
STARTER = ROOT / "core" / "doorbuster" / "scenario" / "starter.yaml"
SHIPPED = sorted(FOLDER.glob("*.yaml"))
EXPECTED_DOUBTS = {"match-day": {"no-bots"}}
"""Doubts that a shipped scenario raises and explains in its comments; the others raise none."""


def shipped(name: str) -> Scenario:
    return read_scenario(FOLDER / f"{name}.yaml").scenario


def test_there_are_scenarios() -> None:
    names = {path.stem for path in SHIPPED}
    assert names >= {"demo", "zero-hour", "match-day", "sneaker-drop", "campaign-week"}


@pytest.mark.parametrize("path", [*SHIPPED, STARTER], ids=lambda path: path.stem)
def test_a_shipped_scenario_is_valid_and_explained(path: Path) -> None:
    """It loads, is called like its file, and raises no doubt that is not meant."""
    scenario = read_scenario(path).scenario
    assert path == STARTER or scenario.name == path.stem
    expected = forecast(scenario, Timetable.of(scenario))
    found = {doubt.code for doubt in expected.doubts}
    assert found == EXPECTED_DOUBTS.get(path.stem, set())
    assert len(sentences(expected, visitors_drawn=None, seed=1)) > 15


@pytest.mark.parametrize("path", [*SHIPPED, STARTER], ids=lambda path: path.stem)
def test_a_shipped_scenario_fits_the_json_schema(path: Path) -> None:
    schema = json.loads((FOLDER / "scenario.schema.json").read_text("utf-8"))
    data = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(data)] == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_editors_find_the_schema(path: Path) -> None:
    first_line = path.read_text("utf-8").splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=./scenario.schema.json"


def test_the_readme_lists_every_scenario() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert [path.name for path in SHIPPED if f"`{path.name}`" not in readme] == []


@pytest.mark.parametrize("load_factor", [1, 3, 10])
def test_the_demo_suits_a_laptop(load_factor: float) -> None:
    """Half a minute, at most 180 arrivals a second, more wanted than there is."""
    scenario = shipped("demo")
    expected = forecast(scenario, Timetable.of(scenario, load_factor=load_factor))
    assert expected.end_s - expected.start_s <= 35
    assert expected.peak_arrivals_per_s <= 180
    assert expected.requests.per_s <= 500
    assert all(item.wanted_units > 1.2 * item.stock_units for item in expected.items)


def test_the_demo_sells_to_the_last_unit() -> None:
    """At factor 10, under ten seeds: sold out exactly, with locks that lapsed on the way."""
    scenario = shipped("demo")
    timetable = Timetable.of(scenario)
    stock = sum(item.stock for item in scenario.shop.items)
    for seed in range(1, 11):
        plan = build_plan(scenario, seed, timetable)
        outcomes = simulate_sale(scenario, plan, timetable, seed=seed).visits["outcome"].to_pylist()
        sold = [
            quantity
            for quantity, outcome in zip(plan.quantity, outcomes, strict=True)
            if outcome == "sold"
        ]
        assert sum(sold) == stock, seed
        assert "unpaid" in outcomes, seed


def test_zero_hour_has_the_published_shape() -> None:
    """33.5 times the mean of the day for 96 s, 7.7 on average to 64 min, 5.0 to 86, then 0.6."""
    timetable = Timetable.of(shipped("zero-hour"), load_factor=1)
    marks = [(0, 96, 33.5), (96, 64 * 60, 7.7), (64 * 60, 86 * 60, 5.0), (86 * 60, 7200, 0.6)]
    for start, end, level in marks:
        mean = timetable.expected_arrivals(start, end) / (end - start) / 5
        assert mean == pytest.approx(level, rel=0.005)
    step = timetable.rate_per_s(np.array([0.0])) / timetable.rate_per_s(np.array([-1e-6]))
    assert step[0] == pytest.approx(10, rel=0.02)


def test_zero_hour_payments_lag_the_orders() -> None:
    """Orders convolved with the payment time: peak near 9 min 39 s, at 0.5 to 0.8 of the orders."""
    scenario = shipped("zero-hour")
    shopper = scenario.crowd.personas["shopper"]
    assert isinstance(shopper.payment_time, Lognormal)
    times_s = np.arange(0.0, 3600.0)
    orders = Timetable.of(scenario).rate_per_s(times_s)
    median, sigma = shopper.payment_time.median, shopper.payment_time.sigma
    delay = stats.lognorm.pdf(times_s, sigma, scale=median)
    paid = np.convolve(orders, delay)[: len(times_s)] * (1 - shopper.unpaid_fraction)
    assert times_s[paid.argmax()] == pytest.approx(579, abs=20)
    assert 0.5 < paid.max() / orders.max() < 0.8


def test_zero_hour_can_be_planned_at_the_record_second() -> None:
    """The absolute peak that its comment names; one second of it is three million visitors."""
    scenario = shipped("zero-hour")
    crowd = scenario.crowd.model_copy(update={"absolute_peak_per_s": 2_915_000.0})
    record = scenario.model_copy(update={"crowd": crowd})
    timetable = Timetable.of(record, window=(0.0, 1.0))
    assert timetable.peak_rate_per_s == pytest.approx(2_915_000)
    assert timetable.expected_visitors == pytest.approx(2_915_000)


def test_match_day_is_the_recorded_day() -> None:
    """75.2 million in all, 11.1 million from 21:00; the window in its comment has 93 a second."""
    scenario = shipped("match-day")
    timetable = Timetable.of(scenario)
    assert timetable.expected_visitors == pytest.approx(75.209e6, rel=1e-3)
    assert timetable.expected_arrivals(21 * 3600, 22 * 3600) == pytest.approx(11.103e6)
    window = Timetable.of(scenario, load_factor=0.03, window=(72000.0, 79200.0), compress=120)
    assert window.peak_rate_per_s == pytest.approx(92.5, rel=0.01)
    assert window.last_arrival_s - window.start_s == pytest.approx(60)


def test_half_of_the_sneaker_drops_requests_come_from_bots() -> None:
    """As its comment says: 4.4 % of the visitors, about half of the requests."""
    scenario = shipped("sneaker-drop")
    personas = {p.name: p for p in forecast(scenario, Timetable.of(scenario)).personas}
    visitors = sum(persona.visitors for persona in personas.values())
    assert personas["bot"].visitors / visitors == pytest.approx(0.044)
    assert personas["bot"].request_fraction == pytest.approx(0.5, abs=0.05)
    per_bot, per_fan = (
        personas[name].request_fraction / personas[name].visitors for name in ("bot", "fan")
    )
    assert per_bot / per_fan == pytest.approx(320 / 22, rel=0.15)


@pytest.mark.requirement("A021")
def test_the_campaign_has_phases_of_the_usual_lengths() -> None:
    """Warm-up 3 to 7 days, sale 3 to 5, encore 1 to 2: kept by the campaign, else doubted."""
    scenario = shipped("campaign-week")
    kinds = {phase.shape.kind for phase in scenario.crowd.phases}
    assert kinds == {"ramp", "zero_hour", "pulse", "constant", "end_of_offer"}
    phases = [
        phase.model_copy(update={"start": 2 * phase.start, "duration": 2 * phase.duration})
        for phase in scenario.crowd.phases
    ]
    crowd = scenario.crowd.model_copy(update={"phases": phases})
    longer = scenario.model_copy(update={"crowd": crowd})
    doubts = {
        doubt.path: doubt.sentence
        for doubt in forecast(longer, Timetable.of(longer)).doubts
        if doubt.code == "unusual-phase-length"
    }
    # Twice as long: 6 days of warm-up are usual, 6 days of sale are not, 2 of encore are.
    assert doubts == {
        "crowd.phases.main-opening.duration": "main lasts 6d; campaign plans give it 3d to 5d"
    }
