"""How close the two worlds are, and how late the generator is, over load factors and seeds.

    .venv/bin/python benchmarks/agreement.py [--seeds 3]

Rehearses the demo, one live run of about 35 s a row, against the reference shop on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from doorbuster.records.run_folder import RunFolder

DEMO = Path(__file__).parent.parent / "scenarios" / "demo.yaml"
LOAD_FACTORS = (1, 3, 10)


def rehearse(load_factor: int, seed: int, results: Path) -> dict[str, Any]:
    """The JSON object of one rehearsal."""
    command = [
        str(Path(sys.executable).parent / "doorbuster"),
        *("rehearse", str(DEMO), "--json", "--results", str(results)),
        *("--load-factor", str(load_factor), "--seed", str(seed)),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def row(load_factor: int, seed: int, result: dict[str, Any]) -> str:
    """One line of the table."""
    live = RunFolder.open(Path(result["live"]["folder"]))
    requests = live.table("requests")
    late_ms = (requests["sent_s"].to_numpy() - requests["intended_s"].to_numpy()) * 1e3
    late_ms.sort()
    p50, p99 = late_ms[len(late_ms) // 2], late_ms[int(0.99 * len(late_ms))]
    comparison = result["comparison"]
    largest = max(abs(outcome["difference"]) for outcome in comparison["outcome_shares"])
    return (
        f"| {load_factor} | {seed} | {live.run['plan_count']:,} | {requests.num_rows:,} | "
        f"{largest * 100:.1f} | {comparison['visitors']['share']:.1%} | {p50:.1f} | {p99:.1f} | "
        f"{result['live']['verdict']['status']} |"
    )


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    seeds = range(1, parser.parse_args().seeds + 1)
    print(
        "| load factor | seed | visitors | requests | largest difference of an outcome (points) | "
        "same end, visitor by visitor | sent late p50 (ms) | p99 (ms) | live verdict |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for load_factor in LOAD_FACTORS:
            for seed in seeds:
                print(row(load_factor, seed, rehearse(load_factor, seed, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
