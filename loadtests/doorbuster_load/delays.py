"""A histogram of dispatch delays: fixed bins, so that workers can be added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

# 1 us to 100 s, 100 bins a decade: a value is known to 2.3 %.
_EDGES_S = np.logspace(-6, 2, 801)


class DelayHistogram:
    """Counts of delays in seconds; values outside 1 us to 100 s count into the end bins."""

    def __init__(self, counts: Sequence[int] | None = None) -> None:
        size = len(_EDGES_S) + 1
        self._counts = np.zeros(size, dtype=np.int64)
        if counts is not None:
            self._counts += np.asarray(counts, dtype=np.int64)

    def add(self, delays_s: NDArray[np.float64]) -> None:
        """Count some delays."""
        places = np.searchsorted(_EDGES_S, delays_s)
        self._counts += np.bincount(places, minlength=len(self._counts))

    def merged(self, other: Self) -> DelayHistogram:
        """Both histograms in one."""
        return DelayHistogram((self._counts + other._counts).tolist())

    def quantile_s(self, fraction: float) -> float:
        """Upper edge of the bin that holds a quantile, in seconds; 0 without any delay."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), fraction * total))
        return float(_EDGES_S[min(place, len(_EDGES_S) - 1)])

    def to_json(self) -> list[list[int]]:
        """Pairs of bin and count, the empty ones left out."""
        places = np.flatnonzero(self._counts)
        return [[int(place), int(self._counts[place])] for place in places]

    @classmethod
    def from_json(cls, pairs: Sequence[Sequence[int]]) -> DelayHistogram:
        """The histogram that another process has sent."""
        histogram = cls()
        for place, count in pairs:
            histogram._counts[place] = count
        return histogram
