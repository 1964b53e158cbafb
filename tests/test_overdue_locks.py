"""A lock is overdue only if a sweep could have released it and has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import Engine, simulate_sale


@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize(("end_s", "locked"), [(18, True), (25, False)])
def test_a_lock_held_by_a_slow_refusal_is_not_overdue(
    small_scenario: Callable[..., Scenario], engine: Engine, end_s: int, locked: bool
) -> None:
    """It lapses after 1 s; the refusal comes after 14 s, the next sweep is at 20 s."""
    card = {"name": "card", "share": 1, "latency": "14s", "late_fraction": 0, "decline_fraction": 1}
    buyer = {
        "share": 1,
        "think_time": 0,
        "payment_time": "10ms",
        "unpaid_fraction": 0,
        "payment_attempt_limit": 1,
    }
    phase = {"name": "sale", "start": 0, "duration": "100ms"}
    scenario = small_scenario(
        shop={"lock_time": "1s", "release_sweep": "10s"},
        payments={"timeout": "30s", "channels": [card]},
        crowd={
            "load_factor": 20,
            "phases": [{**phase, "shape": {"kind": "constant", "level": 1}}],
            "personas": {"fan": buyer},
            "drain": f"{end_s - 0.1:g}s",
        },
    )
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 1, timetable)
    [item] = simulate_sale(scenario, plan, timetable, seed=1, engine=engine).audit.items
    assert (item.locked_units > 0) == locked
    assert item.lapsed_locks == 0
