"""The forecast: right where the answer is known, elsewhere close to the simulation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from doorbuster.cli import main
from doorbuster.forecast import Forecast, forecast
from doorbuster.forecast.doubts import samples_needed
from doorbuster.forecast.flow import MAX_ITEMS
from doorbuster.forecast.sentences import sentences
from doorbuster.measures.intervals import trials_needed
from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import simulate_sale

Build = Callable[..., Scenario]
ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "scenarios" / "demo.yaml"


def forecast_of(scenario: Scenario, **options: Any) -> Forecast:
    return forecast(scenario, Timetable.of(scenario, **options))


def codes(scenario: Scenario, **options: Any) -> set[str]:
    return {doubt.code for doubt in forecast_of(scenario, **options).doubts}


def test_the_forecast_says_that_it_knows_no_faults(small_scenario: Build) -> None:
    """And names a fault that breaks nothing."""
    inside = {"kind": "freeze", "start": "5s", "duration": "2s"}
    outside = {"kind": "kill_shop", "start": "2h", "duration": "2s"}
    assert not {"forecast-without-faults", "fault-outside-sale"} & codes(small_scenario())
    assert "forecast-without-faults" in codes(small_scenario(faults=[inside]))
    found = codes(small_scenario(faults=[outside]))
    assert "fault-outside-sale" in found
    assert "forecast-without-faults" not in found


# --- where the answer is known ---


def test_a_steady_crowd(small_scenario: Build) -> None:
    """10 visitors a second, each one page and one reservation, nobody pays: 20 requests a second.

    In flight, by Little's law: 10 x (1 + 2) ms + 10 x (1 + 3) ms = 0.07. The web station with two
    servers is offered 10 x 2 ms + 10 x 3 ms = 0.05 of work a second, 2.5 % of its capacity.
    """
    fan = {"share": 1, "think_time": 0, "unpaid_fraction": 1.0}
    items = [{"sku": "console", "stock": 100_000, "price": 1}]
    found = forecast_of(small_scenario(crowd={"personas": {"fan": fan}}, shop={"items": items}))
    assert found.visitors_expected == pytest.approx(200)
    assert found.requests.per_s == pytest.approx(20, rel=0.01)
    assert found.requests.by_step == pytest.approx({"browse": 10, "reserve": 10, "pay": 0}, abs=0.1)
    assert found.requests.in_flight == pytest.approx(0.07, rel=0.01)
    assert found.stations[0].utilisation == pytest.approx(0.025, rel=0.01)
    assert found.items[0].wanted_units == pytest.approx(200, rel=0.01)
    assert found.items[0].sold_out_s is None
    assert found.peak_arrivals_per_day == pytest.approx(864_000)


def test_the_moment_of_selling_out(small_scenario: Build) -> None:
    """20 units at 10 buyers a second who think for one second: all reserved after 3 s."""
    personas = {"fan": {"share": 1, "think_time": "1s"}}
    found = forecast_of(small_scenario(crowd={"personas": personas}))
    assert found.items[0].sold_out_s == pytest.approx(3, abs=0.05)


def test_accounts_limit_what_is_wanted(small_scenario: Build) -> None:
    """However often seven accounts come, they may buy one unit each."""
    personas = {"bot": {"share": 1, "identities": {"accounts": 7}}}
    found = forecast_of(small_scenario(crowd={"personas": personas}))
    assert found.items[0].wanted_units == pytest.approx(7)


def test_a_queue_that_outgrows_its_station(small_scenario: Build) -> None:
    """10 a second, one server, 200 ms each: 2 s of work a second, so after 20 s 20 s are waiting.

    In requests that is 100: half of the 200 that came.
    """
    service = {
        "stations": [{"name": "web", "servers": 1, "queue_limit": 50}],
        "browse": [{"station": "web", "time": "200ms"}],
        "reserve": [{"station": "web", "time": "1us"}],
        "pay": [{"station": "web", "time": "1us"}],
    }
    personas = {"visitor": {"share": 1, "buy_fraction": 0.0}}
    scenario = small_scenario(service=service, crowd={"personas": personas})
    [station] = forecast_of(scenario).stations
    assert station.utilisation == pytest.approx(2, rel=0.01)
    assert station.queue_max == pytest.approx(100, rel=0.02)
    assert station.wait_max_s == pytest.approx(20, rel=0.02)
    assert station.queue_max_at_s == pytest.approx(20, abs=0.1)
    [doubt] = [d for d in forecast_of(scenario).doubts if d.code == "bottleneck"]
    assert "2.0 times its capacity" in doubt.sentence
    assert "longer than its limit of 50: requests are refused" in doubt.sentence


def test_only_the_hot_row_of_the_busiest_item_is_told(small_scenario: Build) -> None:
    """Three of four come for the console: its row has 7.5 reservations a second of 10 ms."""
    service = {
        "stations": [
            {"name": "web", "servers": 9},
            {"name": "row", "servers": 1, "per_item": True},
        ],
        "reserve": [{"station": "row", "time": "10ms"}],
    }
    shop = {
        "items": [
            {"sku": "console", "stock": 999, "price": 1},
            {"sku": "cable", "stock": 999, "price": 1},
        ]
    }
    personas = {"fan": {"share": 1, "think_time": 0, "wants": {"console": 3, "cable": 1}}}
    scenario = small_scenario(service=service, shop=shop, crowd={"personas": personas})
    stations = {station.name: station for station in forecast_of(scenario).stations}
    assert stations["row"].sku == "console"
    assert stations["row"].utilisation == pytest.approx(0.075, rel=0.02)


def test_very_many_items_are_told_together(small_scenario: Build) -> None:
    """Beyond the named limit items share one line; nobody's demand is lost."""
    count = MAX_ITEMS + 25
    items = [{"sku": f"item-{n}", "stock": 1, "price": 1} for n in range(count)]
    found = forecast_of(small_scenario(shop={"items": items}))
    assert len(found.items) == MAX_ITEMS
    assert found.other_items is not None
    assert found.other_items.stock_units == 25
    wanted = sum(item.wanted_units for item in [*found.items, found.other_items])
    assert wanted == pytest.approx(200, rel=0.01)


