"""Sampling by quantile function: one uniform in, one value out, monotone in the uniform.

One uniform per value keeps common random numbers common when a parameter changes: a longer mean
service time stretches every visitor's own time instead of reshuffling the crowd.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable, inlined
from doorbuster.draws.elementary import exp, log, normal_quantile
from doorbuster.draws.philox import draw

_SMALLEST_UNIFORM = 2.0**-54


class DistributionKind(IntEnum):
    """How `first` and `second` of a distribution row are read."""

    CONSTANT = 0  # first: the value
    UNIFORM = 1  # first: low, second: high
    EXPONENTIAL = 2  # first: mean
    LOGNORMAL = 3  # first: median, second: sigma of the logarithm
    WEIBULL = 4  # first: scale, second: shape
    EMPIRICAL = 5  # knots [start, start + count) of the table, linear in between


DISTRIBUTION_DTYPE = np.dtype(
    [("kind", "i8"), ("first", "f8"), ("second", "f8"), ("start", "i8"), ("count", "i8")]
)


class DistributionTables(NamedTuple):
    """Every distribution of a scenario as arrays, the form that compiled code reads.

    rows: shape (distributions,), dtype DISTRIBUTION_DTYPE.
    knots: shape (all empirical knots, 2): probability, value.
    """

    rows: NDArray[np.void]
    knots: NDArray[np.float64]


# Plain integers: compiled code reads them as constants.
_CONSTANT, _UNIFORM, _EXPONENTIAL = 0, 1, 2
_LOGNORMAL, _EMPIRICAL = 3, 5


@compilable
def _interpolate(knots: NDArray[np.float64], start: int, count: int, uniform: float) -> float:
    """Value at `uniform` on the polyline through knots [start, start + count)."""
    low, high = start, start + count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if knots[middle, 0] <= uniform:
            low = middle
        else:
            high = middle
    width = knots[high, 0] - knots[low, 0]
    weight = (uniform - knots[low, 0]) / width
    weight = min(1.0, max(0.0, weight))
    return float(knots[low, 1] + weight * (knots[high, 1] - knots[low, 1]))


@compilable
def _parametric(kind: int, first: float, second: float, uniform: float) -> float:
    """The quantile of every kind but the empirical one; numbers alone, which registers hold."""
    if kind == _LOGNORMAL:
        return first * exp(second * normal_quantile(max(uniform, _SMALLEST_UNIFORM)))
    if kind == _EXPONENTIAL:
        return -first * log(1.0 - uniform)
    if kind == _UNIFORM:
        return first + (second - first) * uniform
    if kind == _CONSTANT:
        return first
    exponential = -log(1.0 - uniform)
    if exponential <= 0.0:
        return 0.0
    return first * exp(log(exponential) / second)


@inlined
def sample(tables: DistributionTables, index: int, uniform: float) -> float:
    """The quantile of distribution `index` at `uniform`.

    Units: those of the distribution (seconds for times). Range: 0 <= uniform < 1.
    Source: L. Devroye, "Non-Uniform Random Variate Generation" (1986), section II.2 (inversion).
    """
    row = tables.rows[index]
    if row["kind"] == _EMPIRICAL:
        return _interpolate(tables.knots, row["start"], row["count"], uniform)
    return float(_parametric(row["kind"], row["first"], row["second"], uniform))


@inlined
def sample_named(
    tables: DistributionTables, index: int, seed: int, visitor: int, purpose: int, attempt: int
) -> float:
    """The value that a draw's four names have in distribution `index`.

    A constant is not drawn for: ten Philox rounds would change nothing.
    """
    row = tables.rows[index]
    if row["kind"] == _CONSTANT:
        return float(row["first"])
    return sample(tables, index, draw(seed, visitor, purpose, attempt))


@compilable
def sample_array(
    tables: DistributionTables, index: int, uniforms: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`sample` for many uniforms at once: shape (n,) in, shape (n,) out, equal bit for bit."""
    values = np.empty(uniforms.shape[0], dtype=np.float64)
    for position in range(uniforms.shape[0]):
        values[position] = sample(tables, index, uniforms[position])
    return values
