"""Intervals: known values, and coverage where neighbours depend on each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from doorbuster.measures.intervals import (
    clopper_pearson,
    mean_interval,
    next_sale_interval,
    quantile_interval,
    rate_over_slices,
    slices_in_time,
    trials_needed,
)
from doorbuster.measures.quantiles import quantile


@pytest.mark.parametrize(("budget", "needed"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_trials_needed(budget: float, needed: int) -> None:
    """The known minimum for p95, p99 and p99.9; one trial fewer cannot show it."""
    assert trials_needed(budget) == needed
    assert clopper_pearson(0, needed, confidence=0.95)[1] <= budget
    assert clopper_pearson(0, needed - 1, confidence=0.95)[1] > budget


@pytest.mark.parametrize(("events", "trials"), [(0, 10), (1, 50), (5, 100), (49, 50), (50, 50)])
def test_clopper_pearson_matches_the_binomial_tails(events: int, trials: int) -> None:
    """Each bound is the rate at which the data would be a 5 % surprise."""
    lower, upper = clopper_pearson(events, trials, confidence=0.95)
    if events:
        assert stats.binom.sf(events - 1, trials, lower) == pytest.approx(0.05)
    if events < trials:
        assert stats.binom.cdf(events, trials, upper) == pytest.approx(0.05)
    assert (lower == 0, upper == 1) == (events == 0, events == trials)


def test_slices_are_contiguous_and_equally_full() -> None:
    times = np.random.default_rng(1).uniform(0, 100, 1000)
    slices = slices_in_time(times, 12)
    assert np.all(np.diff(slices[np.argsort(times)]) >= 0)
    assert set(np.bincount(slices)) <= {83, 84}


def _dependent_exceedances(seed: int, count: int = 3000, rho: float = 0.95) -> Any:
    """Whether an autoregressive process is above its own 90 % quantile: a queue's kind of tail."""
    noise = np.random.default_rng(seed).normal(size=count)
    path = np.empty(count)
    path[0] = noise[0]
    for step in range(1, count):
        path[step] = rho * path[step - 1] + np.sqrt(1 - rho**2) * noise[step]
    return path > float(stats.norm.ppf(0.9))


def test_slices_cover_dependent_data_and_independence_does_not() -> None:
    """400 runs with a known rate of 10 %: the upper bound of 95 % holds in 90-99 % of them."""
    held = naive_held = 0
    for seed in range(400):
        late = _dependent_exceedances(seed)
        slices = slices_in_time(np.arange(float(len(late))))
        rate = rate_over_slices(np.bincount(slices[late], minlength=12), np.bincount(slices))
        held += rate.upper >= 0.1
        naive_held += clopper_pearson(int(late.sum()), len(late), confidence=0.95)[1] >= 0.1
    assert 0.88 <= held / 400 <= 0.99
    assert naive_held / 400 < 0.75


def test_dependence_makes_rare_events_worth_less() -> None:
    """Ten events in one slice say less than ten events in ten slices."""
    trials = np.full(12, 1000)
    spread = rate_over_slices(np.array([1] * 10 + [0, 0]), trials)
    heaped = rate_over_slices(np.array([10] + [0] * 11), trials)
    assert spread.method == heaped.method == "clopper_pearson"
    assert spread.design_effect == 1
    assert heaped.design_effect > 5
    assert heaped.upper > spread.upper


def test_extremes_of_a_rate() -> None:
    trials = np.full(12, 100)
    nothing, everything = (rate_over_slices(trials * share, trials) for share in (0, 1))
    assert (nothing.rate, nothing.lower) == (0, 0)
    assert 0 < nothing.upper < 0.003
    assert (everything.rate, everything.upper) == (1, 1)
    assert everything.lower > 0.997
    with pytest.raises(ValueError, match="at least one trial"):
        rate_over_slices(np.zeros(3, dtype=int), np.zeros(3, dtype=int))


def test_mean_interval_is_students() -> None:
    values = np.array([4.1, 4.4, 3.9, 4.7, 4.2])
    found = mean_interval(values)
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)
    wider = next_sale_interval(values)
    assert wider is not None
    assert (wider.high - wider.low) / (found.high - found.low) == pytest.approx(np.sqrt(6))
    assert mean_interval(values[:1]) is None


def test_sectioning_covers_and_refuses_short_runs() -> None:
    """p95 of exponential times: the 95 % interval holds ln 20 in 90-99 % of 300 runs."""
    held = 0
    times = np.arange(3000.0)
    for seed in range(300):
        values = np.random.default_rng(seed).exponential(size=3000)
        interval = quantile_interval(values, times, 0.95)
        assert interval is not None
        assert interval.low < quantile(values, 0.95) < interval.high
        held += interval.low <= np.log(20) <= interval.high
    assert 0.90 <= held / 300 <= 0.99
    assert quantile_interval(np.ones(400), times[:400], 0.95) is None
