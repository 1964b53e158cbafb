"""Is an estimate equivalent to a theoretical value? Two one-sided tests (TOST) on independent runs.

A test against theory that passes when theory lies *in* a confidence interval is passed by a blunt
experiment. This one is passed only when the whole interval lies within a margin of the theory:

    |mean - theory| + t(1 - alpha) * standard error < margin.

A model that is off by the margin or more passes with probability alpha at most. How many runs a
right model needs in order to pass is not guessed either: Stein's two-stage rule takes the variance
from a pilot and then as many runs as bring t(1 - alpha) + t(1 - alpha / 2) standard errors below
the margin, so that a right model fails with probability alpha at most. Both hold exactly for
normal run means; each of ours is the mean of thousands of customers.

Sources: D. J. Schuirmann, "A comparison of the two one-sided tests procedure and the power
approach" (1987); C. Stein, "A two-sample test for a linear hypothesis whose power is independent of
the variance" (1945).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from secrets import randbelow

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Run = Callable[[int], Mapping[str, float]]
"""Measured values by name, of one run under a seed."""

ALPHA = 1e-4
"""Per value compared."""
PILOT_RUNS = 40
MOST_RUNS = 4000
FIRST_SEED = randbelow(2**40) if os.environ.get("DOORBUSTER_FRESH", "0") != "0" else 1000
"""Of every anchor; it is shown when one fails."""


@dataclass(frozen=True)
class Theory:
    """A theoretical value and how far from it, as a fraction of it, still counts as equal."""

    value: float
    margin: float = 0.01


TAIL = 0.03
"""The margin of tail probabilities."""


@dataclass(frozen=True)
class Comparison:
    """An estimate with its interval, beside the theory."""

    theory: Theory
    mean: float
    half_width: float
    runs: int

    @property
    def is_equivalent(self) -> bool:
        """Whether the whole interval lies within the margin."""
        margin = self.theory.margin * abs(self.theory.value)
        return abs(self.mean - self.theory.value) + self.half_width < margin

    @property
    def is_different(self) -> bool:
        """Whether the theory lies outside the interval: what a positive control must show."""
        return abs(self.mean - self.theory.value) > self.half_width

    def __str__(self) -> str:
        """For a failed test and for `make theory`."""
        off = self.mean / self.theory.value - 1
        width = self.half_width / abs(self.theory.value)
        return (
            f"{self.mean:.6g} for {self.theory.value:.6g}: off by {off:+.3%} +- {width:.3%}, "
            f"allowed {self.theory.margin:.0%}, {self.runs} runs from seed {FIRST_SEED}"
        )


def adjusted(
    runs: Sequence[Mapping[str, float]], name: str, controls: Sequence[str]
) -> tuple[NDArray[np.float64], float]:
    """The measured values without what chance already explains, and their standard deviation.

    controls: measured beside, with a known mean of 0, such as how many more came than expected.
    Their coefficients and the deviation are those of the pilot. Source: S. S. Lavenberg and
    P. D. Welch, "A perspective on the use of control variables" (1981).
    """
    values = np.array([one[name] for one in runs])
    beside = np.array([[one[control] for control in controls] for one in runs])
    design = np.column_stack([np.ones(PILOT_RUNS), beside[:PILOT_RUNS]])
    coefficients = np.linalg.lstsq(design, values[:PILOT_RUNS], rcond=None)[0]
    rest = values[:PILOT_RUNS] - design @ coefficients
    sd = math.sqrt(rest @ rest / (PILOT_RUNS - 1 - len(controls)))
    return values - beside @ coefficients[1:], sd


def runs_needed(pilot_sd: float, theory: Theory, df: int) -> int:
    """Stein's second stage: runs after which a right model passes with probability 1 - alpha."""
    quantiles = float(stats.t.ppf(1 - ALPHA, df) + stats.t.ppf(1 - ALPHA / 2, df))
    margin = theory.margin * abs(theory.value)
    return max(PILOT_RUNS, math.ceil((pilot_sd * quantiles / margin) ** 2))


def compare(
    run: Run,
    theories: Mapping[str, Theory],
    *,
    controls: Sequence[str] = (),
    most_runs: int | None = None,
) -> dict[str, Comparison]:
    """Compare the means of independent runs with theory, by as many runs as they need.

    run: one run under a seed, and what was measured in it, by name. most_runs: enough to see a
    difference. Raises: AssertionError where an experiment needs more than MOST_RUNS.
    """
    df = PILOT_RUNS - 1 - len(controls)
    runs = [run(FIRST_SEED + number) for number in range(PILOT_RUNS)]
    needed = {
        name: runs_needed(adjusted(runs, name, controls)[1], theory, df)
        for name, theory in theories.items()
    }
    most = max(needed.values()) if most_runs is None else most_runs
    assert most <= MOST_RUNS, f"too blunt: {needed} runs needed"
    runs += [run(FIRST_SEED + number) for number in range(PILOT_RUNS, most)]
    found = {}
    for name, theory in theories.items():
        values, sd = adjusted(runs, name, controls)
        half_width = float(stats.t.ppf(1 - ALPHA, df) * sd / math.sqrt(len(values)))
        found[name] = Comparison(theory, float(values.mean()), half_width, len(values))
    return found


def assert_equivalent(
    run: Run, theories: Mapping[str, Theory], *, controls: Sequence[str] = ()
) -> None:
    """Every measured value is equivalent to its theory."""
    found = compare(run, theories, controls=controls)
    for name, comparison in found.items():
        print(f"{name}: {comparison}")  # noqa: T201 - `make theory` shows it
    failed = [f"{name}: {it}" for name, it in found.items() if not it.is_equivalent]
    assert not failed, "\n".join(failed)
