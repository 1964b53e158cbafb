"""What the verbs that run servers share: the clock of the sale, and the wait for Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import click

from doorbuster import exit_codes
from doorbuster.cli.console import stop

PORT = click.IntRange(0, 65535)
_WATCH_S = 0.2


def opening(opens_in: str) -> float:
    """When the sale opens, in seconds since the epoch, by the text of `--opens-in`."""
    from doorbuster.scenario.durations import parse_duration

    try:
        return time.time() + parse_duration(opens_in)
    except ValueError as error:
        message = f"{opens_in!r} {error}"
        raise click.BadParameter(message, param_hint="--opens-in") from None


def watch(find_dead: Callable[[], str | None]) -> None:
    """Return at Ctrl-C or SIGTERM; fail when a server dies."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while (dead := find_dead()) is None:
            time.sleep(_WATCH_S)
    except KeyboardInterrupt:
        return
    stop(exit_codes.TARGET_FAILED, dead)
