"""`unguarded_release`, broken: the sweep releases each order once, as soon as its time is over.

It asks neither whether the order is paid nor whether it is being paid, and money that comes later
sells the units all the same, as in litemall.
"""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def is_released(lapses_ns: int, now_ns: int) -> bool:
    """Whether a sweep releases an order that it has not released yet."""
    return lapses_ns <= now_ns
