"""How the simulated shop counts the orders that carry its coupon: what differs, for both engines.

A request *looks* when it reaches the last station of `reserve`, before it waits there; its coupon
is *redeemed* where the stock decision falls, after its units are taken. A coupon that is used up
refuses nobody: the order costs the full price.
"""

from __future__ import annotations

from doorbuster.compiling import compilable
from doorbuster.scenario.shop import REDEEMS

CONDITIONAL_UPDATE, CHECK_THEN_WRITE = range(len(REDEEMS))
"""The values of `shop.coupon.redeem` as compiled code knows them, in the order of REDEEMS."""
NO_COUPON = -1
"""Instead of one of these: the shop has no coupon."""
USED_UP = -1
"""Instead of the count that a look has seen: there is nothing to redeem."""


@compilable
def written_count(seen: int) -> int:
    """`check_then_write`, broken: the count after the write, whatever it was before."""
    return seen + 1


@compilable
def count_given_back(redeemed: int) -> int:
    """The count after an order has given its coupon back.

    A count that is too low, as `check_then_write` leaves it, still does not fall below zero.
    """
    return max(redeemed - 1, 0)
