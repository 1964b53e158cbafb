"""A trial is what `simulate` would show, and two variants meet the same crowd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from doorbuster.capacity.levers import Lever, Variant, levers_of, setting, varied
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster.verdict import judge
from doorbuster_sim import simulate_run
from doorbuster_sim.capacity_trials import TrialSettings, simulate_trial

OBJECTIVES = [
    {"name": "page", "kind": "response_time", "step": "browse", "at_most": "4ms"},
    {"name": "failures", "kind": "failed_requests", "at_most": 0.01},
    {"name": "sold", "kind": "units_sold", "at_least_fraction": 0.9},
    {"name": "fans", "kind": "stock_share", "persona": "fan", "at_most": 0.5},
    {"name": "early", "kind": "sell_out", "at_most": "20s"},
]


@pytest.mark.parametrize("load_factor", [1.0, 6.0])
def test_a_trial_is_judged_like_a_run(
    tmp_path: Path, written_scenario: dict[str, Any], load_factor: float
) -> None:
    """Status and value of every objective, from the records on disk and from those in memory."""
    path = tmp_path / "small.yaml"
    YAML().dump({**written_scenario, "objectives": OBJECTIVES}, path)
    file = read_scenario(path)
    folder = RunFolder.create(tmp_path, scenario_name="small", world="sim", seed=5)
    simulate_run(folder, file, RunSettings(5, load_factor), replications=3)
    run = {c.name(): (c.status, c.value) for c in judge(folder).checks if c.kind == "objective"}
    trial = simulate_trial(file.scenario, TrialSettings(5, 3), ((), load_factor))
    assert {o.name: (o.check.status, o.check.value) for o in trial.objectives} == run
    assert len(run) == len(OBJECTIVES)
    assert {"pass", "fail"} <= {status for status, _ in run.values()}


def test_every_lever_meets_the_same_crowd_and_changes_the_shop(
    small_scenario: Callable[..., Scenario],
) -> None:
    """Common random numbers: as many visitors with every lever; each moves its own setting."""
    scenario = small_scenario(objectives=OBJECTIVES)
    settings = TrialSettings(seed=1, replications=2)
    plain = simulate_trial(scenario, settings, ((), 3.0))
    levers = levers_of(scenario)
    assert {lever.id for lever in levers} == {
        "web.servers", "web.speed", "web.queue", "card.latency", "card.late", "card.declines",
        "payments.timeout", "payments.channels",
    }  # fmt: skip
    for lever in levers:
        variant: Variant = ((lever, lever.stride),)
        trial = simulate_trial(scenario, settings, (variant, 3.0))
        assert trial.visitors == plain.visitors
        assert setting(varied(scenario, variant), lever) != setting(scenario, lever)


def test_a_purchase_at_a_large_pool_is_a_quarter_of_it(
    small_scenario: Callable[..., Scenario],
) -> None:
    service = {"stations": [{"name": "web", "servers": 64}]}
    [servers, *_] = levers_of(small_scenario(service=service))
    assert servers == Lever("web", "servers")
    assert servers.stride == 16


def test_a_stock_that_nobody_wants_is_not_the_shops_doing(
    small_scenario: Callable[..., Scenario],
) -> None:
    """Too few come to buy it all: that fails before any shop, so it does not count. A shop that
    is too slow to sell it to those who come does count.
    """
    objectives = [{"name": "sold", "kind": "units_sold", "at_least_fraction": 0.1}]
    few = small_scenario(
        objectives=objectives,
        shop={"items": [{"sku": "console", "stock": 10_000, "price": 499}]},
    )
    slow = small_scenario(
        objectives=objectives,
        payments={"channels": [{"name": "card", "share": 1, "decline_fraction": 1.0}]},
    )
    settings = TrialSettings(seed=1, replications=3)
    [of_few] = simulate_trial(few, settings, ((), 2.0)).objectives
    [of_slow] = simulate_trial(slow, settings, ((), 6.0)).objectives
    assert (of_few.check.status, of_few.defines_capacity) == ("fail", False)
    assert (of_slow.check.status, of_slow.defines_capacity) == ("fail", True)