# --- close to the simulation ---


@pytest.mark.parametrize("load_factor", [3, 10])
def test_the_fluid_is_close_to_the_simulated_demo(load_factor: float) -> None:
    """Requests in all and in the busiest second within 20 % of the mean of five sales."""
    scenario = read_scenario(DEMO).scenario
    timetable = Timetable.of(scenario, load_factor=load_factor)
    totals, peaks = [], []
    for seed in range(1, 6):
        plan = build_plan(scenario, seed, timetable)
        requests = simulate_sale(scenario, plan, timetable, seed=seed).requests
        intended = requests["intended_s"].to_numpy()
        totals.append(len(intended))
        peaks.append(np.histogram(intended, bins=np.arange(-6, 28))[0].max())
    expected = forecast(scenario, timetable).requests
    assert expected.total == pytest.approx(np.mean(totals), rel=0.2)
    assert expected.per_s == pytest.approx(np.mean(peaks), rel=0.2)


# --- what is suspicious ---

BOT = {"share": 0.1, "refresh_gap": "1s", "restock_refresh_limit": 9, "identities": {"accounts": 9}}


def test_a_sound_scenario_raises_no_doubt(small_scenario: Build) -> None:
    crowd = {"personas": {"fan": {"share": 0.9}, "bot": BOT}}
    assert codes(small_scenario(crowd=crowd)) == set()
    # One refund in a hundred may be late: exp(-10 / 2) = 0.7 % are.
    soon = {"delay": {"kind": "exponential", "mean": "2s"}, "within": "10s"}
    crowd = {"personas": {"fan": REGRET, "bot": BOT}}
    assert codes(small_scenario(crowd=crowd, shop={"refund": soon})) == set()


STEP = {"kind": "zero_hour", "half_life": "3s"}
PHASE = {"name": "sale", "duration": "20s", "shape": {"kind": "constant"}}

REGRET = {"share": 0.9, "refund_fraction": 0.1, "refund_after": "2s"}

