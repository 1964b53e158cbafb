"""The coupon of a sale: how often it is redeemed, and by whom."""

from __future__ import annotations

from collections import defaultdict

from doorbuster.compiling import plain
from doorbuster.rules.coupon import may_redeem
from doorbuster.scenario.shop import BROKEN_REDEEMS, Coupon
from doorbuster_sim.coupon import USED_UP, count_given_back, written_count


class CouponBook:
    """Counts the orders that carry the coupon. Below its limit, unless it is counted wrongly."""

    def __init__(self, coupon: Coupon) -> None:
        self._limit, self._per_account = coupon.limit, coupon.per_account
        self._off_cents = coupon.off_cents
        self._believes_looks = coupon.redeem in BROKEN_REDEEMS
        self._redeemed = 0
        self._uses: defaultdict[int, int] = defaultdict(int)
        """By account."""

    def look(self, account: int) -> int:
        """The count, as a wish sees it before it waits for the last station; or USED_UP."""
        return self._redeemed if self.is_left(account) else USED_UP

    def is_left(self, account: int) -> bool:
        """Whether one more order of an account may carry the coupon."""
        uses = self._uses[account]
        return plain(may_redeem)(self._redeemed, self._limit, uses, self._per_account)

    def redeem(self, account: int, seen: int) -> int:
        """For an order that has its units: what it costs less, in cents."""
        if self._believes_looks:
            if seen == USED_UP:
                return 0
            self._uses[account] += 1
            self._redeemed = plain(written_count)(seen)
            return self._off_cents
        return self.take(account) if self.is_left(account) else 0

    def take(self, account: int) -> int:
        """Redeem one that is left: likewise."""
        self._uses[account] += 1
        self._redeemed += 1
        return self._off_cents

    def give_back(self, account: int) -> None:
        """An order that carried it has lapsed, or was cancelled."""
        self._uses[account] -= 1
        self._redeemed = plain(count_given_back)(self._redeemed)
