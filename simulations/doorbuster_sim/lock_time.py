"""How long a reservation keeps its stock, for both engines."""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.draws.philox import draw
from doorbuster.draws.purposes import Purpose

_RELEASE_JITTER = int(Purpose.RELEASE_JITTER)


@compilable
def lock_span_ns(lock_ns: int, jitter_ns: int, seed: int, visitor: int, attempt: int) -> int:
    """The lock time and this reservation's own share of the jitter.

    Range: lock_ns <= result < lock_ns + jitter_ns, lock_ns without jitter. attempt: the logical
    attempt that made the reservation.
    """
    if jitter_ns == 0:
        return lock_ns
    return lock_ns + int(draw(seed, visitor, _RELEASE_JITTER, attempt) * jitter_ns)
