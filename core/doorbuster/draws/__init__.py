"""The endogenous half of the randomness: pure functions of (seed, visitor, purpose, attempt)."""

from doorbuster.draws.philox import draw, draw_array, philox4x32
from doorbuster.draws.purposes import Purpose
from doorbuster.draws.quantiles import (
    DISTRIBUTION_DTYPE,
    DistributionKind,
    DistributionTables,
    sample,
    sample_array,
    sample_named,
)

__all__ = [
    "DISTRIBUTION_DTYPE",
    "DistributionKind",
    "DistributionTables",
    "Purpose",
    "draw",
    "draw_array",
    "philox4x32",
    "sample",
    "sample_array",
    "sample_named",
]
