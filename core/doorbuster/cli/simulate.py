"""`doorbuster simulate`: the sale in the simulated world."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    product_console,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.precision import ShareType, read_precision
from doorbuster.cli.progress import progress
from doorbuster.cli.sale_table import precision_sentences, print_sale_table
from doorbuster.cli.settings import results_option, run_settings

if TYPE_CHECKING:
    from doorbuster.measures.stopping import Precision
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.scenario.reading import ScenarioFile

Vary = Literal["crowd", "system"]
Records = Literal["all", "none"]
EngineOption = Literal["auto", "simpy", "compiled"]

BUILT_AHEAD_VISITORS = 100_000
"""A plan is made whole before a counted run only below this, to refuse one without visitors."""

EXAMPLES = """\b
Examples:
  doorbuster simulate scenarios/demo.yaml
  doorbuster simulate scenarios/demo.yaml --load-factor 3 --replications 20
  doorbuster simulate scenarios/demo.yaml --replications 500 --precision 2%
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
    default="auto",
    show_default=True,
    help="What runs the model: SimPy, or the same compiled, with equal records. `auto` takes the "
    "compiled one where it is, or compiling it (half a minute, once) is worth it.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 512),
    default=None,
    help="Processes to use.  [default: one a processor]",
)
@click.option(
    "--records",
    type=click.Choice(["all", "none"]),
    default="all",
    show_default=True,
    help="What stays of visits and requests: one row each, or counts. Counted sales need memory "
    "for the visitors who are there at once, not for all; they have a verdict, but no report.",
)
@click.option(
    "--cluster",
    metavar="ADDRESS",
    default=None,
    help="Simulate on a Dask cluster, such as tcp://10.0.0.5:8786, instead of this machine.",
)
@click.option(
    "--precision",
    type=ShareType(),
    metavar="SHARE",
    default=None,
    help="Simulate until the means are this sure, such as 5%: of the mean for times, counts and "
    "money, in points for shares. --replications is then the maximum.",
)
@click.option(
    "--measure",
    "wanted",
    multiple=True,
    metavar="NAME[=HALF_WIDTH]",
    help="What must be that sure, such as units-sold, conversion, response-p95:browse=20ms or the "
    "name of an objective; may be repeated.  [default: what the objectives are about]",
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
    records: Records,
    cluster: str | None,
    precision: float | None,
    wanted: tuple[str, ...],
    results: Path,
    as_json: bool,
) -> None:
    """Run the sale in the simulated world and judge it."""
    from doorbuster.report import write_report
    from doorbuster.scenario.reading import read_scenario
    from doorbuster.verdict import judge_run

    if cluster is not None and jobs is not None:
        sentence = "--jobs counts processes of this machine; leave it out with --cluster"
        stop(exit_codes.USAGE, sentence)
    file = read_scenario(scenario_path)
    folder = simulate(
        file,
        settings,
        replications=replications,
        vary=vary,
        engine=engine,
        jobs=jobs,
        keeps_records=records == "all",
        cluster=cluster,
        precision=read_precision(file, settings, precision, wanted),
        results=results,
    )
    judged = judge_run(folder)
    verdict, report = judged.verdict, None
    if records == "all":
        report = write_report(folder.path / "report.html", judged)
    run = folder.run
    if as_json:
        measures = {name: run.get(name) for name in ("measures", "precision")}
        paths = {"folder": str(folder.path), "report": report and str(report)}
        print_json({**verdict.to_json(), **measures, **paths})
    else:
        print_sale_table(run, product_console())
        for line in verdict.lines():
            click.echo(line)
    early = ended_early(folder)
    for sentence in precision_sentences(run):
        say(sentence)
    if not as_json:
        left = f"Report: {report}" if report else f"Counts: {folder.path / 'tally.json'}"
        say(f"\n{left}\nNext: doorbuster rehearse {scenario_path}")
    raise SystemExit(verdict.exit_code if early is None else early)


def ended_early(folder: RunFolder) -> int | None:
    """The exit code of a run that a user or a lost worker has ended; says what is left of it."""
    run = folder.run
    status = run.get("status")
    if status not in ("interrupted", "failed"):
        return None
    done = len(run.get("replication_seeds") or ())
    kept = f"{done} of {run['replications']} sales are kept: {folder.path}"
    if status == "interrupted":
        say(f"Interrupted; {kept}")
        return exit_codes.INTERRUPTED
    say(f"Failed; {kept}")  # The verdict tells the reason.
    return exit_codes.TARGET_FAILED


def simulate(
    file: ScenarioFile,
    settings: RunSettings,
    *,
    replications: int,
    vary: Vary,
    jobs: int | None,
    results: Path,
    engine: EngineOption = "auto",
    cluster: str | None = None,
    precision: Precision | None = None,
    keeps_records: bool = True,
) -> RunFolder:
    """Simulate into a new run folder, with progress on stderr.

    What Ctrl-C, a lost worker or a full disk leaves is kept; of the first two the folder tells.
    """
    from doorbuster.cli.live_only import say_live_only
    from doorbuster.plan import build_plan
    from doorbuster.records.run_folder import RunFolder
    from doorbuster_sim import choose_engine, simulate_run
    from doorbuster_sim.crews import WorkersLostError

    # What cannot be run is refused before there is a folder.
    timetable = settings.timetable(file)
    visitor_count, plan = int(timetable.expected_visitors), None
    if keeps_records or visitor_count < BUILT_AHEAD_VISITORS:
        plan = build_plan(file.scenario, settings.seed, timetable)
        visitor_count = plan.visitor_count
    say_live_only(file.scenario.payments)
    job_count = jobs or os.cpu_count() or 1
    at_most = "at most " if precision else ""
    with _crew(cluster) as crew:
        choice = choose_engine(
            engine,
            visitor_count=visitor_count * replications,
            job_count=min(replications, crew.worker_count if crew else job_count),
            keeps_code=crew is None,
            scenario=file.scenario,
        )
        folder = RunFolder.create(
            results, scenario_name=file.scenario.name, world="sim", seed=settings.seed
        )
        if engine != "simpy":
            say(f"Engine: {choice.engine}" + (f" ({choice.reason})" if choice.reason else ""))
        with progress("simulating") as advance:

            def show(done: int, total: int, within: float) -> None:
                advance((done + within) / total, f"{done} of {at_most}{total} sales")

            try:
                simulate_run(
                    folder,
                    file,
                    settings,
                    replications=replications,
                    vary=vary,
                    engine=choice.engine,
                    job_count=job_count,
                    precision=precision,
                    crew=crew,
                    plan=plan,
                    keeps_records=keeps_records,
                    progress=show,
                )
            except (KeyboardInterrupt, WorkersLostError):
                pass  # The folder says so.
            except OSError:
                say(f"{len(folder.audits)} of {replications} sales are kept: {folder.path}")
                raise
    return folder


@contextmanager
def _crew(cluster: str | None) -> Iterator[Any]:
    """The cluster, if one is wanted; None leaves the simulation to this machine."""
    if cluster is None:
        yield None
        return
    from doorbuster_sim.dask_crew import ClusterError, ClusterMissingError, dask_cluster

    if not cluster.startswith(("tcp://", "tls://")):
        sentence = f"--cluster {cluster}: is no address of a scheduler; write tcp://HOST:PORT"
        stop(exit_codes.USAGE, sentence)
    try:
        with dask_cluster(cluster) as crew:
            yield crew
    except ClusterMissingError as error:
        stop(exit_codes.USAGE, str(error))
    except ClusterError as error:
        stop(exit_codes.TARGET_FAILED, str(error))
