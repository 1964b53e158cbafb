"""Paid but released: the units of a paid order were given back, for somebody else to buy."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES, ORDER_STATES


def detect(sale: SaleBooks) -> Finding:
    """One offence an order that is paid, by its own word or by the provider's, and released.

    Money that the shop keeps decides: a payment that came too late and was given back is none.
    """
    orders, charges = sale.orders, sale.charges
    if not len(orders.order_id):
        return Finding()
    kept = charges.state == CHARGE_STATES.index("captured")
    captured_s = dict(zip(charges.order_id[kept], charges.captured_s[kept], strict=True))
    refunded = orders.state == ORDER_STATES.index("refunded")
    booked = ~np.isnan(orders.sold_s) & ~np.isnan(orders.released_s) & ~refunded
    offences: list[Evidence] = [
        {
            "order_id": orders.order_id[place],
            "sku": sale.scenario.skus[orders.sku[place]],
            "expires_s": float(orders.expires_s[place]),
            "released_s": float(orders.released_s[place]),
            "sold_s": float(orders.sold_s[place]),
            "captured_s": captured_s.get(orders.order_id[place]),
        }
        for place in np.flatnonzero(booked)
    ]
    return Finding.of(offences)
