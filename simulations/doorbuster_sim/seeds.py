"""The seed of each replication, derived from the run's seed."""

from __future__ import annotations

from doorbuster.draws import philox4x32

_MASK_32 = 0xFFFFFFFF
_REPLICATION = 0xFFFFFFFF
"""Stands where draws name their purpose; no purpose has this number."""


def replication_seed(seed: int, number: int) -> int:
    """The seed of replication `number` of a run; number 0 has the run's own, as its live twin.

    The first 63 bits of the Philox block that (seed, number) name. Counting upwards from the
    run's seed would give runs with neighbouring seeds the same sales.
    Range: 0 <= seed, result < 2**63; 0 <= number < 2**32.
    """
    if number == 0:
        return seed
    high, low, _, _ = philox4x32(
        number, 0, _REPLICATION, 0, seed & _MASK_32, (seed >> 32) & _MASK_32
    )
    return (int(high) << 31) | (int(low) >> 1)
