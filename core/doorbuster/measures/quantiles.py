"""The one definition of a quantile.

The q-quantile of n values is the smallest of them that at least the share q does not exceed: the
value of rank ceil(q n), counted from 1. It is always a value that occurred, never above the
maximum, and `p95 <= limit` says the same as `at most 5 % exceed the limit`, which is what
verdicts test. NumPy calls it `inverted_cdf`. Nothing is bucketed: it is taken from raw records.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    values: Floats, groups: Integers, group_count: int, fractions: Sequence[float]
) -> Floats:
    """Quantiles of each group, shape (fractions, groups); NaN for an empty group.

    Range: groups in [0, group_count).
    """
    # Sorted by small integers in one pass over them; each group is partitioned, never sorted.
    small = groups.astype(np.uint16) if group_count <= 1 << 16 else groups
    in_groups = values[np.argsort(small, kind="stable")]
    counts = np.bincount(groups, minlength=group_count)
    starts = np.cumsum(counts) - counts
    found = np.full((len(fractions), group_count), np.nan)
    for group in np.flatnonzero(counts):
        own = in_groups[starts[group] : starts[group] + counts[group]]
        places = [rank_of(fraction, len(own)) - 1 for fraction in fractions]
        found[:, group] = np.partition(own, places)[places]
    return cast("Floats", found)
