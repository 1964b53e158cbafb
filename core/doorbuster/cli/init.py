"""`doorbuster init`: a commented scenario to start from."""

from __future__ import annotations

from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.console import say, stop

EXAMPLES = """\b
Examples:
  doorbuster init
  doorbuster init scenarios/summer.yaml
"""


@click.command(epilog=EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default=Path("sale.yaml"))
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def command(path: Path, force: bool) -> None:
    """Write a commented scenario to PATH (sale.yaml), to be changed into yours."""
    from doorbuster.scenario.starter import starter_text

    mode = "w" if force else "x"
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(starter_text(path))
    except FileExistsError:
        stop(exit_codes.USAGE, f"{path}: is there already; name another file or add --force")
    except FileNotFoundError:
        stop(exit_codes.USAGE, f"{path.parent}: no such folder; make it first")
    except OSError as error:
        stop(exit_codes.USAGE, f"{path}: cannot be written ({error.strerror or error})")
    click.echo(path)
    say(f"Next: doorbuster check {path}")
