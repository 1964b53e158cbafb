"""`doorbuster rehearse`: simulate, serve, load, compare, report; the main job."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.settings import results_option, run_settings
from doorbuster.cli.simulate import simulate

if TYPE_CHECKING:
    from doorbuster.comparison import Comparison
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.records.run_folder import RunFolder
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
    "--profile",
    default="reference",
    show_default=True,
    help="Target profile: a file, or the name of a shipped one.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that generate load.",
)
@click.option("--allow-host", "allow_hosts", multiple=True, help="A host that may be loaded.")
@click.option(
    "--admin-token",
    envvar="DOORBUSTER_ADMIN_TOKEN",
    default=None,
    help="For the target's reset and audit hooks.  [env: DOORBUSTER_ADMIN_TOKEN]",
)
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    scenario_path: Path,
    settings: RunSettings,
    replications: int,
    results: Path,
    as_json: bool,
    **live: Any,
) -> None:
    """Rehearse the sale: simulated, then live with the same crowd, then compared.

    Without --target it starts the reference shop and its payment provider for the occasion.
    """
    from doorbuster.scenario.reading import read_scenario

    file = read_scenario(scenario_path)
    try:
        say(f"1/3  Simulating {file.scenario.name}, {replications} times the same crowd ...")
        simulated = simulate(
            file, settings, replications=replications, vary="system", jobs=None, results=results
        )
        with _target(file, settings, **live) as (target, token):
            say(f"2/3  The same crowd, live, against {target} ...")
            lived = _load(file, settings, results, {**live, "target": target, "admin_token": token})
    except KeyboardInterrupt:
        stop(exit_codes.INTERRUPTED, "Interrupted; what was recorded is kept.")
    say("3/3  Comparing ...")
    _conclude(simulated, lived, as_json=as_json)


@contextmanager
def _target(
    file: ScenarioFile,
    settings: RunSettings,
    *,
    target: str | None,
    admin_token: str | None,
    **_: Any,
) -> Iterator[tuple[str, str | None]]:
    """The user's shop, or the reference shop in a folder of its own for as long as needed."""
    if target is not None:
        yield target, admin_token
        return
    from doorbuster_shop.running import ShopStartError, running_shop

    with tempfile.TemporaryDirectory(prefix="doorbuster-shop-") as folder:
        try:
            with running_shop(file.path, seed=settings.seed, folder=Path(folder)) as shop:
                yield shop.url, shop.admin_token
        except ShopStartError as error:
            stop(exit_codes.TARGET_FAILED, str(error))


def _load(
    file: ScenarioFile, settings: RunSettings, results: Path, options: dict[str, Any]
) -> RunFolder:
    """The live run's folder; ends the command where there is nothing to judge."""
    from doorbuster.cli.load import load
    from doorbuster.records.run_folder import RunFolder
    from doorbuster_load.launch import LiveOptions

    run = load(file.path, settings, LiveOptions(**options), results)
    for sentence in run.sentences:
        say(sentence)
    if run.folder is None or run.exit_code in (exit_codes.USAGE, exit_codes.INTERRUPTED):
        raise SystemExit(run.exit_code)
    return RunFolder.open(run.folder)


def _conclude(simulated: RunFolder, lived: RunFolder, *, as_json: bool) -> None:
    """Judge both runs, compare them, draw the report; the verdict comes last."""
    from doorbuster.comparison import compare
    from doorbuster.report import write_report
    from doorbuster.verdict import judge

    verdicts = judge(simulated), judge(lived)
    comparison = compare(simulated, lived)
    report = write_report(lived.path / "report.html", lived, simulated)
    exit_code = next((v.exit_code for v in reversed(verdicts) if v.exit_code), exit_codes.PASS)
    if as_json:
        print_json(
            {
                "exit_code": exit_code,
                "simulated": {"folder": str(simulated.path), "verdict": verdicts[0].to_json()},
                "live": {"folder": str(lived.path), "verdict": verdicts[1].to_json()},
                "comparison": comparison.to_json(),
                "report": str(report),
            }
        )
    else:
        _print(verdicts, comparison, report)
    raise SystemExit(exit_code)


def _print(verdicts: tuple[Verdict, Verdict], comparison: Comparison, report: Path) -> None:
    from rich.console import Console

    from doorbuster.comparison.table import print_comparison

    simulated, lived = verdicts
    print_comparison(comparison, Console())
    click.echo("\nSimulated")
    for line in simulated.lines():
        click.echo(f"  {line}")
    click.echo("\nLive")
    for line in lived.lines():
        click.echo(f"  {line}")
    say(f"\nReport: {report}\nNext: open it in a browser, or rehearse at another --load-factor.")
