"""Paid and lost: the provider has the money, the buyer has neither an order nor a refund.

Lost is also money that the shop has granted to give back: when it says that it has and the provider
still keeps it, and when the promised time is over.
"""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES, ORDER_STATES
from doorbuster.measures.columns import Floats
from doorbuster.measures.fault_times import STOPS_CHARGES, STOPS_SHOP, stopped_s
from doorbuster.measures.refunds import refunds_of

REFUND_WITHIN_S = 5.0
"""So long after a capture it may take until the shop has booked it or given it back. Assumed: one
repetition of a failed refund. What was captured later than that before the end is not judged."""


def detect(sale: SaleBooks) -> Finding:
    """One offence a captured charge whose order never became paid, or a refund without money."""
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
    return Finding.of(offences + _never_paid_out(sale))


def _never_paid_out(sale: SaleBooks) -> list[Evidence]:
    """Refunds that the shop says are done and are not, or that are open past their promise."""
    promise, orders = sale.scenario.shop.refund, sale.orders
    refunds = refunds_of(orders, sale.charges)
    is_done = orders.state[refunds.order] == ORDER_STATES.index("refunded")
    is_old = refunds.asked_s < sale.end_s - REFUND_WITHIN_S
    lost = refunds.is_open & is_done & is_old
    if promise is not None:
        due_s = refunds.asked_s + promise.within_s + _stopped_s(sale, refunds.asked_s)
        lost |= refunds.is_open & (due_s < sale.end_s - sale.slack_s)
    return [
        {
            "order_id": orders.order_id[order],
            "amount_cents": int(orders.amount_cents[order]),
            "sold_s": float(orders.sold_s[order]),
            "refund_asked_s": float(orders.refund_asked_s[order]),
            "state": ORDER_STATES[orders.state[order]],
        }
        for order in refunds.order[lost]
    ]


def _stopped_s(sale: SaleBooks, from_s: Floats) -> Floats:
    """For how long after each moment nothing could be paid out: no promise is kept without those.

    Faults that overlap count twice, for the better of the shop.
    """
    return stopped_s(sale.faults, STOPS_SHOP + STOPS_CHARGES, from_s)


def _seconds(time_s: float | None) -> float | None:
    return None if time_s is None or np.isnan(time_s) else float(time_s)
