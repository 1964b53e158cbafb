"""`doorbuster report`: draws the report of a run again, without running anything."""

from __future__ import annotations

from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.console import handles_user_errors, say, stop
from doorbuster.cli.settings import results_option

EXAMPLES = """\b
Examples:
  doorbuster report latest
  doorbuster report results/demo/20261122T120000Z-live-1 --with latest-sim
  doorbuster report latest-live --output report.html
"""


@click.command(epilog=EXAMPLES)
@click.argument("run")
@click.option(
    "--with", "other", metavar="OTHER", default=None, help="A second run to draw beside it."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File to write.  [default: report.html in the run folder]",
)
@click.option(
    "--allow-different",
    is_flag=True,
    help="Draw runs of different scenarios, seeds or loads beside each other all the same.",
)
@results_option
@handles_user_errors
def command(
    run: str, other: str | None, output: Path | None, allow_different: bool, results: Path
) -> None:
    """Draw the report of a run again, alone or beside another run.

    RUN and OTHER are run folders, or latest, latest-sim, latest-live.
    """
    from doorbuster.cli.run_argument import find_run
    from doorbuster.comparison.comparison import differences
    from doorbuster.report import write_report

    primary = find_run(run, results)
    second = None if other is None else find_run(other, results)
    if second is not None and not allow_different and (found := differences(primary, second)):
        hint = "to draw them beside each other all the same, give --allow-different"
        stop(exit_codes.USAGE, "\n".join([*found, hint]))
    path = write_report(output or primary.path / "report.html", primary, second)
    click.echo(str(path))
    say("It is one file: open it in a browser, mail it, print it.")
