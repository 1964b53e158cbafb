"""The one definition of a quantile.

The q-quantile of n values is the smallest of them that at least the share q does not exceed: the
value of rank ceil(q n), counted from 1. It is always a value that occurred, never above the
maximum, and `p95 <= limit` says the same as `at most 5 % exceed the limit`, which is what
verdicts test. NumPy calls it `inverted_cdf`. Nothing is bucketed: it is taken from raw records.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from doorbuster.measures.columns import Floats, Integers

# Keeps ceil(0.95 * 100) at 95 although 0.95 * 100 is a hair above it in floating point.
_ROUNDING = 1e-9


def quantile(values: Floats, fraction: float) -> float:
    """The quantile of all values, in their unit; NaN of none. Range: 0 < fraction <= 1."""
    if not len(values):
        return float("nan")
    rank = rank_of(fraction, len(values))
    return float(np.partition(values, rank - 1)[rank - 1])


def rank_of(fraction: float, count: int) -> int:
    """Which of the ordered values is the quantile, counted from 1. Range: count >= 1."""
    return max(int(np.ceil(fraction * count - _ROUNDING)), 1)


def quantiles_by_group(
    values: Floats, groups: Integers, group_count: int, fraction: float
) -> Floats:
    """The quantile of each group; NaN for an empty one. Range: groups in [0, group_count)."""
    order = np.lexsort((values, groups))
    counts = np.bincount(groups, minlength=group_count)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    ranks = np.maximum(np.ceil(fraction * counts - _ROUNDING).astype(np.int64), 1)
    found = np.full(group_count, np.nan)
    filled = counts > 0
    found[filled] = values[order][(starts + ranks - 1)[filled]]
    return cast("Floats", found)
