"""Fragmentation: some buyers are told sold out while others buy the same item."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks


def detect(sale: SaleBooks) -> Finding:
    """One offence a buyer refused in vain before somebody else got as many units."""
    offences: list[Evidence] = []
    for code in range(len(sale.free_units)):
        mine = np.flatnonzero(sale.refused_in_vain & (sale.request_items == code))
        orders = sale.orders
        bought = np.flatnonzero(orders.sku == code)
        for place in mine[np.argsort(sale.requests.sent_s[mine])]:
            done_s = sale.requests.done_s[place]
            later = bought[
                (orders.reserved_s[bought] > done_s + sale.slack_s)
                & (orders.quantity[bought] >= sale.request_quantities[place])
            ]
            # Units that lapsed meanwhile prove nothing: they were not there when the buyer asked.
            lowest = sale.free_units[code].lowest_within(
                np.full(len(later), sale.requests.sent_s[place]), orders.reserved_s[later] - 1e-9
            )
            later = later[lowest >= sale.request_quantities[place]]
            if len(later):
                offences.append(
                    {
                        "sku": sale.scenario.skus[code],
                        "visitor": int(sale.requests.visitor[place]),
                        "refused_s": float(done_s),
                        "order_id": orders.order_id[later[0]],
                        "reserved_s": float(orders.reserved_s[later[0]]),
                    }
                )
    return Finding.of(offences)
