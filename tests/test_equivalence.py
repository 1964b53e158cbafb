"""The judge of the anchors is judged: it passes what is right and fails what is off or blunt."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from tests.equivalence import PILOT_RUNS, Comparison, Run, Theory, assert_equivalent, compare


def noisy(mean: float, sd: float, suite: int = 0) -> Run:
    """Normal run means with a control that explains most of their noise."""

    def run(seed: int) -> Mapping[str, float]:
        control, rest = np.random.default_rng((suite, seed)).normal(size=2)
        return {"value": mean + sd * (control + 0.5 * rest), "control": float(control)}

    return run


@pytest.mark.parametrize("controls", [(), ("control",)])
@pytest.mark.parametrize(("off", "passes"), [(0.0, True), (0.03, False), (-0.03, False)])
def test_three_per_cent_are_seen(off: float, passes: bool, controls: tuple[str, ...]) -> None:
    """Theory shifted by 3 % fails at a margin of 1 %; unshifted it passes."""
    found = compare(noisy(5.0, 0.1), {"value": Theory(5.0 * (1 + off))}, controls=controls)
    assert found["value"].is_equivalent == passes


def test_a_model_off_by_the_margin_fails() -> None:
    """At the margin itself a model passes with probability alpha."""
    passed = sum(
        compare(noisy(1.01, 0.02, suite), {"value": Theory(1.0)})["value"].is_equivalent
        for suite in range(200)
    )
    assert passed == 0


def test_a_right_model_passes() -> None:
    """In each of 200 suites; a false alarm a test has probability 1e-4."""
    for suite in range(200):
        assert_equivalent(noisy(1.0, 0.02, suite), {"value": Theory(1.0)}, controls=("control",))


def test_runs_are_as_many_as_the_variance_asks_for() -> None:
    few = compare(noisy(1.0, 0.001), {"value": Theory(1.0)})["value"].runs
    many = compare(noisy(1.0, 0.02), {"value": Theory(1.0)})["value"].runs
    controlled = compare(noisy(1.0, 0.02), {"value": Theory(1.0)}, controls=("control",))["value"]
    assert few == PILOT_RUNS < controlled.runs < many


def test_a_blunt_experiment_fails() -> None:
    """An interval around the theory is not enough."""
    assert not Comparison(Theory(1.0), mean=1.0, half_width=0.02, runs=40).is_equivalent
    with pytest.raises(AssertionError, match="too blunt"):
        compare(noisy(1.0, 1.0), {"value": Theory(1.0)})
