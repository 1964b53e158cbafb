"""`doorbuster simulate`: the sale in the simulated world."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
)
from doorbuster.cli.progress import progress
from doorbuster.cli.settings import results_option, run_settings

if TYPE_CHECKING:
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.scenario.reading import ScenarioFile

Vary = Literal["crowd", "system"]
EngineOption = Literal["auto", "simpy", "compiled"]

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
    "--engine",
    type=click.Choice(["auto", "simpy", "compiled"]),
    default="simpy",
    show_default=True,
    help="What runs the model: SimPy, or the same compiled, with equal records. `auto` takes "
    "the compiled one where it can run.",
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
    engine: EngineOption,
    jobs: int | None,
    results: Path,
    as_json: bool,
) -> None:
    """Run the sale in the simulated world and judge it."""
    from doorbuster.report import write_report
    from doorbuster.scenario.reading import read_scenario
    from doorbuster.verdict import judge

    file = read_scenario(scenario_path)
    folder = simulate(
        file,
        settings,
        replications=replications,
        vary=vary,
        engine=engine,
        jobs=jobs,
        results=results,
    )
    verdict = judge(folder)
    report = write_report(folder.path / "report.html", folder)
    if as_json:
        print_json({**verdict.to_json(), "folder": str(folder.path), "report": str(report)})
    else:
        for line in verdict.lines():
            click.echo(line)
        say(f"\nReport: {report}\nNext: doorbuster rehearse {scenario_path}")
    raise SystemExit(exit_codes.INTERRUPTED if was_interrupted(folder) else verdict.exit_code)


def was_interrupted(folder: RunFolder) -> bool:
    """Whether a user has ended the run; then say what is left of it."""
    run = folder.run
    if run.get("status") != "interrupted":
        return False
    done = len(run.get("replication_seeds") or ())
    say(f"Interrupted; {done} of {run['replications']} sales are kept: {folder.path}")
    return True


def simulate(
    file: ScenarioFile,
    settings: RunSettings,
    *,
    replications: int,
    vary: Vary,
    jobs: int | None,
    results: Path,
    engine: EngineOption = "simpy",
) -> RunFolder:
    """Simulate into a new run folder, with progress on stderr; Ctrl-C keeps what is done."""
    from doorbuster.plan import build_plan
    from doorbuster.records.run_folder import RunFolder
    from doorbuster_sim import choose_engine, simulate_run

    choice = choose_engine(engine)
    build_plan(file.scenario, settings.seed, settings.timetable(file))  # Refused before a folder.
    folder = RunFolder.create(
        results, scenario_name=file.scenario.name, world="sim", seed=settings.seed
    )
    if engine != "simpy":
        say(f"engine: {choice.engine}" + (f" ({choice.reason})" if choice.reason else ""))
    with progress("simulating") as advance:

        def show(done: int, total: int, within: float) -> None:
            advance((done + within) / total, f"{done} of {total} sales")

        with suppress(KeyboardInterrupt):  # The folder says so.
            simulate_run(
                folder,
                file,
                settings,
                replications=replications,
                vary=vary,
                engine=choice.engine,
                job_count=jobs or os.cpu_count() or 1,
                progress=show,
            )
    return folder
