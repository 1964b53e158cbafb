"""How much one account may buy of one item."""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def within_purchase_limit(held_units: int, wanted_units: int, limit_units: int) -> bool:
    """Whether an account may reserve more; held units count locked and paid ones.

    Units that come back from a lapsed lock no longer count.
    """
    return held_units + wanted_units <= limit_units
