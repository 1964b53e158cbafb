"""Wall time and peak memory of very large counted sales, each in a process of its own.

.venv/bin/python benchmarks/scale.py [--compress 256 25.6]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = Path(__file__).resolve().parents[1] / "scenarios" / "double-11.yaml"
COMMAND = "import sys; from doorbuster.cli import main; main()"
MIB = 1024 * 1024


def main() -> None:
    """Print one row a compression, with a first row for the process alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compress", type=float, nargs="+", default=[25_600, 256, 25.6])
    parser.add_argument("--scenario", type=Path, default=SCENARIO)
    arguments = parser.parse_args()
    print(
        "| compress | visitors | requests | wall (s) | visitors/s | peak memory (MiB) | verdict |"
    )
    print("|---|---|---|---|---|---|---|")
    for compress in arguments.compress:
        print(row(arguments.scenario, compress), flush=True)


def row(scenario: Path, compress: float) -> str:
    """Simulate once and describe it."""
    with tempfile.TemporaryDirectory() as results:
        words = ["simulate", str(scenario), "--compress", str(compress), "--records", "none"]
        words += ["--replications", "1", "--engine", "compiled", "--jobs", "1"]
        started = time.perf_counter()
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-c", COMMAND, *words, "--results", results],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        )
        _, status, usage = os.wait4(process, 0)
        wall_s = time.perf_counter() - started
        folder = next(Path(results).glob("*/latest")).resolve()
        tally = json.loads((folder / "tally.json").read_text())[0]
        verdict = json.loads((folder / "verdict.json").read_text())["status"]
    assert os.waitstatus_to_exitcode(status) in (0, 1, 3), status
    return (
        f"| {compress:g} | {tally['planned']:,} | {tally['requests_found']:,} | {wall_s:.1f} "
        f"| {tally['planned'] / wall_s:,.0f} | {usage.ru_maxrss * 1024 / MIB:,.0f} | {verdict} |"
    )


if __name__ == "__main__":
    main()
