"""Two processes against one, side by side, on many sales of the demo.

    .venv/bin/python benchmarks/replications.py [--sales 12] [--load-factor 50] [--rounds 3]

Each round simulates the same run with one process and with two, in turn, and the ratio of the
medians counts. A whole run is measured, with starting the processes and writing the records.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder
from doorbuster.scenario.reading import read_scenario
from doorbuster_sim import simulate_run

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"
WANTED_RATIO = 1.8


def run_s(sales: int, load_factor: float, jobs: int) -> tuple[float, float]:
    """Seconds of a whole run, and until its first sale was finished."""
    finished_s: list[float] = []
    with tempfile.TemporaryDirectory() as results:
        folder = RunFolder.create(Path(results), scenario_name="demo", world="sim", seed=1)
        started = time.perf_counter()

        def note(done: int, _total: int, _within: float) -> None:
            if done and not finished_s:
                finished_s.append(time.perf_counter() - started)

        simulate_run(
            folder,
            read_scenario(DEMO),
            RunSettings(seed=1, load_factor=load_factor),
            replications=sales,
            job_count=jobs,
            progress=note,
        )
        return time.perf_counter() - started, finished_s[0]


def main() -> None:
    """Print the table as Markdown, and whether the ratio is the wanted one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sales", type=int, default=12)
    parser.add_argument("--load-factor", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run_s(1, 1, 1)  # Loads and compiles in this process.
    wholes: dict[int, list[float]] = {1: [], 2: []}
    firsts: dict[int, list[float]] = {1: [], 2: []}
    print("| round | 1 process (s) | 2 processes (s) | ratio |")
    print("|---|---|---|---|")
    for number in range(1, options.rounds + 1):
        for jobs in (1, 2):
            whole_s, first_s = run_s(options.sales, options.load_factor, jobs)
            wholes[jobs].append(whole_s)
            firsts[jobs].append(first_s)
        one, two = wholes[1][-1], wholes[2][-1]
        print(f"| {number} | {one:.1f} | {two:.1f} | {one / two:.2f} |", flush=True)
    one, two = (statistics.median(wholes[jobs]) for jobs in (1, 2))
    print(f"| median | {one:.1f} | {two:.1f} | {one / two:.2f} |")
    start_s = statistics.median(firsts[2]) - statistics.median(firsts[1])
    print(f"\nStarting two processes takes {start_s:.1f} s of it.")
    verdict = "reached" if one / two >= WANTED_RATIO else "missed"
    print(f"Wanted: at least {WANTED_RATIO}; {verdict}.")


if __name__ == "__main__":
    main()
