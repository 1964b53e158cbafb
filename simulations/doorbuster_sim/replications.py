"""Replications: the same scenario under several seeds, on a crew of workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from doorbuster.measures.objective_values import tally_plan_of
from doorbuster.measures.sale_values import SaleMeasure, standard_measures
from doorbuster.measures.stopping import Precision, StoppingRule
from doorbuster.plan import Plan, Timetable, build_plan
from doorbuster.records.run_facts import RunSettings, run_facts
from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import book_names
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_sim.collecting import Collector
from doorbuster_sim.crews import Crew, OwnProcess, WorkersLostError
from doorbuster_sim.engines import Engine
from doorbuster_sim.in_order import run_in_order
from doorbuster_sim.interrupts import SignalsHeld
from doorbuster_sim.process_crew import process_pool
from doorbuster_sim.replication import (
    Replication,
    Task,
    Vary,
    compile_ahead,
    simulate_replication,
)

Progress = Callable[[int, int, float], None]
"""Called with finished replications, all replications, and the simulated share of the current one
where it is known (one process), else 0."""

POOL_FROM_VISITORS: dict[Engine, int] = {"simpy": 10_000, "compiled": 3_000_000}
"""Below this many visitors in all, starting processes takes longer than the simulation."""


def simulate_run(
    folder: RunFolder,
    file: ScenarioFile,
    settings: RunSettings,
    *,
    replications: int = 1,
    vary: Vary = "crowd",
    engine: Engine = "simpy",
    job_count: int = 1,
    precision: Precision | None = None,
    crew: Crew | None = None,
    plan: Plan | None = None,
    keeps_records: bool = True,
    progress: Progress | None = None,
) -> None:
    """Simulate every replication and fill the run folder.

    engine: as `choose_engine` says. plan: of these settings, where it is built already.
    keeps_records: else visits and requests are counted while they happen, in memory that does not
    grow with the crowd, and the folder holds the tallies.
    precision: end as soon as these means are so sure; replications is then the maximum. crew: who
    simulates; without one, job_count processes of this machine. Range: replications,
    job_count >= 1. The records depend on neither. Whatever ends the run early, what was finished
    before without a gap is kept and the run is marked. Raises: KeyboardInterrupt;
    WorkersLostError when processes died; OSError naming the file that could not be written.
    """
    timetable = settings.timetable(file)
    if keeps_records and plan is None:
        plan = build_plan(file.scenario, settings.seed, timetable)
    facts = run_facts(file, settings, timetable, plan, "sim")
    facts |= {"engine": engine, "replications": replications, "vary": vary}
    folder.write_run(facts | {"records": "all" if keeps_records else "none"})
    wanted = [measure for measure, _ in precision.goals] if precision else []
    measures = tuple(dict.fromkeys((*wanted, *standard_measures(file.scenario))))
    tally = None
    if not keeps_records:
        tally = tally_plan_of(file.scenario, timetable.phases, settings.compress, measures)
    task = Task(file, settings, vary, engine, measures, tally)
    jobs = min(job_count, replications)
    visitor_count = plan.visitor_count if plan else timetable.expected_visitors
    if visitor_count * replications < POOL_FROM_VISITORS[engine]:
        jobs = 1
    books = book_names(file.scenario.shop) if keeps_records else ()
    with _recording(folder, measures, precision, replications, books) as keep:
        if engine == "compiled" and crew is None and jobs > 1:
            compile_ahead(task, timetable)
        with _crew(crew, jobs) as chosen:
            show = _Shown(progress, replications, timetable)
            within = show.within if isinstance(chosen, OwnProcess) else None
            work = partial(simulate_replication, task, progress=within)
            run_in_order(chosen, work, replications, keep, show.finished)


@contextmanager
def _crew(crew: Crew | None, job_count: int) -> Iterator[Crew]:
    if crew is not None:
        yield crew
    elif job_count == 1:
        yield OwnProcess()
    else:
        with process_pool(job_count) as pool:
            yield pool


@contextmanager
def _recording(
    folder: RunFolder,
    measures: Sequence[SaleMeasure],
    precision: Precision | None,
    replications: int,
    books: Sequence[str],
) -> Iterator[Callable[[Replication], bool]]:
    """Gives what keeps a replication and says whether it was the last; then closes the records."""
    started = time.perf_counter()
    collector = Collector(folder, measures, books=books)
    reached = _Reached(precision)

    def keep(replication: Replication) -> bool:
        collector.keep(replication)
        return reached.is_enough(replication.values)

    def finish(status: str, **facts: Any) -> None:
        wall_s = round(time.perf_counter() - started, 3)
        collector.finish(status=status, wall_s=wall_s, **reached.facts(replications), **facts)

    try:
        yield keep
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        reasons = {} if status == "interrupted" else {"reasons": [_reason(error)]}
        # A disk that is full is full here, too; the first error says so.
        with suppress(OSError), SignalsHeld():
            finish(status, **reasons)
        raise
    with SignalsHeld():
        finish("complete", replications=collector.kept_count)


def _reason(error: BaseException) -> str:
    if isinstance(error, WorkersLostError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


class _Reached:
    """Watches the precision, if one is wanted."""

    def __init__(self, precision: Precision | None) -> None:
        self._precision = precision
        self._rule = StoppingRule([goal for _, goal in precision.goals] if precision else [])
        self._is_enough = False

    def is_enough(self, values: Sequence[float]) -> bool:
        if self._precision is None:
            return False
        # The wanted measures come first among the task's.
        self._is_enough = self._rule.is_enough(values[: len(self._precision.goals)])
        return self._is_enough

    def facts(self, replications_max: int) -> dict[str, Any]:
        """What run.json says about it."""
        if self._precision is None:
            return {}
        goals = [{"name": measure.name, **asdict(goal)} for measure, goal in self._precision.goals]
        return {
            "precision": {
                "reached": self._is_enough,
                "replications_max": replications_max,
                "goals": goals,
            }
        }


class _Shown:
    """Turns what is finished and how far the current sale is into calls of `progress`."""

    def __init__(self, progress: Progress | None, replications: int, timetable: Timetable) -> None:
        self._progress, self._replications = progress, replications
        self._start_s, self._end_s = timetable.start_s, timetable.end_s
        self._finished = 0

    def finished(self, count: int) -> None:
        self._finished = count
        self._tell(0.0)

    def within(self, now_s: float) -> None:
        self._tell((now_s - self._start_s) / (self._end_s - self._start_s))

    def _tell(self, share: float) -> None:
        if self._progress is not None:
            self._progress(self._finished, self._replications, share)
