"""The demo with a bottleneck planted in it: `capacity` names that one, and without it another.

Real sales on the compiled engine (SimPy where that cannot run). The searches end before anything
is priced: that part is tested beside brute force.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from doorbuster.capacity.bench import Bench
from doorbuster.capacity.breaks import find_breaks, sweep
from doorbuster.capacity.causes import find_causes
from doorbuster.capacity.findings import Capacity, StudySettings
from doorbuster.capacity.study import lowest_factor
from doorbuster.plan import Timetable
from doorbuster.scenario import Scenario
from doorbuster_sim import choose_engine
from doorbuster_sim.capacity_trials import TrialPool, TrialSettings

DEMO = Path(__file__).parents[2] / "scenarios" / "demo.yaml"
Change = Callable[[dict[str, Any]], None]
pytestmark = pytest.mark.slow


def nothing(demo: dict[str, Any]) -> None:
    """The demo as it is: one web server for everything."""


def checkout_servers(servers: int) -> Change:
    """A pool in front of the reservation, such as database connections, 30 ms a request."""

    def change(demo: dict[str, Any]) -> None:
        demo["service"]["stations"].append({"name": "checkout", "servers": servers})
        demo["service"]["reserve"].insert(0, {"station": "checkout", "time": "30ms"})

    return change


def row_time(time: str) -> Change:
    """The stock row is locked for so long by each buyer of an item."""

    def change(demo: dict[str, Any]) -> None:
        demo["service"]["reserve"][1]["time"]["median"] = time

    return change


def slow_wallet(demo: dict[str, Any]) -> None:
    """The provider of the largest channel answers after the shop has stopped waiting."""
    demo["payments"]["channels"][0]["latency"]["median"] = "15s"


def web_queue(bound: int) -> Change:
    """So many requests may wait for the web server."""

    def change(demo: dict[str, Any]) -> None:
        demo["service"]["stations"][0]["queue_limit"] = bound

    return change


PLANTED: dict[str, tuple[Change, list[tuple[str, str]]]] = {
    "nothing": (nothing, [("servers", "web")]),
    "servers": (checkout_servers(2), [("servers", "checkout")]),
    "servers, relieved": (checkout_servers(40), [("servers", "web")]),
    "hot row": (row_time("8ms"), [("hot_row", "stock-row")]),
    "hot row, twice as fast": (row_time("4ms"), [("servers", "web")]),
    "payment channel": (slow_wallet, [("channel", "wallet-a")]),
    "queue bound": (web_queue(1), [("queue", "web")]),
    "queue bound, relieved": (web_queue(512), [("servers", "web")]),
}


@cache
def studied(plant: str, job_count: int = 1) -> Capacity:
    """The demo with something planted, from the sweep to the causes."""
    demo = YAML(typ="safe").load(DEMO.read_text("utf-8"))
    PLANTED[plant][0](demo)
    scenario = Scenario.model_validate(demo)
    trials = TrialSettings(seed=1, replications=4, engine=choose_engine("auto").engine)

    def timetable(factor: float) -> Timetable:
        return trials.timetable(scenario, factor)

    low = lowest_factor(timetable(scenario.crowd.load_factor))
    settings = StudySettings(
        scenario.crowd.load_factor, low, 80.0, 0.1, trials.replications, 1, 10_000, trials.engine
    )
    found = Capacity(scenario, settings)
    with TrialPool(scenario, trials, job_count) as pool:
        bench = Bench(found, pool, lambda _share, _note: None)
        sweep(bench, timetable)
        find_breaks(bench)
        find_causes(bench)
    return found


@pytest.mark.parametrize("plant", PLANTED)
def test_the_true_bottleneck_is_named(plant: str) -> None:
    found = studied(plant)
    named = [(relief.suspect.cause, relief.suspect.resource) for relief in found.causes]
    assert named == PLANTED[plant][1]


def test_what_is_planted_costs_load_and_its_relief_gives_it_back() -> None:
    free = studied("nothing").bracket
    assert free is not None
    assert free.held is not None
    for plant in ("servers", "hot row", "queue bound"):
        found = studied(plant)
        assert found.bracket is not None
        assert found.bracket.broke is not None
        assert found.bracket.broke < 0.9 * free.held, plant
        gained = found.causes[0].bracket.held
        assert gained is not None
        assert gained > 1.2 * found.bracket.broke, plant


def test_the_break_lies_where_the_arithmetic_says() -> None:
    """The busiest second of the demo fills its web server at 31 (utilisation law, fluid crowd);
    the p95 of the whole sale holds for a while longer, but not for half as much again.
    """
    found = studied("nothing")
    assert found.bound is not None
    assert found.bound.station == "web"
    assert found.bound.load_factor is not None
    assert found.bracket is not None
    assert found.bracket.held is not None
    assert 1.0 < found.bracket.held / found.bound.load_factor < 1.5
    assert found.knee_response is not None
    assert 0.7 < found.knee_response / found.bound.load_factor < 1.2


def test_two_processes_find_the_same() -> None:
    """The answer is a matter of the seed alone, not of who simulates what."""
    one, two = studied("hot row"), studied("hot row", 2)
    assert one.bracket == two.bracket
    assert one.sure == two.sure
    assert one.sweep == two.sweep
    assert one.reliefs == two.reliefs
