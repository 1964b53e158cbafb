"""`stale_expiry`, broken: the sweep believes a copy that is as old as the last sweep.

As in Saleor, where lapsed checkouts are picked from a replica and released without another look.
What was paid since the copy was taken loses its units and keeps its charge; what is being paid
does, too, and its money goes back when it comes.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def looks_unpaid(is_locked: bool, payments_in_flight: int) -> bool:
    """Whether an order is unpaid at the moment of the copy."""
    return is_locked and payments_in_flight == 0


@compilable
def has_lapsed(lapses_ns: int, sweep_ns: int) -> bool:
    """Whether the sweep that reads the copy finds the order past its time."""
    return lapses_ns <= sweep_ns
