"""Paid and lost: the provider has the money, the buyer has neither an order nor a refund."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES

REFUND_WITHIN_S = 5.0
"""So long after a capture it may take until the shop has booked it or given it back. Assumed: one
repetition of a failed refund. What was captured later than that before the end is not judged."""


def detect(sale: SaleBooks) -> Finding:
    """One offence a captured charge whose order never became paid."""
    orders, charges = sale.orders, sale.charges
    if not len(charges.charge_id):
        return NOTHING_TO_JUDGE
    paid = set(orders.order_id[~np.isnan(orders.sold_s)])
    known = dict(zip(orders.order_id, orders.released_s, strict=True))
    kept = charges.state == CHARGE_STATES.index("captured")
    old = charges.captured_s < sale.end_s - REFUND_WITHIN_S
    offences: list[Evidence] = [
        {
            "charge_id": charges.charge_id[place],
            "order_id": charges.order_id[place],
            "amount_cents": int(charges.amount_cents[place]),
            "captured_s": float(charges.captured_s[place]),
            "released_s": _seconds(known.get(charges.order_id[place])),
        }
        for place in np.flatnonzero(kept & old)
        if charges.order_id[place] not in paid
    ]
    return Finding.of(offences)


def _seconds(time_s: float | None) -> float | None:
    return None if time_s is None or np.isnan(time_s) else float(time_s)
