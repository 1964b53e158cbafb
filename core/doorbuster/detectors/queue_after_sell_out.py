"""Queue after sell-out: buyers wait long for stock that was gone before they asked."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.vocabulary import Reply

WAIT_S = 10.0
"""So long nobody should wait for a no. At ten seconds a page has lost 2.2 times the visitors that
it loses at one (Google, by way of reference part D3)."""


def detect(sale: SaleBooks) -> Finding:
    """One offence a buyer who waited in vain from the start."""
    refused = sale.reserving(Reply.SOLD_OUT)
    waited_s = sale.requests.done_s - sale.requests.intended_s
    offences: list[Evidence] = []
    for code, free in enumerate(sale.free_units):
        mine = np.flatnonzero(refused & (waited_s > WAIT_S) & (sale.request_items == code))
        highest = free.highest_within(sale.requests.intended_s[mine], sale.requests.done_s[mine])
        gone = mine[highest < sale.request_quantities[mine]]
        offences += [_offence(sale, code, place, float(waited_s[place])) for place in gone]
    return Finding.of(sorted(offences, key=lambda offence: offence["intended_s"]))


def _offence(sale: SaleBooks, code: int, place: int, waited_s: float) -> Evidence:
    return {
        "sku": sale.scenario.skus[code],
        "visitor": int(sale.requests.visitor[place]),
        "intended_s": float(sale.requests.intended_s[place]),
        "waited_s": round(waited_s, 3),
    }
