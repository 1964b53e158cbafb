"""The model of others.py on Ciw 3, in an environment of its own; arguments: model, visitors."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ciw  # type: ignore[import-not-found]  # Its wheel brings a top-level package `tests`.

WEB, THINK, ROW = 1, 2, 3


def main(model: dict[str, Any], visitor_count: int) -> None:
    """Simulate and print the figures."""
    started = time.perf_counter()
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(model["rate_per_s"]), None, None],
        service_distributions=[
            ciw.dists.Exponential(1 / model["service_s"]),
            ciw.dists.Deterministic(model["think_s"]),
            ciw.dists.Exponential(1 / model["row_s"]),
        ],
        number_of_servers=[model["servers"], float("inf"), 1],
        routing=ciw.routing.ProcessBased(lambda _visitor, _simulation: [THINK, WEB, ROW]),
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(visitor_count, method="Finish")
    seconds = time.perf_counter() - started
    records = simulation.get_all_records()
    waits_s = [record.waiting_time for record in records if record.node == WEB]
    wait_s = sum(waits_s) / len(waits_s)
    print(json.dumps({"visitors": visitor_count, "seconds": seconds, "wait_s": wait_s}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
