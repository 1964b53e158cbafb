"""`check_then_write`, broken: the level that was seen is written back, less what was taken.

Whoever took or gave units back between the look and the write has not done so: two buyers who
both see one unit both get it.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def has_enough(seen_units: int, units: int) -> bool:
    """Whether the level that was seen covers a wish."""
    return seen_units >= units


@compilable
def written_level(seen_units: int, units: int) -> int:
    """The level after the write, whatever it was before."""
    return seen_units - units
