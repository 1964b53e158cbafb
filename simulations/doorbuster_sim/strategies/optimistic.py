"""`optimistic`: look without a lock, write if nobody has written since, else look again.

A write that waits for its row is tested once it has the row: who was overtaken meanwhile keeps
the last station until its transaction is rolled back (`service.rollback`), looks again and waits
behind those who wait there; so does who was overtaken by another server during the service, after
all of it. After REPEATS_MAX of that the shop says that it is overloaded. Who sees too few units is
refused at the look: there is nothing to write.
"""

from __future__ import annotations

from doorbuster.compiling import compilable

REPEATS_MAX = 7
"""Eight tries in all, as the reference shop has."""


@compilable
def has_enough(level_units: int, units: int) -> bool:
    """Whether a look finds the units that are wished."""
    return level_units >= units


@compilable
def is_overtaken(seen_version: int, version: int) -> bool:
    """Whether somebody has written since the look."""
    return seen_version != version
