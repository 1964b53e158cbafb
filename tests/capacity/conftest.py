"""Systems whose breaking load is known, in place of a simulation; and a study over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from doorbuster.capacity.bench import Bench
from doorbuster.capacity.evidence import ChannelEvidence, StationEvidence
from doorbuster.capacity.findings import Capacity, StudySettings
from doorbuster.capacity.levers import varied
from doorbuster.capacity.study import study
from doorbuster.capacity.trial import JudgedObjective, Trial
from doorbuster.capacity.trials import Question
from doorbuster.plan import Timetable
from doorbuster.scenario import Scenario
from doorbuster.scenario.distributions import mean_of
from doorbuster.verdict.checks import Check, Status

Excess = Callable[[Scenario, float], float]
"""How far the first objective lies beyond its limit: of a scenario at a load factor."""
DOUBT = 0.1
"""Nearer to the limit than this nothing is decided, where a system is noisy."""


def settings(**changes: Any) -> StudySettings:
    values: dict[str, Any] = {
        "target": 4.0, "low": 1.0, "high": 64.0, "precision": 0.02, "replications": 2,
        "seed": 1, "max_sales": 100_000, "engine": "simpy",
    }  # fmt: skip
    return StudySettings(**(values | changes))


class FakeSystem:
    """Answers a study's questions by a formula; remembers how often it was asked."""

    def __init__(self, scenario: Scenario, excess: Excess, *, doubt: float = 0.0) -> None:
        self.scenario, self._excess, self._doubt = scenario, excess, doubt
        self.questions: list[Question] = []
        self.interrupt_after: int | None = None

    def __call__(self, questions: Sequence[Question]) -> Iterator[tuple[int, Trial]]:
        for place, question in enumerate(questions):
            if len(self.questions) == self.interrupt_after:
                raise KeyboardInterrupt
            self.questions.append(question)
            yield place, self._trial(question)

    def _trial(self, question: Question) -> Trial:
        scenario, factor = varied(self.scenario, question[0]), question[1]
        excess = self._excess(scenario, factor)
        status: Status = "fail" if excess > self._doubt else "pass"
        if abs(excess) < self._doubt:
            status = "inconclusive"
        check = Check("objective.o", "objective", status, "", {}, value=excess + 1, limit=1.0)
        return Trial(
            load_factor=factor,
            sale_count=2,
            visitors=factor * 100,
            objectives=tuple(
                JudgedObjective(o.name, check, excess, True) for o in scenario.objectives
            ),
            response_p95_s=0.01 * (1 + max(excess, -0.9)),
            response_p95_range_s=(0.005, 0.02),
            answers_per_s=factor,
            offered_per_s=factor,
            unsold_fraction=0.0,
            locked_units=0.0,
            stations=tuple(
                StationEvidence(s.name, None, s.servers, s.queue_limit, factor, 0.5, 3.0, 1.0)
                for s in scenario.service.stations
            ),
            channels=tuple(
                ChannelEvidence(c.name, 10.0, 0.1, 0.0, 0.0, 1.0)
                for c in scenario.payments.channels
            ),
        )

    def study(self, **changes: Any) -> Capacity:
        return study(self.scenario, settings(**changes), self, self.timetable)

    def bench(self, **changes: Any) -> Bench:
        found = Capacity(self.scenario, settings(**changes))
        return Bench(found, self, lambda _share, _note: None)

    def timetable(self, factor: float) -> Timetable:
        return Timetable.of(self.scenario, load_factor=factor)


TWO_STATIONS: dict[str, Any] = {
    "service": {
        "network": "1ms",
        "stations": [{"name": "web", "servers": 2}, {"name": "db", "servers": 2}],
        "browse": [{"station": "web", "time": "2ms"}],
        "reserve": [{"station": "db", "time": "2ms"}],
        "pay": [{"station": "db", "time": "2ms"}],
    },
    "objectives": [{"name": "o", "kind": "failed_requests", "at_most": 0.01}],
}


def carries(scenario: Scenario, name: str, at: float) -> float:
    """Load that a station carries: `at` with two servers and 2 ms, else in proportion."""
    station = next(s for s in scenario.service.stations if s.name == name)
    step = scenario.service.browse if name == "web" else scenario.service.reserve
    return at * (station.servers / 2) * (2e-3 / mean_of(step[0].time))


@pytest.fixture
def two_stations(small_scenario: Callable[..., Scenario]) -> Scenario:
    """A sale whose web tier and database may each be the bottleneck."""
    return small_scenario(**TWO_STATIONS)


@pytest.fixture
def fake() -> type[FakeSystem]:
    """Builds a system that breaks by a formula."""
    return FakeSystem


@pytest.fixture
def station_carries() -> Callable[[Scenario, str, float], float]:
    """The load that a station carries, in proportion to its servers and its speed."""
    return carries
