"""`prededuct_without_return`, broken: the counter of `prededuct` only ever goes down.

Whoever is refused behind it, and whose lock lapses, has used its units up: buyers are told sold
out while units lie in the database.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def given_back(taken_units: int) -> int:
    """Nothing goes back."""
    return 0


@compilable
def reconciled(counter_units: int, level_units: int) -> int:
    """The counter after a sweep: nobody compares it with the level."""
    return counter_units
