"""How the shop gives money back to buyers who have paid and ask for it."""

from __future__ import annotations

from typing import Literal, get_args

from doorbuster.scenario.base import Part
from doorbuster.scenario.distributions import Distribution, lognormal
from doorbuster.scenario.durations import PositiveDuration

Payout = Literal["retry", "mark_only"]
PAYOUTS: tuple[Payout, ...] = get_args(Payout)
"""How a shop may see to it that its provider gives the money back."""
BROKEN_PAYOUTS: frozenset[Payout] = frozenset({"mark_only"})
"""Those that keep a buyer's money on purpose: they prove that the detectors work."""

UNSHIPPED_WITHIN_S, INTERCEPTED_WITHIN_S = 3600.0, 86_400.0


class Refund(Part):
    """Paid orders may be given back (docs/order-life.md)."""

    delay: Distribution = lognormal("10m", 0.6)
    """From the shop's yes until its provider is told to pay: the queue of the finance department.
    Default assumed: 99 % within 41 minutes."""
    within: PositiveDuration | None = None
    """So soon the buyer is promised to have the money, from the shop's yes on. Default 1h where
    `returns_stock`, the promise of campaign documents for orders that are not shipped; else 24h,
    theirs for parcels that are intercepted on their way."""
    returns_stock: bool = True
    """Whether the units are for sale again at the shop's yes. False for goods that have been sent:
    they stay counted as sold, and against the purchase limit of their account."""
    payout: Payout = "retry"
    """`retry`: the provider is asked under one idempotency key until it has paid. `mark_only`,
    broken: the order is marked as refunded and nobody tells the provider, as where a clerk sets
    the state of an order by hand. Allowed only where nothing else is broken."""

    @property
    def within_s(self) -> float:
        """The promise, its default filled in."""
        if self.within is not None:
            return self.within
        return UNSHIPPED_WITHIN_S if self.returns_stock else INTERCEPTED_WITHIN_S
