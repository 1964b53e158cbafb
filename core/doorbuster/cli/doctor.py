"""`doorbuster doctor`: is this machine fit to generate load?"""

from __future__ import annotations

from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.console import print_json, say

FORMAT_VERSION = 1

EXAMPLES = """\b
Examples:
  doorbuster doctor
  doorbuster doctor --json
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    show_default=True,
    help="Folder for the run's records, whose disk is looked at.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def command(results: Path, as_json: bool) -> None:
    """Look at Python, processors, limits, memory, disk, clock, ports and libraries."""
    from doorbuster.machine import examine

    findings = examine(results)
    failed = [finding for finding in findings if finding.status == "fail"]
    if as_json:
        print_json(
            {
                "format": FORMAT_VERSION,
                "fit": not failed,
                "findings": [finding._asdict() for finding in findings],
            }
        )
    else:
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            click.echo(f"{finding.status:4}  {finding.subject}: {finding.found}{remedy}")
        say(
            f"\n{len(failed)} of {len(findings)} checks failed: this machine is not fit."
            if failed
            else "\nThis machine is fit. Next: doorbuster rehearse scenarios/demo.yaml"
        )
    raise SystemExit(exit_codes.TARGET_FAILED if failed else exit_codes.PASS)
