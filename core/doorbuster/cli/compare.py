"""`doorbuster compare`: where two runs agree, where they differ, and why."""

from __future__ import annotations

from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.console import handles_user_errors, print_json, product_console, stop
from doorbuster.cli.settings import results_option

EXAMPLES = """\b
Examples:
  doorbuster compare latest-sim latest-live
  doorbuster compare results/demo/20261122T120000Z-sim-1 results/demo/latest
  doorbuster compare latest-sim latest-live --json | jq .diagnosis
"""


@click.command(epilog=EXAMPLES)
@click.argument("a")
@click.argument("b")
@click.option(
    "--allow-different",
    is_flag=True,
    help="Compare runs of different scenarios, seeds or loads all the same.",
)
@click.option(
    "--beyond",
    type=click.FloatRange(0, 100),
    default=3.0,
    show_default=True,
    metavar="POINTS",
    help="Flag outcome shares that are further apart, in percentage points.",
)
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    a: str, b: str, allow_different: bool, beyond: float, results: Path, as_json: bool
) -> None:
    """Compare two runs, simulated or live; every difference is B minus A.

    A and B are run folders, or latest, latest-sim, latest-live.
    """
    from doorbuster.cli.run_argument import find_run
    from doorbuster.comparison import ComparisonError, compare
    from doorbuster.comparison.table import print_comparison

    runs = find_run(a, results), find_run(b, results)
    try:
        comparison = compare(*runs, allow_different=allow_different, beyond=beyond / 100)
    except ComparisonError as error:
        stop(exit_codes.USAGE, str(error))
    if as_json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison, product_console())
