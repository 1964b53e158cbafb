"""How often a coupon may be redeemed."""

from __future__ import annotations

from doorbuster.compiling import compilable


@compilable
def may_redeem(redeemed: int, limit: int, account_uses: int, per_account: int) -> bool:
    """Whether one more order may carry the coupon; orders that are locked or paid count.

    A coupon that comes back from a lapsed order no longer counts.
    """
    return redeemed < limit and account_uses < per_account
