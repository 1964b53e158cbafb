"""`buckets`: the units of an item lie in 8 buckets; an account has its own, and the next ones.

A wish takes all its units from one bucket. Where none has enough but all together have, units
are carried into its own one first.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import compilable

BUCKET_COUNT = 8
NO_BUCKET = -1


@compilable
def share(stock_units: int, bucket: int) -> int:
    """The units with which a bucket begins: equal shares, the rest to the first ones."""
    return stock_units // BUCKET_COUNT + (1 if bucket < stock_units % BUCKET_COUNT else 0)


@compilable
def own_bucket(account: int) -> int:
    """The bucket of an account, by Knuth's multiplicative hashing."""
    return (((account & 0x7FFFFFFF) * 0x9E3779B1) >> 16) & (BUCKET_COUNT - 1)


@compilable
def bucket_with(levels: Sequence[int] | NDArray[np.int64], own: int, units: int) -> int:
    """The first bucket from one's own on that covers a wish alone, or NO_BUCKET."""
    for step in range(BUCKET_COUNT):
        bucket = (own + step) % BUCKET_COUNT
        if levels[bucket] >= units:
            return bucket
    return NO_BUCKET


@compilable
def gather(levels: MutableSequence[int] | NDArray[np.int64], own: int, units: int) -> int:
    """One's own bucket, given what it lacks by the next ones; NO_BUCKET if all have too little.

    `scattered_buckets`, broken, does without.
    """
    in_all = 0
    for level in levels:
        in_all += level
    if in_all < units:
        return NO_BUCKET
    for step in range(1, BUCKET_COUNT):
        bucket = (own + step) % BUCKET_COUNT
        carried = min(levels[bucket], units - levels[own])
        levels[bucket] -= carried
        levels[own] += carried
    return own
