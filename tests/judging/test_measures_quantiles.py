"""The quantile: one definition, everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorbuster.measures.quantiles import quantile, quantiles_by_group

TIMES = st.lists(st.floats(0, 1e6, allow_nan=False), min_size=1, max_size=200)
FRACTIONS = st.sampled_from([0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])


@given(times=TIMES, fraction=FRACTIONS)
def test_a_quantile_occurred_and_matches_numpy(times: list[float], fraction: float) -> None:
    values = np.array(times)
    found = quantile(values, fraction)
    assert found in values
    assert found == np.quantile(values, fraction, method="inverted_cdf")


@given(times=TIMES, fraction=FRACTIONS, limit=st.floats(0, 1e6))
def test_quantile_and_share_say_the_same(times: list[float], fraction: float, limit: float) -> None:
    """`p95 <= L` exactly when at most 5 % exceed L: what a verdict tests is what people read."""
    values = np.array(times)
    exceeding = int((values > limit).sum())
    assert (quantile(values, fraction) <= limit) == (
        exceeding <= len(times) - np.ceil(fraction * len(times) - 1e-9)
    )


@given(
    times=TIMES,
    fractions=st.lists(FRACTIONS, min_size=1, max_size=3),
    group_count=st.sampled_from([1, 2, 7, 70_000]),
)
def test_groups_agree_with_single_calls(
    times: list[float], fractions: list[float], group_count: int
) -> None:
    values = np.array(times)
    groups = np.arange(len(times)) * 7919 % group_count
    found = quantiles_by_group(values, groups, group_count, fractions)
    assert found.shape == (len(fractions), group_count)
    filled = np.unique(groups)
    expected = [[quantile(values[groups == group], f) for group in filled] for f in fractions]
    np.testing.assert_array_equal(found[:, filled], expected)
    assert np.isfinite(found).sum() == len(fractions) * len(filled)


def test_of_nothing_there_is_no_quantile() -> None:
    assert np.isnan(quantile(np.empty(0), 0.95))


@pytest.mark.parametrize(("fraction", "rank"), [(0.5, 50), (0.95, 95), (0.99, 99), (0.999, 100)])
def test_ranks_of_a_hundred(fraction: float, rank: int) -> None:
    assert quantile(np.arange(1.0, 101.0), fraction) == rank
