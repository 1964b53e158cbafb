"""Limit bypass: an account held more units at once, paid ones included, than its limit allows."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.columns import take


def detect(sale: SaleBooks) -> Finding:
    """One offence an account and item. Linked accounts are not looked through."""
    offences: list[Evidence] = []
    for code, item in enumerate(sale.scenario.shop.items):
        mine = take(sale.orders, sale.orders.sku == code)
        accounts, which = np.unique(mine.account.astype(str), return_inverse=True)
        units = np.bincount(which, mine.quantity, len(accounts))
        for number in np.flatnonzero(units > item.per_account_limit):
            own = take(mine, which == number)
            left = FreeUnits.of(own, code, item.per_account_limit)
            over = np.flatnonzero(left.units < 0)
            lasts_s = np.append(left.at_s[1:], np.inf) - left.at_s
            over = over[lasts_s[over] > sale.slack_s]
            if len(over):
                offences.append(
                    {
                        "account": str(accounts[number]),
                        "sku": item.sku,
                        "at_s": float(left.at_s[over[0]]),
                        "units": int(item.per_account_limit - left.units[over].min()),
                        "limit": item.per_account_limit,
                        "order_ids": own.order_id.tolist(),
                    }
                )
    return Finding.of(offences)
