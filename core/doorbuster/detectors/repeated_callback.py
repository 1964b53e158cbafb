"""Duplicate or reordered callback: an order went back from paid, or took its units twice."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.measures.books import ORDER_STATES


def detect(sale: SaleBooks) -> Finding:
    """One offence an order that went back from paid without a refund, or an item.

    An item is one when more of its units are sold than its paid orders hold, and refunded ones
    whose goods were sent.
    """
    orders = sale.orders
    went_back = (
        ~np.isnan(orders.sold_s)
        & (orders.state != ORDER_STATES.index("sold"))
        & (orders.state != ORDER_STATES.index("refunded"))
        & np.isnan(orders.refund_asked_s)
    )
    is_sent = ~np.isnan(orders.refund_asked_s) & np.isnan(orders.returned_s)
    offences: list[Evidence] = [
        {
            "order_id": orders.order_id[place],
            "sku": sale.scenario.skus[orders.sku[place]],
            "sold_s": float(orders.sold_s[place]),
            "state": ORDER_STATES[orders.state[place]],
        }
        for place in np.flatnonzero(went_back)
    ]
    for item in sale.audit.items if sale.audit else ():
        mine = sale.taken.item == sale.scenario.skus.index(item.sku)
        sold = (orders.state == ORDER_STATES.index("sold")) | is_sent
        units = int(sale.taken.units[mine & sold[sale.taken.order]].sum())
        if item.sold_units > units:
            offences.append(
                {"sku": item.sku, "units_sold": item.sold_units, "units_in_paid_orders": units}
            )
    return Finding.of(offences)
