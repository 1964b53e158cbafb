"""One number of one side: its mean over replications and how far another sale may lie from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from doorbuster.measures.columns import Floats
from doorbuster.measures.intervals import Interval, mean_interval, t_quantile
from doorbuster.measures.run_records import RunRecords

CONFIDENCE = 0.95
_SPREAD_FROM = 2  # one value has no spread


@dataclass(frozen=True)
class Estimate:
    """A mean over replications, its interval, and its values; `missing` replications had none.

    value is NaN when no replication had one (a sale that never sold out has no sell-out time).
    """

    value: float
    interval: Interval | None
    values: Floats
    missing: int

    def to_json(self) -> dict[str, Any]:
        """The estimate for `--json`."""
        return {
            "value": number(self.value),
            "low": number(self.interval.low) if self.interval else None,
            "high": number(self.interval.high) if self.interval else None,
            "method": self.interval.method if self.interval else None,
            "replications": len(self.values),
            "missing": self.missing,
        }


def number(value: float | None) -> float | None:
    """A number that JSON can hold."""
    return float(value) if value is not None and math.isfinite(value) else None


def over_replications(records: RunRecords, value: Callable[[RunRecords, int], float]) -> Estimate:
    """The mean of one value a replication, with its t interval."""
    return estimate(np.array([value(records, number) for number in records.replications]))


def estimate(values: Floats) -> Estimate:
    """The mean of the values that exist."""
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else float("nan")
    return Estimate(mean, mean_interval(known), known, len(values) - len(known))


def with_borrowed_interval(single: Estimate, spread_of: Estimate) -> Estimate:
    """A single sale with the sale-to-sale spread of the other side as its interval.

    One sale cannot tell how much sales vary. The other side's replications can, if both worlds
    vary alike, and nothing better exists.
    """
    spread = _spread(spread_of)
    if single.interval is not None or spread is None or len(single.values) != 1:
        return single
    reach = spread * t_quantile((1 + CONFIDENCE) / 2, len(spread_of.values) - 1)
    interval = Interval(single.value - reach, single.value + reach, CONFIDENCE, "borrowed_spread")
    return Estimate(single.value, interval, single.values, single.missing)


def difference_interval(a: Estimate, b: Estimate) -> Interval | None:
    """The interval of b - a; None where neither side was repeated.

    Both repeated: Welch. One repeated: its spread stands for the other's, s sqrt(1/n + 1).
    """
    if not len(a.values) or not len(b.values):
        return None
    spread_a, spread_b = _spread(a), _spread(b)
    if spread_a is not None and spread_b is not None:
        return _welch(a, b)
    spread, count = (spread_a, len(a.values)) if spread_a is not None else (spread_b, len(b.values))
    if spread is None:
        return None
    reach = t_quantile((1 + CONFIDENCE) / 2, count - 1) * spread * math.sqrt(1 / count + 1)
    middle = b.value - a.value
    return Interval(middle - reach, middle + reach, CONFIDENCE, "next_sale")


def _welch(a: Estimate, b: Estimate) -> Interval:
    parts = [float(side.values.var(ddof=1)) / len(side.values) for side in (a, b)]
    error, middle = math.sqrt(sum(parts)), b.value - a.value
    if not error:
        return Interval(middle, middle, CONFIDENCE, "welch")
    weights = [part**2 / (len(side.values) - 1) for part, side in zip(parts, (a, b), strict=True)]
    freedom = sum(parts) ** 2 / sum(weights)
    reach = t_quantile((1 + CONFIDENCE) / 2, freedom) * error
    return Interval(middle - reach, middle + reach, CONFIDENCE, "welch")


def _spread(side: Estimate) -> float | None:
    return float(side.values.std(ddof=1)) if len(side.values) >= _SPREAD_FROM else None
