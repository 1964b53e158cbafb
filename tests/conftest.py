"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import settings

from doorbuster.scenario import Scenario

# No test judges a time: the machine may be busy, and the first example may compile.
settings.register_profile("doorbuster", deadline=None)
settings.load_profile("doorbuster")

Change = dict[str, Any]

SMALL: Change = {
    "version": 1,
    "name": "small",
    "shop": {"lock_time": "5s", "items": [{"sku": "console", "stock": 20, "price": 499}]},
    "crowd": {
        "normal_load_per_s": 5,
        "load_factor": 2,
        "phases": [
            {
                "name": "sale",
                "start": 0,
                "duration": "20s",
                "shape": {"kind": "constant", "level": 1},
            }
        ],
        "personas": {"fan": {"share": 1}},
        "drain": "10s",
    },
    "payments": {"channels": [{"name": "card", "share": 1}]},
    "service": {
        "network": "1ms",
        "stations": [{"name": "web", "servers": 2}],
        "browse": [{"station": "web", "time": "2ms"}],
        "reserve": [{"station": "web", "time": "3ms"}],
        "pay": [{"station": "web", "time": "2ms"}],
    },
}


def merged(base: Change, change: Change) -> Change:
    """The base with a change laid over it: mappings merged, personas and the rest replaced."""
    result = deepcopy(base)
    for key, value in change.items():
        both_mappings = isinstance(value, dict) and isinstance(result.get(key), dict)
        if both_mappings and key != "personas":
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


@pytest.fixture(scope="session")
def small_scenario() -> Callable[..., Scenario]:
    """Builds the small sale with changes: `small_scenario(crowd={"load_factor": 5})`."""

    def build(**change: Any) -> Scenario:
        return Scenario.model_validate(merged(SMALL, change))

    return build


@pytest.fixture(scope="session")
def written_scenario() -> Change:
    """The small sale as it stands in a file."""
    return deepcopy(SMALL)
