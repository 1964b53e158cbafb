"""All trials of a study: each question is simulated once, and the sales are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from doorbuster.capacity.levers import Variant
from doorbuster.capacity.trial import Trial

Question = tuple[Variant, float]
"""A variant and the load factor at which it is tried."""
Simulate = Callable[[Sequence[Question]], Iterable[tuple[int, Trial]]]
"""Simulates questions in any order; gives each answer with the place of its question."""


class SalesSpentError(Exception):
    """The study would simulate more sales than it may."""


class Trials:
    """Asks the simulation, remembers the answers, and keeps within a number of sales."""

    def __init__(
        self,
        simulate: Simulate,
        *,
        replications: int,
        max_sales: int,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """told: called after each trial with the number of trials so far."""
        self._simulate = simulate
        self._replications = replications
        self._max_sales = max_sales
        self._told = told
        self._known: dict[Question, Trial] = {}

    @property
    def sale_count(self) -> int:
        """Sales simulated so far."""
        return sum(trial.sale_count for trial in self._known.values())

    def ask(self, questions: Sequence[Question]) -> list[Trial]:
        """The answers in the order of the questions. Raises: SalesSpentError before simulating."""
        new = [q for q in dict.fromkeys(questions) if q not in self._known]
        # A trial may need as many sales again before a shop without limits.
        most = 2 * self._replications * len(new)
        if self.sale_count + most > self._max_sales:
            message = f"at most {self._max_sales:,} sales may be simulated"
            raise SalesSpentError(message)
        if new:
            for place, trial in self._simulate(new):
                self._known[new[place]] = trial
                self._told(len(self._known))
        return [self._known[question] for question in questions]

    def known(self, variant: Variant, load_factor: float) -> Trial | None:
        """What was asked before, without asking."""
        return self._known.get((variant, load_factor))

    def of(self, variant: Variant) -> Iterator[tuple[float, Trial]]:
        """All trials of a variant by rising load."""
        mine = [(factor, trial) for (v, factor), trial in self._known.items() if v == variant]
        yield from sorted(mine, key=lambda pair: pair[0])
