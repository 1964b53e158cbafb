"""What a capacity study has found, stage by stage; one that was cut short holds the first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from doorbuster import exit_codes
from doorbuster.capacity.bottleneck import Relief, Symptom
from doorbuster.capacity.frontier import FrontierPoint
from doorbuster.capacity.levers import Lever
from doorbuster.capacity.operational import OperationalBound
from doorbuster.capacity.search import Bracket, Direction
from doorbuster.capacity.trial import Trial
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.objectives import Objective

Status = Literal["within", "beyond", "inconclusive"]
Ended = Literal["running", "complete", "sales_spent", "interrupted"]

EXIT_CODES: dict[Status, int] = {
    "within": exit_codes.PASS,
    "beyond": exit_codes.FAILED,
    "inconclusive": exit_codes.INVALID,
}


@dataclass(frozen=True)
class StudySettings:
    """The question that the user asks."""

    target: float
    """Load factor that the campaign needs."""
    low: float
    high: float
    """The searched range of load factors."""
    precision: float
    """A bracket is narrow enough when its upper end is at most this share above its lower end."""
    replications: int
    seed: int
    max_sales: int
    engine: Literal["simpy", "compiled"]
    costs: dict[str, float] = field(default_factory=dict)
    """Cost of one unit of a lever by its id; 1 where it is not given."""


@dataclass(frozen=True)
class ObjectiveBreak:
    """Where one objective breaks over rising loads. sure: passes up to, fails from; 95 % each."""

    objective: Objective
    direction: Direction
    bracket: Bracket
    sure: tuple[float | None, float | None]
    defines_capacity: bool


@dataclass(frozen=True)
class OneMore:
    """What a single purchase buys. implied: a stronger relief of the same gained nothing."""

    lever: Lever
    before: str
    after: str
    cost: float
    bracket: Bracket
    gained: float
    """Growth of the breaking load factor; up to the end of the range where nothing breaks."""
    implied: bool = False

    @property
    def gain_per_cost(self) -> float:
        """Load factor gained a unit of cost."""
        return self.gained / self.cost


@dataclass
class Capacity:
    """All findings. Empty parts were not reached, or there was nothing to find."""

    scenario: Scenario
    settings: StudySettings
    sweep: list[Trial] = field(default_factory=list)
    target: Trial | None = None
    objectives: list[ObjectiveBreak] = field(default_factory=list)
    bracket: Bracket | None = None
    sure: tuple[float | None, float | None] = (None, None)
    bound: OperationalBound | None = None
    knee_response: float | None = None
    """Load factor of the knee of the response time."""
    knee_answers: float | None = None
    """Load factor of the knee of the answers a second."""
    breaking: Trial | None = None
    """The trial at the upper end of the bracket."""
    symptom: Symptom | None = None
    reliefs: list[Relief] = field(default_factory=list)
    causes: list[Relief] = field(default_factory=list)
    """The resource whose relief moves the break; several where none of them moves it alone."""
    together: Bracket | None = None
    """Of several causes: where it breaks once all of them are relieved."""
    beyond_resources: bool = False
    """Even relief of every resource moved nothing: the crowd or the objective is the reason."""
    offers: list[OneMore] = field(default_factory=list)
    frontier: list[FrontierPoint] = field(default_factory=list)
    sale_count: int = 0
    ended: Ended = "running"

    @property
    def first_to_break(self) -> list[ObjectiveBreak]:
        """The objectives that define capacity and break, in the order in which they do.

        Where none fails with confidence, the one furthest beyond its limit at the breaking load.
        """
        breaking = [o for o in self.objectives if o.defines_capacity and o.direction != "down"]
        known = [(o.bracket.broke, o) for o in breaking if o.bracket.broke is not None]
        beyond = {} if self.breaking is None else {o.name: o.beyond for o in self.breaking.broken}
        known.sort(key=lambda pair: (pair[0], -beyond.get(pair[1].objective.name, 0.0)))
        if known or not beyond or self.bracket is None:
            return [objective for _, objective in known]
        worst = max(beyond, key=lambda name: beyond[name])
        return [
            replace(objective, bracket=self.bracket)
            for objective in self.objectives
            if objective.objective.name == worst
        ]

    @property
    def status(self) -> Status:
        """Whether the target lies within capacity."""
        if self.target is None:
            return "inconclusive"
        status = self.target.reading.status
        if status == "fail":
            return "beyond"
        broke = self.bracket.broke if self.bracket is not None else None
        if status == "inconclusive" or (broke is not None and broke <= self.settings.target):
            return "inconclusive"
        return "within"

    @property
    def exit_code(self) -> int:
        """0 within capacity, 1 beyond it, 3 undecided, 130 interrupted."""
        return exit_codes.INTERRUPTED if self.ended == "interrupted" else EXIT_CODES[self.status]
