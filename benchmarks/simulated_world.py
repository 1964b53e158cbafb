"""Visitors and requests a second of the simulated world, on the demo at growing load factors.

    .venv/bin/python benchmarks/simulated_world.py

Each row is the median of five runs in one process, after one that compiles and warms up. Absolute
numbers depend on the machine; the rows of one run can be compared.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import simulate_sale

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"
LOAD_FACTORS = (1, 10, 50, 200)
RUNS = 5


def main() -> None:
    """Print the table as Markdown."""
    scenario = read_scenario(DEMO).scenario
    print("| load factor | visitors | requests | plan (s) | sale (s) | visitors/s | requests/s |")
    print("|---|---|---|---|---|---|---|")
    warm_up = Timetable.of(scenario, load_factor=1)
    simulate_sale(scenario, build_plan(scenario, 1, warm_up), warm_up, seed=1)
    for factor in LOAD_FACTORS:
        timetable = Timetable.of(scenario, load_factor=factor)
        plan_s, sale_s = [], []
        for _ in range(RUNS):
            started = time.perf_counter()
            plan = build_plan(scenario, 1, timetable)
            planned = time.perf_counter()
            sale = simulate_sale(scenario, plan, timetable, seed=1)
            sale_s.append(time.perf_counter() - planned)
            plan_s.append(planned - started)
        seconds = statistics.median(sale_s)
        visitors, requests = plan.visitor_count, sale.requests.num_rows
        print(
            f"| {factor} | {visitors:,} | {requests:,} | {statistics.median(plan_s):.3f} | "
            f"{seconds:.2f} | {visitors / seconds:,.0f} | {requests / seconds:,.0f} |"
        )


if __name__ == "__main__":
    main()
