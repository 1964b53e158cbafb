"""`doorbuster rehearse`: simulate, serve, load, compare, report; the main job."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

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
from doorbuster.cli.live_options import live_options
from doorbuster.cli.settings import results_option, run_settings
from doorbuster.cli.shop_options import WORKERS, check_store
from doorbuster.cli.simulate import ended_early, simulate

if TYPE_CHECKING:
    from doorbuster.cli.load import LiveEnding
    from doorbuster.comparison import Comparison
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.scenario import Scenario
    from doorbuster.scenario.reading import ScenarioFile
    from doorbuster.verdict import Verdict

EXAMPLES = """\b
Examples:
  doorbuster rehearse scenarios/demo.yaml
  doorbuster rehearse scenarios/demo.yaml --load-factor 3
  doorbuster rehearse my-sale.yaml --target http://127.0.0.1:8080 --profile my-shop.yaml
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@run_settings
@click.option(
    "--replications",
    type=click.IntRange(1, 10_000),
    default=8,
    show_default=True,
    help="How often to simulate the same crowd, with other network and service times.",
)
@click.option("--target", default=None, help="Your shop.  [default: the reference shop]")
@click.option(
    "--store",
    default="sqlite",
    show_default=True,
    metavar="sqlite|postgresql[://...]",
    help="Where the reference shop keeps its sale; see `serve --store`.",
)
@click.option(
    "--redis",
    is_flag=False,
    flag_value="redis",
    metavar="[redis://...]",
    help="Redis for the reference shop; see `serve --redis`.",
)
@click.option(
    "--shop-workers",
    type=WORKERS,
    default=1,
    show_default=True,
    help="Processes of the reference shop.",
)
@live_options
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    scenario_path: Path,
    settings: RunSettings,
    replications: int,
    store: str,
    redis: str | None,
    shop_workers: int,
    results: Path,
    as_json: bool,
    **live: Any,
) -> None:
    """Rehearse the sale: simulated, then live with the same crowd, then compared.

    Without --target it starts the reference shop and its payment provider for the occasion.
    """
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.scenario.reading import read_scenario

    file = read_scenario(scenario_path)
    shop = {"store": store, "redis": redis, "worker_count": shop_workers}
    if live["target"] is None:
        _check_shop(file.scenario, shop)
    if live["without_faults"]:
        whole = file.scenario.model_copy(update={"faults": []})
        file = replace(file, scenario=whole)
    say(f"1/3  Simulating {file.scenario.name}, {replications} times the same crowd ...")
    simulated = simulate(
        file, settings, replications=replications, vary="system", jobs=None, results=results
    )
    early = ended_early(simulated)
    if early is not None:
        _conclude_alone(simulated, early, as_json=as_json)
    with _target(file, settings, shop, **live) as (target, token):
        say(f"2/3  The same crowd, live, against {target} ...")
        run = _load(file, settings, results, {**live, "target": target, "admin_token": token})
    if run.folder is None:
        raise SystemExit(run.exit_code)
    lived = RunFolder.open(run.folder)
    if run.exit_code == exit_codes.INTERRUPTED:
        say("Interrupted; what was recorded is kept.")
        _conclude_alone(lived, exit_codes.INTERRUPTED, as_json=as_json)
    say("3/3  Comparing ...")
    _conclude(simulated, lived, run.exit_code, as_json=as_json)


def _check_shop(scenario: Scenario, options: dict[str, Any]) -> None:
    """What the reference shop cannot give is said before anything is simulated."""
    from doorbuster_shop.possible import ImpossibleError, check_possible

    store, redis = options["store"], options["redis"]
    check_store(store, redis)
    try:
        check_possible(scenario, options["worker_count"], store, redis is not None, True)
    except ImpossibleError as error:
        stop(exit_codes.USAGE, str(error), "Nothing was run.")


