"""`doorbuster capacity`: how much load the sale carries, what breaks, why, and what would help."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from doorbuster import exit_codes
from doorbuster.cli.console import handles_user_errors, print_json, say, scenario_argument, stop
from doorbuster.cli.progress import progress
from doorbuster.cli.settings import FiniteRange, results_option, run_settings

if TYPE_CHECKING:
    from doorbuster.capacity.findings import Capacity, StudySettings
    from doorbuster.plan import Timetable
    from doorbuster.records.run_facts import RunSettings
    from doorbuster.scenario.model import Scenario
    from doorbuster.scenario.reading import ScenarioFile

EngineOption = Literal["auto", "simpy", "compiled"]
UP_TO_TIMES = 10
"""Without --up-to the search ends at ten times the planned load."""

EXAMPLES = """\b
Examples:
  doorbuster capacity scenarios/demo.yaml
  doorbuster capacity scenarios/demo.yaml --load-factor 30 --up-to 200
  doorbuster capacity scenarios/demo.yaml --cost web.servers=120 --cost payments.channels=900
"""


@click.command(epilog=EXAMPLES)
@scenario_argument
@run_settings
@click.option(
    "--up-to",
    type=FiniteRange(0, min_open=True),
    default=None,
    help="Highest load factor to search.  [default: 10 times the planned one]",
)
@click.option(
    "--replications",
    type=click.IntRange(2, 100),
    default=5,
    show_default=True,
    help="Sales at each load; every variant meets the same crowds.",
)
@click.option(
    "--precision",
    type=FiniteRange(0.005, 0.5),
    default=0.05,
    show_default=True,
    help="How closely a breaking load is narrowed, as a share of it.",
)
@click.option(
    "--cost",
    "costs",
    multiple=True,
    metavar="LEVER=COST",
    help="Cost of one unit of what can be bought, such as web.servers=120; 1 without it.",
)
@click.option(
    "--max-sales",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Sales that the study may simulate at most.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "simpy", "compiled"]),
    default="auto",
    show_default=True,
    help="What runs the model; `auto` takes the compiled engine where it can run.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 512),
    default=None,
    help="Processes to use.  [default: one a processor]",
)
@results_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@handles_user_errors
def command(
    scenario_path: Path,
    settings: RunSettings,
    up_to: float | None,
    replications: int,
    precision: float,
    costs: tuple[str, ...],
    max_sales: int,
    engine: EngineOption,
    jobs: int | None,
    results: Path,
    as_json: bool,
) -> None:
    """Search the load at which the sale breaks, the reason, and what would help.

    The planned load is the scenario's load factor, or --load-factor.
    """
    from doorbuster.capacity.findings import StudySettings
    from doorbuster.capacity.folder import create_study_folder
    from doorbuster.capacity.sentences import terminal_lines
    from doorbuster.capacity.study import lowest_factor
    from doorbuster.capacity.summary import to_json
    from doorbuster.scenario.reading import read_scenario

    file = read_scenario(scenario_path)
    planned = settings.timetable(file)
    prices = _checked(file, costs, planned, up_to)
    high = _highest(planned, up_to)
    question = StudySettings(
        target=planned.load_factor,
        low=lowest_factor(planned),
        high=high,
        precision=precision,
        replications=replications,
        seed=settings.seed,
        max_sales=max_sales,
        engine=_engine(engine, file.scenario),
        costs=prices,
    )
    folder = create_study_folder(results, scenario_name=file.scenario.name, seed=settings.seed)
    found = _study(file, settings, question, folder, jobs or os.cpu_count() or 1)
    page = folder / "report.html"
    if as_json:
        print_json({**to_json(found), "folder": str(folder), "report": str(page)})
    else:
        for line in terminal_lines(found):
            click.echo(line)
        say(f"\nReport: {page}{_next(scenario_path, found)}")
    raise SystemExit(found.exit_code)


def _next(scenario_path: Path, found: Capacity) -> str:
    """The run that shows the break in every detail, where there is one."""
    broke = found.bracket.broke if found.bracket is not None else None
    if broke is None:
        return ""
    return f"\nNext: doorbuster simulate {scenario_path} --load-factor {broke:.3g}"


def _study(
    file: ScenarioFile, settings: RunSettings, question: StudySettings, folder: Path, jobs: int
) -> Capacity:
    """Run the study with progress on stderr; after each stage the folder holds what is known."""
    from concurrent.futures.process import BrokenProcessPool

    from doorbuster.capacity.folder import write_json
    from doorbuster.capacity.page import write_capacity_page
    from doorbuster.capacity.study import study
    from doorbuster.capacity.summary import to_json
    from doorbuster.records.run_folder import machine_facts, text_hash
    from doorbuster_sim.capacity_trials import TrialPool, TrialSettings

    facts = {
        "scenario_path": str(file.path),
        "scenario_text": file.text,
        "scenario_hash": text_hash(file.text),
        "window": settings.window,
        "compress": settings.compress,
        **machine_facts(),
    }

    def keep(found: Capacity) -> None:
        write_json(folder / "capacity.json", {**to_json(found), **facts})

    trial_settings = TrialSettings(
        settings.seed, question.replications, settings.window, settings.compress, question.engine
    )
    try:
        with TrialPool(file.scenario, trial_settings, jobs) as pool, progress("searching") as told:
            timetables = _timetables(file.scenario, settings)
            found = study(file.scenario, question, pool, timetables, told=told, keep=keep)
    except BrokenProcessPool:
        stop(
            exit_codes.TARGET_FAILED,
            "the system ended a process of the study, often for want of memory; take fewer --jobs "
            f"or a lower --up-to. What was found until then: {folder / 'capacity.json'}",
        )
    write_capacity_page(folder / "report.html", found, file.text)
    return found


def _timetables(scenario: Scenario, settings: RunSettings) -> Callable[[float], Timetable]:
    """The timetable at a load factor, under the settings of the command line."""
    from doorbuster.plan import Timetable

    def at(load_factor: float) -> Timetable:
        return Timetable.of(
            scenario, load_factor=load_factor, window=settings.window, compress=settings.compress
        )

    return at


def _engine(wanted: EngineOption, scenario: Scenario) -> Literal["simpy", "compiled"]:
    """The engine that runs, told where it was not named."""
    from doorbuster_sim import choose_engine

    choice = choose_engine(wanted, scenario=scenario)
    if wanted != "simpy":
        say(f"Engine: {choice.engine}" + (f" ({choice.reason})" if choice.reason else ""))
    return choice.engine


# --- what is refused before anything is simulated ---


def _checked(
    file: ScenarioFile, costs: tuple[str, ...], planned: Timetable, up_to: float | None
) -> dict[str, float]:
    """The costs by lever; all mistakes of the question at once, one sentence each."""
    from doorbuster.capacity.study import can_break

    problems = []
    if not can_break(file.scenario):
        problems.append(
            f"{file.path}: objectives: none that the shop's capacity decides; add one of kind "
            "response_time, failed_requests, units_sold or conversion"
        )
    prices, wrong = _prices(file.scenario, costs)
    problems += wrong
    problems += _load_problems(planned, up_to)
    if problems:
        noun = "mistake" if len(problems) == 1 else "mistakes"
        stop(exit_codes.USAGE, *problems, f"{len(problems)} {noun}; nothing was run.")
    return prices


def _prices(scenario: Scenario, costs: tuple[str, ...]) -> tuple[dict[str, float], list[str]]:
    from doorbuster.capacity.levers import levers_of

    known = [lever.id for lever in levers_of(scenario)]
    prices: dict[str, float] = {}
    problems = []
    for text in costs:
        name, _, number = text.partition("=")
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(
                f"--cost: no such lever (got {name!r}); allowed: {', '.join(known)}{hint}"
            )
            continue
        price = _price(number)
        if price is None:
            problems.append(f"--cost: {name} needs a number above 0 (got {number!r})")
        elif name in prices:
            problems.append(f"--cost: {name} is priced twice; give it once")
        else:
            prices[name] = price
    return prices, problems


def _price(text: str) -> float | None:
    try:
        price = float(text)
    except ValueError:
        return None
    return price if isfinite(price) and price > 0 else None


def _load_problems(planned: Timetable, up_to: float | None) -> list[str]:
    from doorbuster.capacity.study import SMALLEST_CROWD
    from doorbuster.plan.plan import MAX_VISITORS

    problems = []
    target, crowd = planned.load_factor, planned.expected_visitors
    if crowd < SMALLEST_CROWD:
        problems.append(
            f"the planned crowd is too small: {crowd:.2g} visitors are expected at load factor "
            f"{target:g}; needed: {SMALLEST_CROWD:g}; take a higher --load-factor or a longer "
            "--window"
        )
    if up_to is not None and up_to <= target:
        problems.append(
            f"--up-to: must lie above the planned load factor {target:g} (got {up_to:g}); "
            "raise it, or lower --load-factor"
        )
    highest = max(up_to or 0.0, target)
    expected = crowd * highest / target
    if expected > MAX_VISITORS:
        problems.append(
            f"the plan is too large: {expected:,.0f} visitors are expected at load factor "
            f"{highest:g}; allowed: {MAX_VISITORS:,}; take a lower one, a window or --compress"
        )
    return problems


def _highest(planned: Timetable, up_to: float | None) -> float:
    """Where the search ends: as asked, else ten times the plan or what can be planned at all."""
    from doorbuster.plan.plan import MAX_VISITORS

    if up_to is not None:
        return up_to
    times = min(UP_TO_TIMES, MAX_VISITORS / planned.expected_visitors)
    return planned.load_factor * times
