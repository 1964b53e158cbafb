"""`optimistic`: look without a lock, write if nobody has written since, else look again.

Whoever was overtaken passes the last station once more, behind those who wait there, for the same
service time; after REPEATS_MAX of that the shop says that it is overloaded.
"""

from __future__ import annotations

from doorbuster.compiling import compilable

REPEATS_MAX = 3
_TOO_FEW = -1


@compilable
def seen(level_units: int, version: int, units: int) -> int:
    """What a look tells the write: the version of the row, or that there are too few units."""
    return version if level_units >= units else _TOO_FEW


@compilable
def saw_too_few(seen_version: int) -> bool:
    """Whether the look found too few units; nothing is written then, so nobody can overtake."""
    return seen_version == _TOO_FEW


@compilable
def is_overtaken(seen_version: int, version: int) -> bool:
    """Whether somebody has written since the look."""
    return seen_version != version
