"""`conditional_update`: one statement takes the units if there are enough.

`row_lock` decides the same: what it read under the lock still holds when it writes. Waiting for
the lock is what a station with `per_item` is for.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def has_enough(level_units: int, units: int) -> bool:
    """Whether the level that is there now covers a wish."""
    return level_units >= units
