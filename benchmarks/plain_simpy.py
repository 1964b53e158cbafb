"""The model of others.py as anybody would write it on SimPy; arguments: model, visitors."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy


def main(model: dict[str, Any], visitor_count: int) -> None:
    """Simulate and print the figures."""
    started = time.perf_counter()
    random = np.random.default_rng(1)
    arrivals_s = np.cumsum(random.exponential(1 / model["rate_per_s"], visitor_count)).tolist()
    web_s = random.exponential(model["service_s"], (visitor_count, 2)).tolist()
    row_s = random.exponential(model["row_s"], visitor_count).tolist()
    env = simpy.Environment()
    web, row = simpy.Resource(env, model["servers"]), simpy.Resource(env, 1)
    waits_s: list[float] = []

    def visit(number: int) -> Generator[Any, Any, None]:
        for stay in range(2):
            asked_s = env.now
            with web.request() as turn:
                yield turn
                waits_s.append(env.now - asked_s)
                yield env.timeout(web_s[number][stay])
            if stay == 0:
                yield env.timeout(model["think_s"])
        with row.request() as turn:
            yield turn
            yield env.timeout(row_s[number])

    def crowd() -> Generator[Any, Any, None]:
        for number, arrival_s in enumerate(arrivals_s):
            yield env.timeout(max(0.0, arrival_s - env.now))
            env.process(visit(number))

    env.process(crowd())
    env.run()
    seconds = time.perf_counter() - started
    wait_s = sum(waits_s) / len(waits_s)
    print(json.dumps({"visitors": visitor_count, "seconds": seconds, "wait_s": wait_s}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))
