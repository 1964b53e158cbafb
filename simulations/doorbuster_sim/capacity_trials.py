"""Trials for `doorbuster capacity`: sales of a variant at a load, judged where they were simulated.

A worker returns the judged trial and not the records, which are a thousand times larger. The
sales of a trial stay in one process; the trials of a batch spread over all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from doorbuster.capacity.levers import unlimited, varied
from doorbuster.capacity.trial import Trial, judged, needs_comparison, records_of, trial_of
from doorbuster.capacity.trials import Question
from doorbuster.plan import Timetable, build_plan
from doorbuster.scenario.model import Scenario
from doorbuster_sim.crews import Crew
from doorbuster_sim.engines import Engine
from doorbuster_sim.process_crew import process_pool
from doorbuster_sim.sale import SimulatedSale, simulate_sale
from doorbuster_sim.seeds import replication_seed


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a study share."""

    seed: int
    replications: int
    window: tuple[float, float] | None = None
    compress: float = 1.0
    engine: Engine = "simpy"

    def timetable(self, scenario: Scenario, load_factor: float) -> Timetable:
        """The timetable at a load factor."""
        return Timetable.of(
            scenario, load_factor=load_factor, window=self.window, compress=self.compress
        )


def simulate_trial(scenario: Scenario, settings: TrialSettings, question: Question) -> Trial:
    """One trial.

    Replication k has seed + k at every load and in every variant, so two variants meet the same
    visitors with the same draws (common random numbers).
    """
    variant, load_factor = question
    changed = varied(scenario, variant)
    timetable = settings.timetable(scenario, load_factor)
    sales = _sales(changed, timetable, settings)
    records = records_of(changed, timetable, sales, settings.seed)
    checks = judged(records)
    other = None
    if needs_comparison(changed, checks):
        free = unlimited(scenario)
        other_sales = _sales(free, timetable, settings)
        other = judged(records_of(free, timetable, other_sales, settings.seed))
    return trial_of(records, sales, checks, other)


def _sales(
    scenario: Scenario, timetable: Timetable, settings: TrialSettings
) -> list[SimulatedSale]:
    sales = []
    for number in range(settings.replications):
        seed = replication_seed(settings.seed, number)
        plan = build_plan(scenario, seed, timetable)
        sales.append(
            simulate_sale(
                scenario, plan, timetable, seed=seed, replication=number, engine=settings.engine
            )
        )
    return sales


class TrialPool:
    """Answers batches of questions, in this process or in a pool that lives as long as it."""

    def __init__(self, scenario: Scenario, settings: TrialSettings, job_count: int) -> None:
        self._scenario, self._settings = scenario, settings
        self._job_count = job_count
        self._pool: Crew | None = None
        self._open = ExitStack()

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Trial]]:
        """Each answer as it comes, with the place of its question."""
        if self._pool is None or len(questions) == 1:
            for place, question in enumerate(questions):
                yield place, simulate_trial(self._scenario, self._settings, question)
            return
        futures = {
            self._pool.submit(simulate_trial, self._scenario, self._settings, question): place
            for place, question in enumerate(questions)
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()

    def __enter__(self) -> Self:
        if self._job_count > 1:
            self._pool = self._open.enter_context(process_pool(self._job_count))
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()
