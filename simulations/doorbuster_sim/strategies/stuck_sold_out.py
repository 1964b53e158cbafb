"""`stuck_sold_out`, broken: once a wish found an item sold out, a flag refuses all that follow.

Nothing takes the flag down when units come back. The product page goes on telling the truth.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def has_enough(is_flagged: int, level_units: int, units: int) -> bool:
    """Whether a wish gets its units; who does not raises the flag."""
    return is_flagged == 0 and level_units >= units
