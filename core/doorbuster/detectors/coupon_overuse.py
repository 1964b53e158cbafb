"""Coupon over-use: at some moment more orders carried the coupon than may, in all or of an account.

An order carries it from its reservation until its units are given back, and a paid one for ever,
also if its buyer was granted a refund.
"""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.oversell import steps_below_zero
from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.books import Orders
from doorbuster.measures.columns import take


def detect(sale: SaleBooks) -> Finding:
    """One offence an order that was given a coupon too many, and one an account with too many.

    Live, an excess that is over within the clocks' slack is none, as for oversell.
    """
    coupon = sale.scenario.shop.coupon
    carrying = take(sale.orders, sale.orders.discount_cents > 0)
    if coupon is None or not len(carrying.order_id):
        return NOTHING_TO_JUDGE
    left = _left(carrying, coupon.limit)
    offences: list[Evidence] = [
        {
            "order_id": carrying.order_id[left.order[step]],
            "at_s": float(left.at_s[step]),
            "redemptions": int(coupon.limit - left.units[step]),
            "limit": coupon.limit,
        }
        for step in steps_below_zero(left, sale.slack_s)
    ]
    accounts, which = np.unique(carrying.account.astype(str), return_inverse=True)
    often = np.flatnonzero(np.bincount(which, minlength=len(accounts)) > coupon.per_account)
    for number in often:
        own = take(carrying, which == number)
        left = _left(own, coupon.per_account)
        steps = steps_below_zero(left, sale.slack_s)
        if len(steps):
            offences.append(
                {
                    "account": str(accounts[number]),
                    "at_s": float(left.at_s[steps[0]]),
                    "redemptions": int(coupon.per_account - left.units[steps].min()),
                    "limit": coupon.per_account,
                    "order_ids": own.order_id.tolist(),
                }
            )
    return Finding.of(offences)


def _left(carrying: Orders, limit: int) -> FreeUnits:
    """Coupons that no order carries, as if each were a unit of one item."""
    zeros, never_s = np.zeros_like(carrying.sku), np.full(len(carrying.sku), np.nan)
    one_each = carrying._replace(sku=zeros, quantity=zeros + 1, returned_s=never_s)
    return FreeUnits.of(one_each, 0, limit)
