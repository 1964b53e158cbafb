"""`doorbuster load`: the sale against a live checkout API."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.live_options import ADMIN_TOKEN_ENV, live_options
from doorbuster.cli.settings import results_option, run_settings

if TYPE_CHECKING:
    from doorbuster.records.run_facts import RunSettings

QUIET_S = 10.0
"""Where stderr is no terminal: seconds between two lines of progress."""
EXAMPLES = """\b
Examples:
  DOORBUSTER_ADMIN_TOKEN=... doorbuster load scenarios/demo.yaml --target http://127.0.0.1:8000
  doorbuster load sale.yaml --target https://staging.example.com --profile shop.yaml \\
      --allow-host staging.example.com
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@click.option("--target", required=True, metavar="URL", help="Base URL of the checkout API.")
@run_settings
@live_options
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    scenario_path: Path,
    settings: RunSettings,
    target: str,
    profile: str,
    workers: int,
    allow_hosts: tuple[str, ...],
    rate_ceiling_per_s: float,
    admin_token_env: str,
    without_faults: bool,
    stop_file: Path | None,
    results: Path,
    as_json: bool,
) -> None:
    """Replay the planned crowd against a live checkout API and judge the run."""
    from doorbuster_load.launch import LiveOptions

    options = LiveOptions(
        target=target,
        profile=profile,
        workers=workers,
        allow_hosts=allow_hosts,
        rate_ceiling_per_s=rate_ceiling_per_s,
        admin_token=os.environ.get(admin_token_env),
        without_faults=without_faults,
        stop_file=stop_file,
    )
    ending = load(scenario_path, settings, options, results, admin_token_env=admin_token_env)
    if ending.folder is None:
        nothing = [] if ending.exit_code == exit_codes.INTERRUPTED else ["Nothing was run."]
        stop(ending.exit_code, *ending.sentences, *nothing)
    for sentence in ending.sentences:
        say(sentence)
    raise SystemExit(_judged(ending.folder, ending.exit_code, as_json=as_json))


class LiveEnding(NamedTuple):
    """How a live run has ended; no folder when nothing was run."""

    folder: Path | None
    exit_code: int
    sentences: list[str]


def load(
    scenario_path: Path,
    settings: RunSettings,
    options: Any,
    results: Path,
    *,
    admin_token_env: str = ADMIN_TOKEN_ENV,
) -> LiveEnding:
    """Replay with progress on stderr; a profile with mistakes ends the command.

    options: a doorbuster_load.launch.LiveOptions. admin_token_env: where its token came from.
    """
    from doorbuster.scenario.reading import read_scenario
    from doorbuster_load.launch import ProfileError, run_live

    file = read_scenario(scenario_path)
    with live_progress() as show:
        try:
            run = run_live(
                file,
                settings,
                options,
                results,
                on_progress=show,
                on_note=say,
                admin_token_env=admin_token_env,
            )
        except ProfileError as error:
            stop(exit_codes.USAGE, *error.problems, "Nothing was run.")
    return LiveEnding(run.folder, run.exit_code, run.sentences)


class LiveProgress(Protocol):
    """What progress lines tell; doorbuster_load.launch.Progress has it."""

    @property
    def at_s(self) -> float:
        """Seconds from the opening."""

    @property
    def left_s(self) -> float:
        """Seconds to the end of the sale."""

    @property
    def planned(self) -> int:
        """Visitors of the plan."""

    @property
    def offered(self) -> int:
        """Visitors whose time has come."""

    @property
    def sent(self) -> int:
        """Visitors who were started."""

    @property
    def in_flight(self) -> int:
        """Visitors under way."""

    @property
    def sold(self) -> int:
        """Visitors who have paid."""

    @property
    def failed(self) -> int:
        """Requests that timed out, were refused as overloaded or ended in an error."""

    @property
    def dropped(self) -> int:
        """Visitors whom the generator could not start."""

    @property
    def dispatch_delay_p99_s(self) -> float:
        """How late requests leave."""


@contextmanager
def live_progress() -> Iterator[Callable[[LiveProgress], None]]:
    """One updating line on a terminal, a plain line every 10 s elsewhere."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain_progress()
        return
    with Live(console=console, refresh_per_second=4, transient=True) as line:
        yield lambda progress: line.update(
            Text(progress_line(progress), no_wrap=True, overflow="ellipsis")
        )


def _plain_progress() -> Callable[[LiveProgress], None]:
    next_s = time.monotonic() + QUIET_S

    def show(progress: LiveProgress) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + QUIET_S
            say(progress_line(progress))

    return show


def progress_line(progress: LiveProgress) -> str:
    """How the run stands, in one line."""
    lost = f" · dropped {progress.dropped}" if progress.dropped else ""
    return (
        f"T{progress.at_s:+.0f}s · offered {progress.offered}/{progress.planned} · "
        f"sent {progress.sent} · in flight {progress.in_flight} · sold {progress.sold} · "
        f"failures {progress.failed} · late p99 {progress.dispatch_delay_p99_s * 1e3:.1f} ms"
        f"{lost} · {progress.left_s:.0f} s left"
    )


def _judged(path: Path, run_exit_code: int, *, as_json: bool) -> int:
    """Print the verdict; the exit code of the run itself comes first when it is not 0."""
    from doorbuster.records.run_folder import RunFolder
    from doorbuster.verdict import judge

    verdict = judge(RunFolder.open(path))
    if as_json:
        print_json({**verdict.to_json(), "folder": str(path), "run_exit_code": run_exit_code})
    else:
        for line in verdict.lines():
            click.echo(line)
        say(f"\nRecords: {path}\nNext: doorbuster report {path}")
    return run_exit_code or verdict.exit_code
