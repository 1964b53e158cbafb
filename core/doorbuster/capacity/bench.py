"""The bench of a study: its trials, its levers with their costs, and how far the work is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from doorbuster.capacity.bottleneck import suspects_of
from doorbuster.capacity.findings import Capacity
from doorbuster.capacity.levers import Variant, levers_of
from doorbuster.capacity.search import Bracket, in_step, search_up
from doorbuster.capacity.trial import Trial
from doorbuster.capacity.trials import Simulate, Trials

SWEEP_POINTS = 16
AS_IS: Variant = ()

Stage = Literal["sweep", "breaks", "bottleneck", "one_more", "frontier"]
Told = Callable[[float, str], None]
"""Called with the share of the work that is done, and what is being done."""
_BISECTIONS = 12
_FRONTIER_ROUNDS = 4


class Bench:
    """Asks for trials on behalf of all stages, and tells how far they are."""

    def __init__(self, found: Capacity, simulate: Simulate, told: Told) -> None:
        self.found = found
        self.levers = levers_of(found.scenario)
        settings = found.settings
        self.costs = {lever: settings.costs.get(lever.id, 1.0) for lever in self.levers}
        self.trials = Trials(
            simulate,
            replications=settings.replications,
            max_sales=settings.max_sales,
            told=self._tell,
        )
        self._told = told
        self._stage: Stage = "sweep"
        self._expected = 1
        self._done = self._begun_at = 0

    @property
    def base(self) -> Bracket:
        """Where the scenario as it is breaks; only after it is known to break."""
        assert self.found.bracket is not None
        assert self.found.bracket.broke is not None
        return self.found.bracket

    def begin(self, stage: Stage) -> None:
        """A new stage; guesses the trials still to come, for the time left."""
        levers, suspects = len(self.levers), len(suspects_of(self.found.scenario))
        rest: dict[Stage, int] = {
            "sweep": SWEEP_POINTS,
            "breaks": _BISECTIONS,
            "bottleneck": suspects + _BISECTIONS,
            "one_more": levers,
            "frontier": _FRONTIER_ROUNDS * levers,
        }
        stages = list(rest)
        self._expected = self._done + sum(rest[s] for s in stages[stages.index(stage) :])
        self._stage, self._begun_at = stage, self._done

    def expect(self, fraction: float) -> None:
        """So much of this stage is done: the rest will take trials in proportion."""
        if fraction > 0:
            here = self._done - self._begun_at
            self._expected = self._done + round(here * (1 - fraction) / fraction)

    def _tell(self, trial_count: int) -> None:
        self._done = trial_count
        self._told(min(trial_count / max(self._expected, 1), 0.99), self._stage)

    def trial(self, variant: Variant, load_factor: float) -> Trial:
        """One trial."""
        [trial] = self.trials.ask([(variant, load_factor)])
        return trial

    def excess(self, variant: Variant, bracket: Bracket) -> float:
        """How far a variant is beyond the limit at the load that broke before it."""
        assert bracket.broke is not None
        return self.trial(variant, bracket.broke).reading.excess

    def holds(self, variants: Sequence[Variant], load_factor: float) -> list[bool]:
        """Whether each variant keeps the limits at a load."""
        trials = self.trials.ask([(variant, load_factor) for variant in variants])
        return [trial.reading.excess <= 0 for trial in trials]

    def search(
        self, variants: Sequence[Variant], start: Bracket, brackets: dict[Variant, Bracket]
    ) -> None:
        """Where each variant breaks, from where it broke before; fills `brackets` as it finds."""
        settings = self.found.settings
        searches = {
            variant: search_up(start, settings.high, precision=settings.precision)
            for variant in dict.fromkeys(variants)
        }
        in_step(
            searches,
            lambda questions: [trial.reading for trial in self.trials.ask(questions)],
            brackets,
        )
