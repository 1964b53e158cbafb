"""The mean of one value a sale with its t interval, as run.json and the terminal show it.

Sales are independent, requests inside one are not: so a quantile is taken of each sale, and the
interval is over those. The quantile of all sales' requests pooled is another quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from doorbuster.measures.columns import Floats
from doorbuster.measures.intervals import Interval, mean_interval
from doorbuster.measures.sale_values import SaleMeasure


@dataclass(frozen=True)
class SaleMean:
    """A mean over the sales that had the value; `missing` had none. NaN when none had."""

    name: str
    unit: str
    mean: float
    interval: Interval | None
    sale_count: int
    missing: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval; NaN without one."""
        return (self.interval.high - self.interval.low) / 2 if self.interval else float("nan")

    def to_json(self) -> dict[str, Any]:
        """The row as it stands in run.json; numbers that JSON lacks become null."""
        return {
            "name": self.name,
            "unit": self.unit,
            "mean": self.mean if self.sale_count else None,
            "low": self.interval.low if self.interval else None,
            "high": self.interval.high if self.interval else None,
            "half_width": self.half_width if self.interval else None,
            "confidence": self.interval.confidence if self.interval else None,
            "sales": self.sale_count,
            "missing": self.missing,
        }


def sale_mean(measure: SaleMeasure, values: Floats) -> SaleMean:
    """The row of one measure. Range: values has one entry a sale, NaN where it has none."""
    known = values[np.isfinite(values)]
    mean = float(known.mean()) if len(known) else float("nan")
    interval = mean_interval(known)
    missing = len(values) - len(known)
    return SaleMean(measure.name, measure.unit, mean, interval, len(known), missing)


def sale_means(measures: Sequence[SaleMeasure], sales: Sequence[Sequence[float]]) -> list[SaleMean]:
    """One row a measure. Range: each sale has its values in the order of the measures."""
    table = np.array(sales, dtype=np.float64).reshape(len(sales), len(measures))
    return [sale_mean(measure, table[:, column]) for column, measure in enumerate(measures)]
