"""When enough sales were simulated: the sequential half-width rule with look-ahead.

Source: K. Hoad, S. Robinson, R. Davies, "Automating DES output analysis: how many replications to
run", Winter Simulation Conference 2007; the relative rule gamma / (1 + gamma) as in A. Law,
Simulation Modeling and Analysis, section 9.4.1.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from doorbuster.measures.columns import Floats
from doorbuster.measures.intervals import mean_interval
from doorbuster.measures.sale_values import SaleMeasure

SALES_MIN = 5
"""Fewer values say too little about their own spread."""
LOOK_AHEAD_SALES = 5
"""So many more sales must agree that it was enough, for every hundred before them."""


@dataclass(frozen=True)
class Goal:
    """How sure the mean of one measure must be: the half-width of its interval.

    relative: half_width is a fraction of the mean, in (0, 1); else it is in the measure's unit.
    """

    half_width: float
    relative: bool

    def is_met(self, values: Floats, *, confidence: float = 0.95) -> bool:
        """Whether the mean of these values, one a sale, is as sure as wanted.

        t s / sqrt(n) <= half_width, or relatively t s / sqrt(n) / |mean| <= g / (1 + g): the
        error relative to the true mean is then at most g. A missing value (NaN) meets nothing.
        """
        interval = mean_interval(values, confidence=confidence)
        if len(values) < SALES_MIN or interval is None:
            return False
        reached = (interval.high - interval.low) / 2
        if not self.relative:
            return reached <= self.half_width
        return reached <= self.half_width / (1 + self.half_width) * abs(float(values.mean()))


@dataclass(frozen=True)
class Precision:
    """How sure a run must be, and of what; no measure twice."""

    goals: tuple[tuple[SaleMeasure, Goal], ...]


def look_ahead(sale_count: int) -> int:
    """Sales to wait after the goals were first met: 5, beyond 100 sales 5 for every hundred."""
    return max(LOOK_AHEAD_SALES, math.floor(LOOK_AHEAD_SALES * sale_count / 100))


class StoppingRule:
    """Is told the values of one sale after the other and says when they are enough.

    The answer depends on the sales in their order and on nothing else.
    """

    def __init__(self, goals: Sequence[Goal], *, confidence: float = 0.95) -> None:
        self._goals, self._confidence = goals, confidence
        self._columns = [array("d") for _ in goals]
        self._met_since: int | None = None

    def is_enough(self, values: Sequence[float]) -> bool:
        """Whether all goals are met after this sale and were met over the whole look-ahead.

        Range: values in the order of the goals.
        """
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        count = len(self._columns[0])
        met = all(
            goal.is_met(np.array(column), confidence=self._confidence)
            for goal, column in zip(self._goals, self._columns, strict=True)
        )
        if not met:
            self._met_since = None
            return False
        self._met_since = self._met_since or count
        return count - self._met_since >= look_ahead(self._met_since)


def sales_needed(sales: Iterable[Sequence[float]], goals: Sequence[Goal]) -> int | None:
    """After how many of these sales the rule stops; None when it never does."""
    rule = StoppingRule(goals)
    for count, values in enumerate(sales, start=1):
        if rule.is_enough(values):
            return count
    return None
