"""Both engines side by side on the demo: visitors a second, and the ratio.

    .venv/bin/python benchmarks/engines.py

The sale with all its records as Arrow tables, one core. In each row the engines run in turn and
the median counts; the compiled engine is compiled before. Each turn is as many sales in a row, as
replications are, as last half a second: a single short one, after SimPy has had the caches, would
measure these. `loop` is the compiled engine without building the tables.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from doorbuster.plan import Plan, Timetable, build_plan
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import Engine, simulate_sale
from doorbuster_sim.compiled_engine.layout import Records
from doorbuster_sim.compiled_engine.sale import CompiledSale

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"
LOAD_FACTORS = (10, 50, 200)
RUNS = 3
TURN_S = 0.5


class Nowhere:
    """Takes the rows and forgets them."""

    def requests(self, rows: Records) -> None:
        """Forget them."""

    def visits(self, rows: Records) -> None:
        """Forget them."""

    def orders(self, rows: Records) -> None:
        """Forget them."""

    def charges(self, rows: Records) -> None:
        """Forget them."""


def loop_alone(scenario: Scenario, plan: Plan, timetable: Timetable) -> None:
    """A sale on the compiled engine without its tables."""
    CompiledSale(scenario, timetable, 1, 1, Nowhere()).run([plan])


def seconds_a_sale(run: Callable[[], object]) -> float:
    """The mean over sales in a row, at least one."""
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < TURN_S:
        run()
        count += 1
    return passed / count


def main() -> None:
    """Print the table as Markdown."""
    scenario = read_scenario(DEMO).scenario
    print("| load factor | visitors | SimPy (visitors/s) | compiled | ratio | loop alone | ratio |")
    print("|---|---|---|---|---|---|---|")
    engines: tuple[Engine, ...] = ("simpy", "compiled")
    for engine in engines:
        timetable = Timetable.of(scenario, load_factor=1)
        simulate_sale(
            scenario, build_plan(scenario, 1, timetable), timetable, seed=1, engine=engine
        )
    for factor in LOAD_FACTORS:
        timetable = Timetable.of(scenario, load_factor=factor)
        plan = build_plan(scenario, 1, timetable)
        sale = partial(simulate_sale, scenario, plan, timetable, seed=1)
        runs: dict[str, Callable[[], object]] = {
            "simpy": partial(sale, engine="simpy"),
            "compiled": partial(sale, engine="compiled"),
            "loop": partial(loop_alone, scenario, plan, timetable),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(RUNS):
            for name, run in runs.items():
                times[name].append(seconds_a_sale(run))
        simpy_s, compiled_s, loop_s = (statistics.median(times[name]) for name in times)
        count = plan.visitor_count
        print(
            f"| {factor} | {count:,} | {count / simpy_s:,.0f} | {count / compiled_s:,.0f} | "
            f"{simpy_s / compiled_s:.0f}x | {count / loop_s:,.0f} | {simpy_s / loop_s:.0f}x |"
        )


if __name__ == "__main__":
    main()
