"""The common form of every shape: knots of a polyline of the arrival level over time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from doorbuster.compiling import plain
from doorbuster.draws import elementary

Knots = NDArray[np.float64]
"""Shape (n, 2): seconds from the start of the phase (not falling), level (>= 0)."""

Level = Annotated[float, Field(ge=0, le=1e9)]

_exp = plain(elementary.exp)

CURVE_KNOT_COUNT = 257
"""Knots of a curved stretch. An exponential decay over six time constants then deviates from its
polyline by less than 0.01 % of its height (interpolation error h**2/8 times the curvature)."""


def polyline(points: list[tuple[float, float]]) -> Knots:
    """Knots from (seconds, level) pairs."""
    return np.array(points, dtype=np.float64)


def curve(
    level: Callable[[float], float], start_s: float, end_s: float, *, count: int = CURVE_KNOT_COUNT
) -> list[tuple[float, float]]:
    """A smooth stretch of a shape, sampled at evenly spaced knots."""
    width_s = (end_s - start_s) / (count - 1)
    times = [start_s + index * width_s for index in range(count - 1)] + [end_s]
    return [(time, level(time)) for time in times]


def decay(from_level: float, to_level: float, age_s: float, time_constant_s: float) -> float:
    """Exponential approach of one level to another: to + (from - to) * e^(-age / constant)."""
    return to_level + (from_level - to_level) * _exp(-age_s / time_constant_s)
