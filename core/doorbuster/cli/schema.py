"""`doorbuster schema`: the scenario format for editors and for people."""

from __future__ import annotations

from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.console import say, stop

COMMITTED_SCHEMA = Path("scenarios/scenario.schema.json")

EXAMPLES = """\b
Examples:
  doorbuster schema > scenarios/scenario.schema.json
  doorbuster schema --page > docs/scenario.md
  doorbuster schema --check
"""


@click.command(epilog=EXAMPLES)
@click.option("--page", is_flag=True, help="Print the reference page (Markdown) instead.")
@click.option("--check", is_flag=True, help="Compare with the committed file; exit 1 if it is old.")
@click.option(
    "--file",
    "committed",
    type=click.Path(path_type=Path, dir_okay=False),
    default=COMMITTED_SCHEMA,
    show_default=True,
    help="The committed file that --check reads.",
)
def command(page: bool, check: bool, committed: Path) -> None:
    """Print the JSON Schema of scenario files, or check the committed one."""
    from doorbuster.scenario.reference import reference_page
    from doorbuster.scenario.schema import schema_text

    text = reference_page() if page else schema_text()
    if not check:
        click.echo(text, nl=False)
        return
    renew = f"run: doorbuster schema {'--page ' if page else ''}> {committed}"
    try:
        found = committed.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        stop(exit_codes.USAGE, f"{committed}: cannot be read ({error}); {renew}")
    if found != text:
        stop(exit_codes.FAILED, f"{committed}: is not what the models generate; {renew}")
    say(f"{committed}: is what the models generate.")
