"""How the simulated shop keeps its stock, one file a strategy: what differs, for both engines.

Plain functions of whole numbers, named after the word in the scenario. A request *looks* when it
reaches the last station of `reserve`, before it waits there; it *takes* units where the stock
decision falls, at the end of that station.
"""

from __future__ import annotations

from doorbuster.scenario.shop import STRATEGIES, Strategy

(
    CONDITIONAL_UPDATE,
    ROW_LOCK,
    OPTIMISTIC,
    PREDEDUCT,
    BUCKETS,
    CHECK_THEN_WRITE,
    PREDEDUCT_WITHOUT_RETURN,
    UNGUARDED_RELEASE,
    STUCK_SOLD_OUT,
    STALE_EXPIRY,
    SCATTERED_BUCKETS,
) = range(len(STRATEGIES))
"""The strategies as compiled code knows them, in the order of STRATEGIES."""

LOOKS_BEFORE = (OPTIMISTIC, PREDEDUCT, CHECK_THEN_WRITE, PREDEDUCT_WITHOUT_RETURN)
"""Those that look at something before the request waits for its last station."""
LEAKS = (CHECK_THEN_WRITE, UNGUARDED_RELEASE, STALE_EXPIRY)
"""Those under which available, locked and sold need not add up to the initial stock."""
TOO_FEW, OVERTAKEN = -1, -2
"""Instead of the bucket that units came from."""


def code_of(strategy: Strategy) -> int:
    """The number of a strategy."""
    return STRATEGIES.index(strategy)


__all__ = [
    "BUCKETS",
    "CHECK_THEN_WRITE",
    "CONDITIONAL_UPDATE",
    "LEAKS",
    "LOOKS_BEFORE",
    "OPTIMISTIC",
    "OVERTAKEN",
    "PREDEDUCT",
    "PREDEDUCT_WITHOUT_RETURN",
    "ROW_LOCK",
    "SCATTERED_BUCKETS",
    "STALE_EXPIRY",
    "STUCK_SOLD_OUT",
    "TOO_FEW",
    "UNGUARDED_RELEASE",
    "code_of",
]
