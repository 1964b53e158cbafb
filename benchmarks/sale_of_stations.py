"""The model of others.py as a scenario of Doorbuster; arguments: engine, model, visitors."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, cast

import numpy as np

from doorbuster.plan import Plan, Timetable, build_plan
from doorbuster.scenario import Scenario
from doorbuster_sim import Engine, SimulatedSale, simulate_sale


def scenario_of(model: dict[str, Any], visitor_count: int) -> Scenario:
    """Everybody wants one, there is one for everybody, nobody pays, nobody is impatient."""
    phase = {"name": "sale", "start": 0, "duration": f"{visitor_count / model['rate_per_s']}s"}
    exponential = {"kind": "exponential", "mean": f"{model['service_s'] * 1e6}us"}
    view = {"station": "web", "time": exponential}
    lock = {"station": "row", "time": {"kind": "exponential", "mean": f"{model['row_s'] * 1e6}us"}}
    data: dict[str, Any] = {
        "version": 1,
        "name": "stations",
        "shop": {
            "lock_time": "1d",
            "items": [{"sku": "item", "stock": 2 * visitor_count, "price": 1}],
        },
        "crowd": {
            "normal_load_per_s": model["rate_per_s"],
            "load_factor": 1,
            "drain": "60s",
            "phases": [{**phase, "shape": {"kind": "constant", "level": 1}}],
            "personas": {
                "buyer": {
                    "share": 1,
                    "think_time": f"{model['think_s']}s",
                    "unpaid_fraction": 1,
                    "patience": "1d",
                    "request_timeout": "1d",
                }
            },
        },
        "payments": {"channels": [{"name": "card", "share": 1}]},
        "service": {
            "network": 0,
            "stations": [
                {"name": "web", "servers": model["servers"], "queue_limit": 1_000_000},
                {"name": "row", "servers": 1, "queue_limit": 1_000_000},
            ],
            "browse": [view],
            "reserve": [view, lock],
            "pay": [view],
        },
    }
    return Scenario.model_validate(data)


def simulated(
    model: dict[str, Any], engine: Engine, visitor_count: int
) -> tuple[Plan, SimulatedSale]:
    """The plan is drawn within the time, as the others draw theirs."""
    scenario = scenario_of(model, visitor_count)
    timetable = Timetable.of(scenario)
    plan = build_plan(scenario, 1, timetable)
    return plan, simulate_sale(scenario, plan, timetable, seed=1, engine=engine)


def main(model: dict[str, Any], engine: Engine, visitor_count: int) -> None:
    """Simulate and print the figures."""
    simulated(model, engine, 100)  # Compiles, or loads what is compiled.
    started = time.perf_counter()
    plan, sale = simulated(model, engine, visitor_count)
    seconds = time.perf_counter() - started
    views = sale.requests.filter(np.array(sale.requests["step"].to_pylist()) == "browse")
    response_s = views["done_s"].to_numpy() - views["sent_s"].to_numpy()
    wait_s = float(np.nanmean(response_s)) - model["service_s"]
    print(json.dumps({"visitors": plan.visitor_count, "seconds": seconds, "wait_s": wait_s}))


if __name__ == "__main__":
    main(json.loads(sys.argv[2]), cast("Engine", sys.argv[1]), int(sys.argv[3]))
