"""`--precision` and `--measure`: how sure a simulation must be, and of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from doorbuster import exit_codes
from doorbuster.cli.console import stop

if TYPE_CHECKING:
    from doorbuster.measures.sale_values import SaleMeasure
    from doorbuster.measures.stopping import Goal, Precision
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.scenario.reading import ScenarioFile


class ShareType(click.ParamType[float]):
    """`5%` or `0.05`."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A number between 0 and 1, both excluded."""
        try:
            return read_share(str(value))
        except ValueError:
            self.fail(f"{value!r} is no share above 0 and below 1; write 5% or 0.05", param, ctx)


def read_share(text: str) -> float:
    """A share above 0 and below 1. Raises: ValueError."""
    number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 < number < 1:
        raise ValueError(text)
    return number


def read_precision(
    file: ScenarioFile, settings: RunSettings, share: float | None, wanted: tuple[str, ...]
) -> Precision | None:
    """What the options ask for; None when they ask for nothing. A mistake ends the command.

    wanted: `NAME` or `NAME=HALF_WIDTH`; without any, the measures behind the objectives.
    """
    from doorbuster.measures.sale_values import MeasureError
    from doorbuster.measures.stopping import Precision

    if share is None and not wanted:
        return None
    by_name = {measure.name: measure for measure in _objectives(file, settings)}
    if not wanted and not by_name:
        message = (
            f"{file.path}: --precision has nothing to measure, as the scenario has no objectives "
            "in this run; name something with --measure, such as --measure units-sold"
        )
        stop(exit_codes.USAGE, message)
    goals: dict[SaleMeasure, Goal] = {}
    for text in wanted or by_name:
        try:
            measure, goal = _goal(text, file, by_name, share)
        except (MeasureError, ValueError) as error:
            stop(exit_codes.USAGE, f"--measure {error}")
        goals[measure] = goal
    return Precision(tuple(goals.items()))


def _objectives(file: ScenarioFile, settings: RunSettings) -> list[SaleMeasure]:
    from doorbuster.measures.objective_values import objective_measures

    phases = settings.timetable(file).phases
    return objective_measures(file.scenario, phases, settings.compress)


def _goal(
    text: str, file: ScenarioFile, by_name: dict[str, SaleMeasure], share: float | None
) -> tuple[SaleMeasure, Goal]:
    from doorbuster.measures.sale_values import measure_named
    from doorbuster.measures.stopping import Goal

    name, equals, half_width = text.partition("=")
    measure = by_name.get(name) or measure_named(name, file.scenario)
    if equals:
        return measure, Goal(_half_width(text, half_width, measure.unit), relative=False)
    if share is None:
        message = f"{name}: how sure? add --precision 5% or write {name}={_EXAMPLES[measure.unit]}"
        raise ValueError(message)
    # Half of a share's own size would be nothing near 0, so a share is measured in points.
    return measure, Goal(share, relative=measure.unit != "fraction")


_EXAMPLES = {"s": "20ms", "fraction": "1%", "count": "2", "cents": "500"}


def _half_width(text: str, half_width: str, unit: str) -> float:
    from doorbuster.scenario.durations import parse_duration

    try:
        if unit == "fraction":
            return read_share(half_width)
        number = parse_duration(half_width) if unit == "s" else float(half_width)
        if not 0 < number < float("inf"):
            raise ValueError(half_width)  # noqa: TRY301 - said in one place
    except ValueError:
        message = f"{text}: {half_width!r} is no half-width; write for example {_EXAMPLES[unit]}"
        raise ValueError(message) from None
    return number * 100 if unit == "cents" else number
