"""Two processes against one, side by side, on many sales of the demo.

    .venv/bin/python benchmarks/replications.py [--sales 40] [--load-factor 50] [--rounds 3]
    .venv/bin/python benchmarks/replications.py --engine compiled --sales 60 --load-factor 1000

Each round simulates the same run with one process and with two, in turn, and the ratio of the
medians counts. A whole run is measured, with starting the processes and writing the records.
*Got* is processor time over wall time: below 1 or 2 by more than a tenth, somebody else was using
the processors, and the ratio says little. *CPU* is the processor time; twice that of one process
over that of two is the ratio which two processors of one's own cannot exceed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import Engine, simulate_run

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"
WANTED_RATIO = 1.8


class Measured(NamedTuple):
    """One run: how long it took, until its first sale was finished, processors it had."""

    whole_s: float
    first_s: float
    got: float

    @property
    def cpu_s(self) -> float:
        """Processor time."""
        return self.got * self.whole_s


def measure(sales: int, load_factor: float, jobs: int, engine: Engine) -> Measured:
    """Simulate into a folder that is thrown away."""
    finished_s: list[float] = []
    with tempfile.TemporaryDirectory() as results:
        folder = RunFolder.create(Path(results), scenario_name="demo", world="sim", seed=1)
        started, cpu_started_s = time.perf_counter(), cpu_s()

        def note(done: int, _total: int, _within: float) -> None:
            if done and not finished_s:
                finished_s.append(time.perf_counter() - started)

        simulate_run(
            folder,
            read_scenario(DEMO),
            RunSettings(seed=1, load_factor=load_factor),
            replications=sales,
            job_count=jobs,
            engine=engine,
            progress=note,
        )
        whole_s = time.perf_counter() - started
        return Measured(whole_s, finished_s[0], (cpu_s() - cpu_started_s) / whole_s)


def cpu_s() -> float:
    """Processor time of this process and of those it has waited for."""
    return sum(os.times()[:4])


def main() -> None:
    """Print the table as Markdown, and whether the ratio is the wanted one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sales", type=int, default=40)
    parser.add_argument("--load-factor", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=["simpy", "compiled"], default="simpy")
    options = parser.parse_args()
    measure(1, 1, 1, options.engine)  # Loads and compiles in this process.
    runs: dict[int, list[Measured]] = {1: [], 2: []}
    print("| round | 1 process (s) | got | CPU (s) | 2 processes (s) | got | CPU (s) | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for number in range(1, options.rounds + 1):
        for jobs, measured in runs.items():
            measured.append(measure(options.sales, options.load_factor, jobs, options.engine))
        one, two = (measured[-1] for measured in runs.values())
        print(
            f"| {number} | {one.whole_s:.1f} | {one.got:.2f} | {one.cpu_s:.1f} | "
            f"{two.whole_s:.1f} | {two.got:.2f} | {two.cpu_s:.1f} | "
            f"{one.whole_s / two.whole_s:.2f} |",
            flush=True,
        )
    one_s, two_s = (statistics.median(run.whole_s for run in runs[jobs]) for jobs in (1, 2))
    one_cpu_s, two_cpu_s = (statistics.median(run.cpu_s for run in runs[n]) for n in (1, 2))
    print(
        f"| median | {one_s:.1f} | | {one_cpu_s:.1f} | {two_s:.1f} | | {two_cpu_s:.1f} | "
        f"{one_s / two_s:.2f} |"
    )
    print(f"\nAt most, with two processors of one's own: {2 * one_cpu_s / two_cpu_s:.2f}.")
    first_s = {jobs: statistics.median(run.first_s for run in runs[jobs]) for jobs in (1, 2)}
    print(f"\nStarting two processes takes {first_s[2] - first_s[1]:.1f} s of it.")
    verdict = "reached" if one_s / two_s >= WANTED_RATIO else "missed"
    print(f"Wanted: at least {WANTED_RATIO}; {verdict}.")


if __name__ == "__main__":
    main()
