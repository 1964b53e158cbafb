"""`doorbuster provider`: the payment provider alone, for any shop, until Ctrl-C."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from doorbuster import exit_codes
from doorbuster.cli.addresses import checked_url
from doorbuster.cli.console import handles_user_errors, print_json, say, scenario_argument, stop
from doorbuster.cli.running import PORT, opening, watch

EXAMPLES = """\b
Examples:
  doorbuster provider scenarios/demo.yaml --port 8090
  doorbuster provider scenarios/demo.yaml --notify-url http://127.0.0.1:8000/payments/hook
  doorbuster provider scenarios/demo.yaml --journal money.jsonl --time-scale 0.01
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@click.option("--port", type=PORT, default=0, help="Port to listen at; 0 takes any free one.")
@click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the books in this file, or go on with those in it. Default: forget them.",
)
@click.option(
    "--fsync",
    is_flag=True,
    help="Force every line of the journal to the disk, so that it survives a power failure, too.",
)
@click.option("--notify-url", help="Where notifications go: your shop's webhook. Default: nowhere.")
@click.option(
    "--notify-secret",
    envvar="DOORBUSTER_NOTIFY_SECRET",
    show_envvar=True,
    help="Shared secret that signs notifications. Default: a new one, printed.",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Factor on the intervals of repeated notifications: 0.01 makes 15 s 150 ms.",
)
@click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="A host besides this machine that --notify-url may name.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True,
    help="Decides which payments are declined, how long they take, and how shops are notified.",
)  # fmt: skip
@click.option("--opens-in", default="0s", show_default=True, help="When the sale opens: 30s, 5m.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@handles_user_errors
def command(
    scenario_path: Path,
    port: int,
    journal_path: Path | None,
    fsync: bool,
    notify_url: str | None,
    notify_secret: str | None,
    time_scale: float,
    allow_hosts: tuple[str, ...],
    seed: int,
    opens_in: str,
    as_json: bool,
) -> None:
    """Start the payment provider of a scenario alone, for a shop of yours; Ctrl-C ends it."""
    from doorbuster_shop.provider.running import Mail, ShopStartError, running_provider

    opens_at_s = opening(opens_in)
    facts, mail = {}, None
    if notify_url is not None:
        notify_url = checked_url(notify_url, allow_hosts, "--notify-url")
        secret = notify_secret or secrets.token_urlsafe(16)
        facts = {"notify_url": notify_url, "notify_secret": secret}
        mail = Mail(notify_url, secret, time_scale)
    if journal_path and not journal_path.resolve().parent.is_dir():
        stop(exit_codes.USAGE, f"--journal: {journal_path.parent}: no such folder; make it first")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="doorbuster-")))
        try:
            provider = stack.enter_context(
                running_provider(
                    scenario_path,
                    seed=seed,
                    log_path=folder / "provider.log",
                    port=port,
                    opens_at_s=opens_at_s,
                    journal_path=journal_path or folder / "provider.jsonl",
                    is_forced=fsync,
                    mail=mail,
                )
            )
        except ShopStartError as error:
            stop(exit_codes.TARGET_FAILED, str(error))
        _tell({"provider": provider.url, **facts}, as_json=as_json)
        say(f"Next: curl {provider.url}/ledger   (docs/provider.md tells all calls)")
        say("Ctrl-C ends the provider.")
        watch(lambda: _dead(provider.exit_code()))


def _dead(exit_code: int | None) -> str | None:
    return None if exit_code is None else f"the payment provider ended with code {exit_code}"


def _tell(facts: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"format": 1, **facts})
    else:
        for name, value in facts.items():
            click.echo(f"{name:14} {value}")
