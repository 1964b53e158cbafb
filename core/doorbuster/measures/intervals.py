"""How sure a number is: bounds of a rate over slices, of a quantile, of a mean over replications.

Never a formula for independent values on raw latencies: neighbours in time share one queue, and
such an interval can cover 10 % instead of 95 % near saturation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from doorbuster.measures.columns import Floats, Integers
from doorbuster.measures.quantiles import quantile, quantiles_by_group

SLICE_COUNT = 12
"""Slices of one run. Twelve kept 94-95 % coverage up to 0.6 of capacity, 88 % at 0.8."""
SECTION_COUNT_MIN = 5
"""Fewer sections support no interval of a quantile."""
RARE_EVENT_COUNT = 20
"""Below so many events (or non-events) the normal approximation of a rate is not used."""


_HALF_AN_ATOM = 1e-9  # effective counts are quotients: all events may miss all trials by this


@dataclass(frozen=True)
class Interval:
    """A range that holds the true value with `confidence`; `method` names how it was found."""

    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True)
class Rate:
    """A share of events with one-sided bounds: each of the two holds with `confidence`."""

    events: int
    trials: int
    rate: float
    lower: float
    upper: float
    design_effect: float
    confidence: float
    method: str

    @property
    def interval(self) -> Interval:
        """Both one-sided bounds together; their joint confidence is 1 - 2 (1 - confidence)."""
        return Interval(self.lower, self.upper, 2 * self.confidence - 1, self.method)


def t_quantile(probability: float, freedom: float) -> float:
    """The quantile of Student's t. `scipy.stats` would say the same and take a second to load."""
    return float(special.stdtrit(freedom, probability))


def slices_in_time(times_s: Floats, count: int = SLICE_COUNT) -> Integers:
    """Slice number of each entry: contiguous in time and equally full.

    Each slice keeps the dependence between neighbours inside itself.
    """
    order = np.argsort(times_s, kind="stable")
    numbers = np.empty(len(times_s), dtype=np.int64)
    numbers[order] = np.arange(len(times_s)) * count // max(len(times_s), 1)
    return numbers


def rate_over_slices(events: Integers, trials: Integers, *, confidence: float = 0.95) -> Rate:
    """The share of events from counts per slice (or per replication), dependence included.

    phat = sum Y / sum n,  se^2 = K/(K-1) sum (Y_k - phat n_k)^2 / (sum n)^2, bounds phat +- t se
    with K-1 degrees of freedom. With few events: Clopper-Pearson on n / deff trials, where
    deff = se^2 / (phat (1 - phat) / n) is the price of the dependence, at least 1.
    Raises: ValueError when there are no trials.
    Source: the ratio estimator of cluster sampling (Cochran, Sampling Techniques); Clopper and
    Pearson 1934.
    """
    trials = trials[used := trials > 0]
    events = events[used]
    n, y, k = int(trials.sum()), int(events.sum()), len(trials)
    if n == 0:
        message = "a rate needs at least one trial (got 0)"
        raise ValueError(message)
    rate = y / n
    independent_variance = rate * (1 - rate) / n
    variance = independent_variance
    if k > 1:
        residuals = events - rate * trials
        variance = float((residuals**2).sum()) * k / (k - 1) / n**2
    deff = max(variance / independent_variance, 1.0) if independent_variance else 1.0
    if min(y, n - y) < RARE_EVENT_COUNT or k == 1:
        lower, upper = clopper_pearson(y / deff, n / deff, confidence=confidence)
        return Rate(y, n, rate, lower, upper, deff, confidence, "clopper_pearson")
    reach = t_quantile(confidence, k - 1) * math.sqrt(variance)
    lower, upper = max(rate - reach, 0.0), min(rate + reach, 1.0)
    return Rate(y, n, rate, lower, upper, deff, confidence, "ratio_over_slices")


def clopper_pearson(events: float, trials: float, *, confidence: float) -> tuple[float, float]:
    """Exact one-sided bounds of a share; effective counts need not be whole."""
    lower = (
        float(special.betaincinv(events, trials - events + 1, 1 - confidence)) if events else 0.0
    )
    if trials - events < _HALF_AN_ATOM:
        return lower, 1.0
    return lower, float(special.betaincinv(events + 1, trials - events, confidence))


def trials_needed(budget: float, *, confidence: float = 0.95) -> int:
    """The fewest independent trials that can show a rate below `budget`, none of them an event.

    A p95 needs 59, a p99 299, a p99.9 2,995. Range: 0 < budget < 1.
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - budget))


def quantile_interval(
    values: Floats, times_s: Floats, fraction: float, *, confidence: float = 0.95
) -> Interval | None:
    """The interval of a quantile of one run, by sectioning; None where the run is too short.

    S^2 = sum (Q_k - Q)^2 / (K - 1), interval Q +- t S / sqrt K, with Q from all values and Q_k
    from slice k. A slice must hold five values beyond the quantile.
    Source: sectioning, Asmussen and Glynn, Stochastic Simulation, III.5.
    """
    count = min(SLICE_COUNT, int(len(values) * (1 - fraction) / 5))
    if count < SECTION_COUNT_MIN:
        return None
    whole = quantile(values, fraction)
    sections = quantiles_by_group(values, slices_in_time(times_s, count), count, [fraction])[0]
    spread = math.sqrt(float(((sections - whole) ** 2).sum()) / (count - 1))
    reach = t_quantile((1 + confidence) / 2, count - 1) * spread / math.sqrt(count)
    return Interval(max(whole - reach, 0.0), whole + reach, confidence, "sectioning")


def mean_interval(values: Floats, *, confidence: float = 0.95) -> Interval | None:
    """The interval of the mean of one value a replication; None for fewer than two."""
    return _t_interval(values, confidence, 1 / len(values) if len(values) else 0.0, "replications")


def next_sale_interval(values: Floats, *, confidence: float = 0.95) -> Interval | None:
    """Where one more replication would fall: mean +- t s sqrt(1 + 1/n); None below two."""
    factor = 1 + 1 / len(values) if len(values) else 0.0
    return _t_interval(values, confidence, factor, "next_sale")


def _t_interval(
    values: Floats, confidence: float, variance_factor: float, method: str
) -> Interval | None:
    if len(values) < 2 or not np.isfinite(values).all():  # noqa: PLR2004 - one has no spread
        return None
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) * math.sqrt(variance_factor)
    reach = t_quantile((1 + confidence) / 2, len(values) - 1) * spread
    return Interval(mean - reach, mean + reach, confidence, method)
