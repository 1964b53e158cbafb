"""Options that the running verbs share: seed, load factor, window, compression, results."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

if TYPE_CHECKING:
    from doorbuster.records.run_facts import RunSettings

P = ParamSpec("P")

MAX_SEED = 2**63 - 1


class FiniteRange(click.FloatRange):
    """A range of numbers; `nan` and `inf` are none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A number that can be calculated with."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, ctx)
        return number


class WindowType(click.ParamType[tuple[float, float]]):
    """`A..B` with durations from the opening, such as `-5s..30s`."""

    name = "window"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Seconds from the opening."""
        from doorbuster.scenario.durations import parse_duration

        if not isinstance(value, str):
            start, end = value
            return float(start), float(end)
        parts = value.split("..")
        try:
            start, end = (parse_duration(part) if part != "0" else 0.0 for part in parts)
        except ValueError:
            self.fail(f"{value!r} is no window; write two durations, such as -5s..30s", param, ctx)
        if end <= start:
            self.fail(f"{value!r} ends before it starts", param, ctx)
        return start, end


def run_settings(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the shared options and hands them over as one `settings` argument."""

    @click.option(
        "--seed",
        type=click.IntRange(0, MAX_SEED),
        default=1,
        show_default=True,
        help="Names every random draw; the same seed gives the same plan.",
    )
    @click.option(
        "--load-factor",
        type=FiniteRange(0, min_open=True),
        default=None,
        help="Multiple of the normal load, instead of the scenario's own.",
    )
    @click.option(
        "--window",
        type=WindowType(),
        default=None,
        metavar="A..B",
        help="Only visitors who arrive in this window, such as -5s..30s.",
    )
    @click.option(
        "--compress",
        type=FiniteRange(1),
        default=1.0,
        show_default=True,
        help="Let the timetable pass this many times faster, with as many fewer "
        "visitors; rates a second stay.",
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any,
        seed: int,
        load_factor: float | None,
        window: tuple[float, float] | None,
        compress: float,
        **kwargs: Any,
    ) -> None:
        from doorbuster.records.run_facts import RunSettings

        settings = RunSettings(seed, load_factor, window, compress)
        function(*args, settings=settings, **kwargs)

    return wrapper


def results_option(function: Callable[P, None]) -> Callable[P, None]:
    """The folder for run folders."""
    return click.option(
        "--results",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("results"),
        show_default=True,
        help="Folder for the run's records.",
    )(function)


__all__ = ["RunSettings", "WindowType", "results_option", "run_settings"]
