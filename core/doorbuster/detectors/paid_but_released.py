"""Paid but released: the units of a paid order were given back, for somebody else to buy."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.oversell import steps_below_zero
from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES, ORDER_STATES
from doorbuster.measures.columns import Mask


def detect(sale: SaleBooks) -> Finding:
    """One offence an order that is paid, by its own word or by the provider's, and released.

    Money that the shop keeps decides: a payment that came too late and was given back is none.
    Where the shop rechecks its stock, neither is one that came after the release and bought units
    that nobody held. A refund that the buyer asked for is no release, and excuses none before it.
    """
    orders, charges = sale.orders, sale.charges
    if not len(orders.order_id):
        return Finding()
    kept = charges.state == CHARGE_STATES.index("captured")
    captured_s = dict(zip(charges.order_id[kept], charges.captured_s[kept], strict=True))
    refunded = orders.state == ORDER_STATES.index("refunded")
    refunded &= np.isnan(orders.refund_asked_s)
    booked = ~np.isnan(orders.sold_s) & ~np.isnan(orders.released_s) & ~refunded
    booked &= ~_bought_again(sale)
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


def _bought_again(sale: SaleBooks) -> Mask:
    """Orders that were first released and then sold, out of units that were free again."""
    orders = sale.orders
    again: Mask = orders.released_s <= orders.sold_s
    if sale.scenario.shop.late_payment != "recheck_stock":
        return np.zeros_like(again)
    for free in (sale.free_units[code] for code in sale.shelf):
        again[free.order[steps_below_zero(free, sale.slack_s)]] = False
    return again
