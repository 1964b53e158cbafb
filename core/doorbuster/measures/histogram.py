"""Times counted in buckets, for sales too large to keep every request.

A bucket spans 1/1,024 of an octave's lower end, so a quantile read off its upper edge is at most
0.1 % too high and never too low. Source: the log-linear buckets of G. Tene's HdrHistogram, here
cut by `frexp`, which needs no search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from doorbuster.compiling import compilable
from doorbuster.measures.columns import Integers
from doorbuster.measures.quantiles import rank_of

BUCKETS_AN_OCTAVE = 1024
OCTAVES = 64
BUCKET_COUNT = OCTAVES * BUCKETS_AN_OCTAVE
_NANOSECONDS = 1e9


@compilable
def bucket_of(time_ns: int) -> int:
    """The bucket of a time. Range: 0 <= time_ns < 2**62, result in [0, BUCKET_COUNT)."""
    if time_ns == 0:
        return 0
    mantissa, exponent = math.frexp(float(time_ns))
    return exponent * BUCKETS_AN_OCTAVE + int((mantissa - 0.5) * 2 * BUCKETS_AN_OCTAVE)


def upper_edge_s(bucket: int) -> float:
    """The longest whole number of nanoseconds in the bucket, in seconds."""
    if bucket == 0:
        return 0.0
    octave, place = divmod(bucket, BUCKETS_AN_OCTAVE)
    edge_ns = math.ldexp(0.5 + (place + 1) / (2 * BUCKETS_AN_OCTAVE), octave)
    # The edge itself belongs to the next bucket.
    return (math.ceil(edge_ns) - 1) / _NANOSECONDS


@dataclass(frozen=True)
class Histogram:
    """The buckets that hold something, in their order, and how many waits never ended."""

    buckets: Integers
    counts: Integers
    never: int = 0

    @classmethod
    def of(cls, counts: Integers, never: int) -> Self:
        """Of the counts of all buckets. Shape: (BUCKET_COUNT,)."""
        buckets = np.flatnonzero(counts).astype(np.int64)
        return cls(buckets, counts[buckets], int(never))

    @property
    def total(self) -> int:
        """How many times were counted, those that never ended included."""
        return int(self.counts.sum()) + self.never

    def quantile_s(self, fraction: float) -> float:
        """`quantiles.quantile` to 0.1 %, seconds; infinite among those that never end.

        NaN of nothing. Range: 0 < fraction <= 1.
        """
        if not self.total:
            return float("nan")
        place = np.searchsorted(np.cumsum(self.counts), rank_of(fraction, self.total))
        return upper_edge_s(int(self.buckets[place])) if place < len(self.buckets) else math.inf

    def to_json(self) -> dict[str, Any]:
        """Plain lists."""
        return {
            "buckets": self.buckets.tolist(),
            "counts": self.counts.tolist(),
            "never": self.never,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        buckets, counts = (np.array(data[key], dtype=np.int64) for key in ("buckets", "counts"))
        return cls(buckets, counts, int(data["never"]))


def pooled(histograms: Sequence[Histogram]) -> Histogram:
    """The times of several histograms as one."""
    buckets, place = np.unique(np.concatenate([h.buckets for h in histograms]), return_inverse=True)
    counts = np.zeros(len(buckets), dtype=np.int64)
    np.add.at(counts, place, np.concatenate([h.counts for h in histograms]))
    return Histogram(buckets, counts, sum(h.never for h in histograms))
