"""Progress on stderr: one updating line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click

QUIET_S = 10.0
"""Where stderr is no terminal: seconds between two lines."""
TELLING_FRACTION = 0.01
"""Less of the work tells nothing about the time that is left."""


class Advance(Protocol):
    """Tells how far the work is."""

    def __call__(self, fraction: float, note: str = "") -> None:
        """Range: fraction in [0, 1]."""


@contextmanager
def progress(title: str) -> Iterator[Advance]:
    """Show the progress of a piece of work while the block runs."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        yield from _bar(console, title)
    else:
        yield from _lines(title)


def _bar(console: object, title: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    assert isinstance(console, Console)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=1.0, note="")

        def advance(fraction: float, note: str = "") -> None:
            bar.update(task, completed=fraction, note=note)

        yield advance


def _lines(title: str) -> Iterator[Advance]:
    last = time.monotonic()
    begun: tuple[float, float] | None = None

    def advance(fraction: float, note: str = "") -> None:
        nonlocal last, begun
        now = time.monotonic()
        # Compiling and starting processes come before the first word, which so tells no speed.
        begun = (now, fraction) if begun is None or fraction < begun[1] else begun
        if now - last >= QUIET_S:
            last = now
            left = time_left(now - begun[0], fraction - begun[1], 1 - fraction)
            line = f"{title}: {fraction:.0%} {note}".rstrip()
            click.echo(f"{line}, {left} left" if left else line, err=True)

    yield advance


def time_left(passed_s: float, done: float, open_: float) -> str:
    """How long the open fraction takes if it goes on as the done one: `12 s`, `3 min`.

    Empty where too little is done to tell.
    """
    if done < TELLING_FRACTION:
        return ""
    left_s = passed_s * open_ / done
    for size_s, unit in ((3600, "h"), (60, "min")):
        if left_s >= 2 * size_s:
            return f"{left_s / size_s:.0f} {unit}"
    return f"{left_s:.0f} s"
