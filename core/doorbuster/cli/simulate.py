"""`doorbuster simulate`: the sale in the simulated world."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.progress import progress
from doorbuster.cli.settings import results_option, run_settings

if TYPE_CHECKING:
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.scenario.reading import ScenarioFile

Vary = Literal["crowd", "system"]

EXAMPLES = """\b
Examples:
  doorbuster simulate scenarios/demo.yaml
  doorbuster simulate scenarios/demo.yaml --load-factor 3 --replications 20
  doorbuster simulate scenarios/match-day.yaml --window 21h..22h --load-factor 0.01
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@run_settings
@click.option(
    "--replications",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="How many sales to simulate, each under its own seed.",
)
@click.option(
    "--vary",
    type=click.Choice(["crowd", "system"]),
    default="crowd",
    show_default=True,
    help="What differs between the sales: everything, or only network and service times "
    "under the same crowd.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 512),
    default=None,
    help="Processes to use.  [default: one a processor]",
)
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    scenario_path: Path,
    settings: RunSettings,
    replications: int,
    vary: Vary,
    jobs: int | None,
    results: Path,
    as_json: bool,
) -> None:
    """Run the sale in the simulated world and judge it."""
    from doorbuster.report import write_report
    from doorbuster.scenario.reading import read_scenario
    from doorbuster.verdict import judge

    file = read_scenario(scenario_path)
    try:
        folder = simulate(
            file, settings, replications=replications, vary=vary, jobs=jobs, results=results
        )
    except KeyboardInterrupt:
        stop(exit_codes.INTERRUPTED, "Interrupted; the finished replications are kept.")
    verdict = judge(folder)
    report = write_report(folder.path / "report.html", folder)
    if as_json:
        print_json(verdict.to_json())
    else:
        for line in verdict.lines():
            click.echo(line)
        say(f"\nReport: {report}\nNext: doorbuster load {scenario_path} --target URL")
    raise SystemExit(verdict.exit_code)


def simulate(
    file: ScenarioFile,
    settings: RunSettings,
    *,
    replications: int,
    vary: Vary,
    jobs: int | None,
    results: Path,
) -> RunFolder:
    """Simulate into a new run folder, with progress on stderr."""
    from doorbuster.records.run_folder import RunFolder
    from doorbuster_sim import simulate_run

    settings.timetable(file)  # An empty window is refused before anything is written.
    folder = RunFolder.create(
        results, scenario_name=file.scenario.name, world="sim", seed=settings.seed
    )
    with progress("simulating") as advance:

        def show(done: int, total: int, within: float) -> None:
            advance((done + within) / total, f"{done} of {total} sales")

        simulate_run(
            folder,
            file,
            settings,
            replications=replications,
            vary=vary,
            job_count=jobs or os.cpu_count() or 1,
            progress=show,
        )
    return folder
