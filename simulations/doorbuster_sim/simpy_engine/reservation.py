"""A reservation and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from doorbuster_sim.tables import ABSENT_NS


class LockState(Enum):
    """Where a reservation stands."""

    LOCKED = "locked"
    PAID = "paid"
    RELEASED = "released"
    CANCELLED = "cancelled"
    REFUNDING = "refunding"
    REFUNDED = "refunded"
    OPEN = "open"
    CART = "cart"


@dataclass
class Reservation:
    """Stock that one account holds until it is paid or lapses.

    Where `is_extended`, a payment in flight holds the lock beyond its time, until the provider has
    answered; it lapses at that moment then.
    """

    item: int
    account: int
    units: int
    lapses_ns: int
    state: LockState = LockState.LOCKED
    payments_in_flight: int = 0
    expires_ns: int = ABSENT_NS
    """When it was to lapse at first."""
    reserved_ns: int = ABSENT_NS
    released_ns: int = ABSENT_NS
    sold_ns: int = ABSENT_NS
    bucket: int = 0
    discount_cents: int = 0
    """What its coupon takes off."""
    refund_asked_ns: int = ABSENT_NS
    returned_ns: int = ABSENT_NS
    """When a refund put its units back on the shelf."""
    paid_out_ns: int = ABSENT_NS
    """When the money of a refund is back, perhaps after the end of the sale."""
    is_extended: bool = True

    @property
    def is_locked(self) -> bool:
        """Whether it holds units that nobody has paid."""
        return self.state in (LockState.LOCKED, LockState.CART)

    @property
    def is_unpaid(self) -> bool:
        """Whether it waits to be ordered or paid, whether or not it holds units."""
        return self.state in (LockState.LOCKED, LockState.OPEN, LockState.CART)

    @property
    def is_held(self) -> bool:
        """Whether a payment in flight keeps it from lapsing."""
        return self.is_extended and self.payments_in_flight > 0

    def has_lapsed(self, now_ns: int) -> bool:
        """Whether the lock is gone, or its time is over and no payment holds it."""
        if self.is_unpaid:
            return now_ns >= self.lapses_ns and not self.is_held
        return self.state is not LockState.PAID

    def end_hold(self, now_ns: int) -> None:
        """The provider has answered."""
        self.payments_in_flight -= 1
        if self.is_extended:
            self.lapses_ns = max(self.lapses_ns, now_ns)
