"""Distributions of times as they stand in the file, and as rows for the engines."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.draws.quantiles import (
    DISTRIBUTION_DTYPE,
    DistributionKind,
    DistributionTables,
)
from doorbuster.scenario.base import Fraction, Part
from doorbuster.scenario.durations import Duration, PositiveDuration


class Constant(Part):
    """Always the same time. The short form is the bare duration: `20ms`."""

    kind: Literal["constant"] = "constant"
    """The same time always; may be left out together with `value` in the short form."""
    value: Duration
    """The time."""


class Uniform(Part):
    """Every time between two bounds is equally likely."""

    kind: Literal["uniform"]
    """All times between two bounds alike."""
    low: Duration
    """Shortest time."""
    high: Duration
    """Longest time."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high < self.low:
            raise PydanticCustomError("order", "high is below low; swap them")
        return self


class Exponential(Part):
    """Memoryless times around a mean."""

    kind: Literal["exponential"]
    """Memoryless times."""
    mean: PositiveDuration
    """Mean time."""


class Lognormal(Part):
    """Right-skewed times: half of them below the median, a long tail above."""

    kind: Literal["lognormal"]
    """Right-skewed times."""
    median: PositiveDuration
    """Half of the times are shorter."""
    sigma: Annotated[float, Field(gt=0, le=5)] = 0.5
    """Standard deviation of the logarithm; 0.5 gives a p95 of 2.3 medians, 1.0 of 5.2."""


class Weibull(Part):
    """Times with a rising (shape above 1) or falling (below 1) hazard, such as patience."""

    kind: Literal["weibull"]
    """Times with a rising or falling hazard."""
    scale: PositiveDuration
    """63 % of the times are shorter (1 - 1/e)."""
    shape: Annotated[float, Field(ge=0.1, le=20)]
    """Above 1 the hazard rises, below 1 it falls, 1 is exponential."""


Quantile = Annotated[tuple[Fraction, Duration], Strict(False)]
"""A probability and a time; YAML has lists where Python has tuples."""


class Empirical(Part):
    """Your own measurements as quantiles: `[[0, 1ms], [0.5, 4ms], [1, 90ms]]`."""

    kind: Literal["empirical"]
    """Measured times."""
    quantiles: Annotated[list[Quantile], Field(min_length=2, max_length=10_000)]
    """Pairs of probability and time, both rising, from probability 0 to 1."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        probabilities = [probability for probability, _ in self.quantiles]
        times = [time for _, time in self.quantiles]
        if probabilities[0] != 0 or probabilities[-1] != 1:
            raise PydanticCustomError("quantiles", "quantiles must start at 0 and end at 1")
        if any(b <= a for a, b in pairwise(probabilities)):
            raise PydanticCustomError("quantiles", "probabilities of quantiles must rise")
        if any(b < a for a, b in pairwise(times)):
            raise PydanticCustomError("quantiles", "times of quantiles must not fall")
        return self


def _short_form(value: object) -> object:
    is_bare = isinstance(value, str | int | float) and not isinstance(value, bool)
    return {"kind": "constant", "value": value} if is_bare else value


_Family = Annotated[
    Constant | Uniform | Exponential | Lognormal | Weibull | Empirical, Field(discriminator="kind")
]
Distribution = Annotated[
    _Family,
    BeforeValidator(_short_form, json_schema_input_type=Duration | _Family),
]
"""A distribution of times; a bare duration is short for a constant."""


def constant(value: str) -> Constant:
    """A constant time written as in the file, for defaults."""
    return Constant.model_validate({"value": value})


def uniform(low: str, high: str) -> Uniform:
    """Uniform times written as in the file, for defaults."""
    return Uniform.model_validate({"kind": "uniform", "low": low, "high": high})


def lognormal(median: str, sigma: float) -> Lognormal:
    """Lognormal times written as in the file, for defaults."""
    return Lognormal.model_validate({"kind": "lognormal", "median": median, "sigma": sigma})


def mean_of(distribution: Distribution) -> float:
    """Mean in seconds. Source: the textbook moments of each family."""
    match distribution:
        case Constant(value=value):
            return value
        case Uniform(low=low, high=high):
            return (low + high) / 2
        case Exponential(mean=mean):
            return mean
        case Lognormal(median=median, sigma=sigma):
            return float(median * np.exp(sigma**2 / 2))
        case Weibull(scale=scale, shape=shape):
            return scale * math.gamma(1 + 1 / shape)
        case Empirical(quantiles=quantiles):
            pairs = pairwise(quantiles)
            return sum((p1 - p0) * (t0 + t1) / 2 for (p0, t0), (p1, t1) in pairs)


def late_fraction(distribution: Distribution, limit_s: float) -> float:
    """The fraction of draws above a limit. Source: the textbook survival functions."""
    match distribution:
        case Constant(value=value):
            return float(value > limit_s)
        case Uniform(low=low, high=high):
            return min(1.0, max(0.0, (high - limit_s) / (high - low))) if high > low else 0.0
        case Exponential(mean=mean):
            return math.exp(-limit_s / mean)
        case Lognormal(median=median, sigma=sigma):
            if sigma == 0 or limit_s <= 0:
                return float(median > limit_s)
            return NormalDist().cdf(math.log(median / limit_s) / sigma)
        case Weibull(scale=scale, shape=shape):
            return math.exp(-((limit_s / scale) ** shape))
        case Empirical(quantiles=quantiles):
            fractions, times = zip(*quantiles, strict=True)
            return 1 - float(np.interp(limit_s, times, fractions))


class DistributionBook:
    """Collects distributions and gives each its row number in the engines' tables."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, float, int, int]] = []
        self._knots: list[tuple[float, float]] = []

    def add(self, distribution: Distribution) -> int:
        """The row number under which `sample` finds this distribution."""
        self._rows.append(self._row(distribution))
        return len(self._rows) - 1

    def _row(self, distribution: Distribution) -> tuple[int, float, float, int, int]:
        match distribution:
            case Constant(value=value):
                return (DistributionKind.CONSTANT, value, 0.0, 0, 0)
            case Uniform(low=low, high=high):
                return (DistributionKind.UNIFORM, low, high, 0, 0)
            case Exponential(mean=mean):
                return (DistributionKind.EXPONENTIAL, mean, 0.0, 0, 0)
            case Lognormal(median=median, sigma=sigma):
                return (DistributionKind.LOGNORMAL, median, sigma, 0, 0)
            case Weibull(scale=scale, shape=shape):
                return (DistributionKind.WEIBULL, scale, shape, 0, 0)
            case Empirical(quantiles=quantiles):
                start = len(self._knots)
                self._knots.extend(quantiles)
                return (DistributionKind.EMPIRICAL, 0.0, 0.0, start, len(quantiles))

    def tables(self) -> DistributionTables:
        """All collected distributions as arrays."""
        rows = np.array(self._rows, dtype=DISTRIBUTION_DTYPE)
        knots = np.array(self._knots, dtype=np.float64).reshape(-1, 2)
        return DistributionTables(rows, knots)
