"""`doorbuster check`: is the scenario valid, and what will it do?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from doorbuster import exit_codes
from doorbuster.cli.console import (
    handles_user_errors,
    print_json,
    say,
    scenario_argument,
    stop,
)
from doorbuster.cli.settings import run_settings

if TYPE_CHECKING:
    from doorbuster.plan import Plan, Timetable
    from doorbuster.records.run_facts import RunSettings

MAX_DRAWN_VISITORS = 3_000_000
"""Larger plans are explained without being drawn."""
FORMAT_VERSION = 1

EXAMPLES = """\b
Examples:
  doorbuster check scenarios/demo.yaml
  doorbuster check scenarios/demo.yaml --load-factor 3 --seed 7
  doorbuster check scenarios/match-day.yaml --window 20h..22h --json
  doorbuster check scenarios/match-day.yaml --load-factor 0.02 --plot plan.svg
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@run_settings
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Draw expected and drawn arrivals over time into this SVG file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(scenario_path: Path, settings: RunSettings, plot: Path | None, as_json: bool) -> None:
    """Validate a scenario and explain its plan: crowd, demand, load, doubts."""
    from doorbuster.cli.live_only import say_live_only
    from doorbuster.forecast import forecast
    from doorbuster.forecast.sentences import sentences
    from doorbuster.plan import build_plan
    from doorbuster.plan.plan import MAX_VISITORS
    from doorbuster.scenario.reading import ScenarioError, read_scenario

    try:
        file = read_scenario(scenario_path)
    except ScenarioError as error:
        if not as_json:
            raise
        print_json({"format": FORMAT_VERSION, "valid": False, "problems": error.problems})
        raise SystemExit(exit_codes.USAGE) from None
    timetable = settings.timetable(file)
    expected = forecast(file.scenario, timetable)
    plan = None
    if timetable.expected_visitors <= MAX_DRAWN_VISITORS:
        plan = build_plan(file.scenario, settings.seed, timetable)
    drawn = None if plan is None else plan.visitor_count
    if plot is not None:
        _plot(plot, file.scenario.name, timetable, plan)
    if as_json:
        print_json(
            {
                "format": FORMAT_VERSION,
                "valid": True,
                "problems": [],
                "seed": settings.seed,
                "visitors_drawn": drawn,
                "plan_hash": None if plan is None else plan.hash,
                "live_only": file.scenario.payments.live_only(),
                **expected.to_json(),
            }
        )
        return
    for line in sentences(expected, visitors_drawn=drawn, seed=settings.seed):
        click.echo(line)
    if timetable.expected_visitors > MAX_VISITORS:
        following = f"Too large to run as it is (at most {MAX_VISITORS:,} visitors): take a "
        following += "--window or a lower --load-factor."
    else:
        following = f"Next: doorbuster simulate {scenario_path}"
    say_live_only(file.scenario.payments)
    say(f"\n{scenario_path}: valid. {following}")


def _plot(path: Path, name: str, timetable: Timetable, plan: Plan | None) -> None:
    """Write the picture of the plan, or say why there is none."""
    from doorbuster.plan.picture import bin_plan, draw_plan

    if plan is None:
        stop(
            exit_codes.USAGE,
            f"--plot: {timetable.expected_visitors:,.0f} visitors are too many to draw; allowed: "
            f"{MAX_DRAWN_VISITORS:,}; take a --window or a lower --load-factor",
        )
    title = f"{name}: planned arrivals at load factor {timetable.load_factor:g}"
    path.write_text(draw_plan(bin_plan(timetable, plan), title=title), "utf-8")
    say(f"Plot: {path}")
