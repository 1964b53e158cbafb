"""The knee: where there is one, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from doorbuster.capacity.knee import knee_of

LOADS = [float(x) for x in range(1, 31)]


def test_the_knee_of_a_queue() -> None:
    """1 / (1 - load): the knee lies where it turns up, between 80 and 97 % of saturation."""
    waits = [1 / (1 - x / 31) for x in LOADS]
    at = knee_of(LOADS, waits, "convex")
    assert at is not None
    assert 0.80 < LOADS[at] / 31 < 0.97


def test_the_knee_of_the_answers_is_where_they_stop_growing() -> None:
    at = knee_of(LOADS, [min(x, 12.0) for x in LOADS], "concave")
    assert at is not None
    assert LOADS[at] == 12.0


@pytest.mark.parametrize("bend", ["convex", "concave"])
@pytest.mark.parametrize("seed", range(20))
def test_a_flat_curve_with_noise_has_no_knee(bend: str, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, len(LOADS))
    waits = (1.0 + np.abs(noise)).tolist()
    assert knee_of(LOADS, waits, bend) is None  # type: ignore[arg-type]


def test_a_bend_that_does_not_double_the_curve_is_no_knee() -> None:
    """Without that rule the same bend, on a smaller foot, is one."""
    bend = [0.0 if x < 20 else x - 20 for x in LOADS]
    assert knee_of(LOADS, [1.0 + b for b in bend], "convex") is not None
    assert knee_of(LOADS, [100.0 + b for b in bend], "convex") is None


@pytest.mark.parametrize(
    "waits", [[1.0] * 30, [float("nan")] * 30, LOADS, [1.0, 2.0, 9.0]],
    ids=["constant", "nothing", "straight", "three points"],
)  # fmt: skip
def test_what_has_no_shape_has_no_knee(waits: list[float]) -> None:
    assert knee_of(LOADS[: len(waits)], waits, "convex") is None
