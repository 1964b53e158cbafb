"""`prededuct`: a counter in front of the last station turns the crowd away; the database decides.

A wish takes its units from the counter when it looks. Without enough there it is refused at once
and never waits for the last station. Any later refusal gives them back, and each sweep sets the
counter to what the database has.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def is_let_in(counter_units: int, units: int) -> bool:
    """Whether the counter covers a wish."""
    return counter_units >= units


@compilable
def given_back(taken_units: int) -> int:
    """What goes back to the counter when a wish is refused behind it."""
    return taken_units


@compilable
def reconciled(counter_units: int, level_units: int) -> int:
    """The counter after a sweep."""
    return level_units
