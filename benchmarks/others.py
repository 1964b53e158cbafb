"""The same small model in four simulators, side by side: visitors a second and peak memory.

    .venv/bin/python benchmarks/others.py --ciw-python .venv-ciw/bin/python

The model is what all four can say: Poisson arrivals; a page view at a station of 4 servers; a
second of thought; a reservation at the same station, then at a single row; then the visitor
leaves. Times are exponential, the station is 80 % busy. No refreshes, retries, timeouts, stock or
payments, which the two others do not have.

Each run is a process of its own. The first column of times is the simulation alone, imports and
compilation left out. `mean wait` is the queueing time at the station a visit, which Erlang C
knows: they do simulate the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from math import factorial
from pathlib import Path

SIZES = (1_000, 10_000, 100_000)
SERVERS, UTILISATION = 4, 0.8
RATE_PER_S = 400.0
SERVICE_S = UTILISATION * SERVERS / (2 * RATE_PER_S)
ROW_S, THINK_S = 0.001, 1.0
MODEL = {
    "rate_per_s": RATE_PER_S,
    "servers": SERVERS,
    "service_s": SERVICE_S,
    "row_s": ROW_S,
    "think_s": THINK_S,
}
HERE = Path(__file__).resolve().parent


def erlang_c_wait_s() -> float:
    """Mean wait at the station: C / (c mu - lambda)."""
    load = UTILISATION * SERVERS
    busy = load**SERVERS / factorial(SERVERS) / (1 - UTILISATION)
    chance = busy / (sum(load**k / factorial(k) for k in range(SERVERS)) + busy)
    return chance / (SERVERS / SERVICE_S - 2 * RATE_PER_S)


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ciw-python", default="", help="a Python with Ciw; without it, no Ciw")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    programs = {
        "Doorbuster, compiled": [sys.executable, "sale_of_stations.py", "compiled"],
        "Doorbuster, SimPy engine": [sys.executable, "sale_of_stations.py", "simpy"],
        "plain SimPy": [sys.executable, "plain_simpy.py"],
    }
    if arguments.ciw_python:
        ciw_python = str(Path(arguments.ciw_python).absolute())
        programs["Ciw"] = [ciw_python, "plain_ciw.py"]
    print(f"Erlang C: mean wait {erlang_c_wait_s() * 1e3:.3f} ms\n")
    print("| visitors | simulator | visitors/s | simulation (s) | mean wait (ms) | memory (MiB) |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        # In turn, so that a busy machine is busy for all.
        found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
        for _ in range(arguments.runs):
            for name, words in programs.items():
                found[name].append(measured([*words, json.dumps(MODEL), str(size)]))
        for name, runs in found.items():
            best = min(runs, key=lambda run: run["seconds"])
            print(
                f"| {size:,} | {name} | {best['visitors'] / best['seconds']:,.0f} "
                f"| {best['seconds']:.3f} | {best['wait_s'] * 1e3:.3f} | {best['mib']:.0f} |",
                flush=True,
            )


def measured(words: list[str]) -> dict[str, float]:
    """Run a program that prints its figures as JSON; adds its peak memory."""
    process = subprocess.Popen(words, cwd=HERE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(words)}: exit code {process.returncode}")
    figures: dict[str, float] = json.loads(text)
    return figures | {"mib": usage.ru_maxrss / 1024}


if __name__ == "__main__":
    main()