SUSPICIOUS: dict[str, tuple[str, dict[str, Any]]] = {
    "a queue longer than the promise": (
        "refunds-later-than-promised",
        {
            "shop": {"refund": {"delay": {"kind": "exponential", "mean": "2s"}, "within": "8s"}},
            "crowd": {"personas": {"fan": REGRET, "bot": BOT}},
        },
    ),
    "money after the sale": (
        "refunds-outlast-sale",
        {
            "shop": {"refund": {"delay": "10m"}},
            "crowd": {"personas": {"fan": REGRET, "bot": BOT}},
        },
    ),
    "a lock beyond the end": ("lock-outlasts-sale", {"shop": {"lock_time": "30s"}}),
    "a lock beyond the drain": ("late-locks-stay", {"shop": {"lock_time": "12s"}}),
    "a slow sweep": ("sweep-slower-than-lock", {"shop": {"release_sweep": "6s"}}),
    "more than is wanted": (
        "stock-above-demand",
        {"shop": {"items": [{"sku": "console", "stock": 500, "price": 1}]}},
    ),
    "nothing to sell": (
        "no-stock",
        {"shop": {"items": [{"sku": "console", "stock": 0, "price": 1}]}},
    ),
    "no bots": ("no-bots", {"crowd": {"personas": {"fan": {"share": 1}}}}),
    "hardly any bots": (
        "unusual-bot-share",
        {"crowd": {"personas": {"fan": {"share": 0.999}, "bot": {**BOT, "share": 0.001}}}},
    ),
    "a mistyped normal load": ("unusual-load-factor", {"crowd": {"load_factor": 300}}),
    "all before the opening": (
        "nobody-after-opening",
        {"crowd": {"phases": [{**PHASE, "start": "-20s"}]}},
    ),
    "a step beside the opening": (
        "zero-hour-not-at-zero",
        {
            "crowd": {
                "phases": [{**PHASE, "start": "2s", "shape": STEP}]
            }
        },
    ),
    "a hole between phases": (
        "gap",
        {"crowd": {"phases": [{**PHASE, "start": 0}, {**PHASE, "name": "b", "start": "30s"}]}},
    ),
    "a persona without visitors": (
        "nobody-like-that",
        {"crowd": {"personas": {"fan": {"share": 1}, "bot": BOT, "ghost": {"share": 0}}}},
    ),
    "an impatient client": (
        "leaves-before-pending",
        {"crowd": {"personas": {"fan": {"share": 1, "request_timeout": "9s"}, "bot": BOT}}},
    ),
    "a p99.9 of two hundred pages": (
        "few-samples",
        {
            "objectives": [
                {
                    "name": "p999",
                    "kind": "response_time",
                    "step": "pay",
                    "fraction": 0.999,
                    "at_most": "1s",
                }
            ]
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "change"), SUSPICIOUS.values(), ids=SUSPICIOUS)
def test_a_suspicion_has_its_code(small_scenario: Build, code: str, change: dict[str, Any]) -> None:
    """One change to the sound scenario raises the doubt; its sentence is in the explanation."""
    crowd = {"personas": {"fan": {"share": 0.9}, "bot": BOT}, **change.get("crowd", {})}
    scenario = small_scenario(**{**change, "crowd": crowd})
    found = forecast_of(scenario)
    assert code in {doubt.code for doubt in found.doubts}
    assert f"[{code}]" in "\n".join(sentences(found, visitors_drawn=None, seed=1))


def test_the_needed_samples_are_those_of_the_verdict() -> None:
    for budget in (0.5, 0.1, 0.05, 0.01, 0.001):
        assert samples_needed(budget) == trials_needed(budget)


def test_assumed_defaults_are_told_until_they_are_set(small_scenario: Build) -> None:
    """A default without a source is listed with its place, until the scenario writes it down."""
    left = {a.field: a for a in forecast_of(small_scenario()).assumptions}
    assert left["refresh_gap"].default == "lognormal, median 3s, sigma 0.4"
    assert left["refresh_gap"].left_out_in == ["crowd.personas.fan"]
    assert left["late_fraction"].left_out_in == ["payments.channels.card"]
    assert "unpaid_fraction" not in left
    fan = {"share": 1, "refresh_gap": "2s"}
    left = {
        a.field: a
        for a in forecast_of(small_scenario(crowd={"personas": {"fan": fan}})).assumptions
    }
    assert "refresh_gap" not in left


# --- the command ---


def test_check_explains_in_sentences() -> None:
    """The numbers that a team asks for, each in a sentence, on stdout; the next step on stderr."""
    result = CliRunner().invoke(main, ["check", str(DEMO), "--seed", "7"])
    assert result.exit_code == 0
    for words in (
        "visitors come between -6 s and 20 s; seed 7 draws",
        "The peak is 168 arrivals a second at 0 s, 24 times the normal load",
        "A whole day at that peak would bring 14.5 million visitors",
        "units wanted, 40 in stock",
        "A lock lasts 3 s",
        "requests are then in flight if nobody queues (Little's law",
        "utilised in its busiest second",
        "A live run needs 1 load worker: about 500 arrivals a second a core",
        "at the longest",
        "no published source",
    ):
        assert words in result.stdout, words
    assert result.stderr.strip().startswith(f"{DEMO}: valid. Next: doorbuster simulate")


def test_check_as_json() -> None:
    """One object and nothing else; the draw depends on the seed, the load factor is as asked."""
    results = [
        json.loads(CliRunner().invoke(main, ["check", str(DEMO), "--json", *options]).stdout)
        for options in (["--seed", "1"], ["--seed", "2"], ["--load-factor", "3"])
    ]
    assert [found["valid"] for found in results] == [True, True, True]
    assert results[0]["plan_hash"] != results[1]["plan_hash"]
    assert [found["load_factor"] for found in results] == [10, 10, 3]
    assert results[2]["peak_arrivals_per_s"] == pytest.approx(50.4)


def test_check_as_json_of_a_broken_file() -> None:
    """The mistakes are data as well, with exit code 2."""
    path = ROOT / "tests" / "broken" / "unknown-sku.yaml"
    result = CliRunner().invoke(main, ["check", str(path), "--json"])
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["valid"] is False
    assert len(found["problems"]) == 1


def test_a_plan_too_large_to_draw_is_explained() -> None:
    result = CliRunner().invoke(main, ["check", str(ROOT / "scenarios" / "match-day.yaml")])
    assert result.exit_code == 0
    assert "About 75.2 million visitors" in result.stdout
    assert "draws" not in result.stdout


@pytest.mark.parametrize("option", ["--load-factor", "--compress"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "many"])
def test_check_refuses_what_is_no_number(option: str, value: str) -> None:
    """A usage error, no traceback."""
    result = CliRunner().invoke(main, ["check", str(DEMO), option, value])
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
