"""The group of all verbs. Imports click alone, so that `--help` answers at once."""

from __future__ import annotations

from importlib import import_module

import click

from doorbuster import __version__, exit_codes

VERBS = {
    "init": "Write a scenario to start from.",
    "check": "Validate a scenario and explain its plan.",
    "simulate": "Run the sale in the simulated world.",
    "serve": "Start the reference shop and its payment provider.",
    "provider": "Start the payment provider alone, for a shop of yours.",
    "load": "Run the sale against a live checkout API.",
    "rehearse": "Simulate, serve, load, compare and report: the main job.",
    "compare": "Compare two runs, simulated or live.",
    "capacity": "Search how much load the sale carries, and what limits it.",
    "report": "Draw the report of a run again.",
    "schema": "Print the JSON Schema of scenario files.",
    "doctor": "Tell whether this machine is fit to generate load.",
}
"""Every verb with its line in `--help`; module `doorbuster.cli.<verb>` holds its `command`."""


class LazyGroup(click.Group):
    """Lists all verbs without importing any, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs in the order in which a newcomer needs them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, or None so that click suggests near ones."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"doorbuster.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb. Ctrl-C while it is still being imported ends like any other Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(exit_codes.INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs in `--help`."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  doorbuster rehearse scenarios/demo.yaml",
)
@click.version_option(__version__, prog_name="doorbuster")
def main() -> None:
    """Rehearse a flash sale before it comes: simulated and live, from one scenario file."""