@contextmanager
def _target(
    file: ScenarioFile,
    settings: RunSettings,
    shop_options: dict[str, Any],
    *,
    target: str | None,
    admin_token_env: str,
    **_: Any,
) -> Iterator[tuple[str, str | None]]:
    """The user's shop, or the reference shop in a folder of its own for as long as needed."""
    if target is not None:
        yield target, os.environ.get(admin_token_env)
        return
    from doorbuster_shop.running import MissingServerError, ShopStartError, running_shop

    with tempfile.TemporaryDirectory(prefix="doorbuster-shop-") as folder:
        try:
            with running_shop(
                file.path,
                seed=settings.seed,
                folder=Path(folder),
                queue_max=_entry_queue_limit(file.scenario),
                **shop_options,
            ) as shop:
                yield shop.url, shop.admin_token
        except MissingServerError as error:
            stop(exit_codes.USAGE, str(error))
        except ShopStartError as error:
            stop(exit_codes.TARGET_FAILED, str(error))


def _entry_queue_limit(scenario: Scenario) -> int:
    """What the reference shop may have waiting: the limit of the first station of a page."""
    entry = scenario.service.browse[0].station
    limits = {station.name: station.queue_limit for station in scenario.service.stations}
    return max(1, limits[entry])


def _load(
    file: ScenarioFile, settings: RunSettings, results: Path, options: dict[str, Any]
) -> LiveEnding:
    """The live run, with what there is to say about it."""
    from doorbuster.cli.load import load
    from doorbuster_load.launch import LiveOptions

    token_env = options.pop("admin_token_env")
    run = load(file.path, settings, LiveOptions(**options), results, admin_token_env=token_env)
    for sentence in run.sentences:
        say(sentence)
    return run


def _conclude_alone(folder: RunFolder, exit_code: int, *, as_json: bool) -> NoReturn:
    """Judge and draw the one run that an interrupt or a failure has left."""
    from doorbuster.report import write_report
    from doorbuster.verdict import judge_run

    judged = judge_run(folder)
    verdict, report = judged.verdict, write_report(folder.path / "report.html", judged)
    if as_json:
        print_json(
            {
                "exit_code": exit_code,
                folder.run["world"]: {"folder": str(folder.path), "verdict": verdict.to_json()},
                "report": str(report),
            }
        )
    else:
        for line in verdict.lines():
            click.echo(line)
        say(f"\nReport: {report}")
    raise SystemExit(exit_code)


def _conclude(
    simulated: RunFolder, lived: RunFolder, run_exit_code: int, *, as_json: bool
) -> NoReturn:
    """Judge both runs, compare them, draw the report; the verdict comes last."""
    from doorbuster.comparison import ComparisonError, compare_records
    from doorbuster.report import write_report
    from doorbuster.verdict import judge_run

    runs = judge_run(simulated), judge_run(lived)
    verdicts = runs[0].verdict, runs[1].verdict
    try:
        comparison = compare_records(*(run.records for run in runs))
    except ComparisonError as error:
        comparison = None
        say(f"The runs cannot be compared: {error}")
    report = write_report(lived.path / "report.html", runs[1], runs[0])
    judged = next((v.exit_code for v in reversed(verdicts) if v.exit_code), exit_codes.PASS)
    exit_code = run_exit_code or judged
    if as_json:
        print_json(
            {
                "exit_code": exit_code,
                "sim": {"folder": str(simulated.path), "verdict": verdicts[0].to_json()},
                "live": {"folder": str(lived.path), "verdict": verdicts[1].to_json()},
                "comparison": comparison and comparison.to_json(),
                "report": str(report),
            }
        )
    else:
        _print(verdicts, comparison, report)
    raise SystemExit(exit_code)


def _print(verdicts: tuple[Verdict, Verdict], comparison: Comparison | None, report: Path) -> None:
    from doorbuster.comparison.table import print_comparison

    simulated, lived = verdicts
    if comparison is not None:
        print_comparison(comparison, product_console())
    click.echo("\nSimulated")
    for line in simulated.lines():
        click.echo(f"  {line}")
    click.echo("\nLive")
    for line in lived.lines():
        click.echo(f"  {line}")
    say(f"\nReport: {report}\nNext: open it in a browser, or rehearse at another --load-factor.")
