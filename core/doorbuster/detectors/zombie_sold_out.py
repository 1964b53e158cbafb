"""Zombie sold-out flag: units came back, and everybody is still told sold out."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.vocabulary import Reply


def detect(sale: SaleBooks) -> Finding:
    """One offence an item whose buyers were all refused after units came back to the end."""
    offences: list[Evidence] = []
    decided = sale.reserving(Reply.OK, Reply.SOLD_OUT)
    for code, free in enumerate(sale.free_units):
        empty = np.flatnonzero(free.units <= 0)
        if not len(empty) or free.at_the_end <= 0:
            continue
        mine = decided & (sale.request_items == code)
        refused = np.flatnonzero(sale.refused_in_vain & (sale.request_items == code))
        after = refused[sale.requests.sent_s[refused] > free.at_s[empty[0]]]
        if not len(after):
            continue
        back_s = float(sale.requests.sent_s[after].min())
        served = mine & (sale.requests.reply == Reply.OK) & (sale.requests.sent_s > back_s)
        if served.any():
            continue
        offences.append(
            {
                "sku": sale.scenario.skus[code],
                "sold_out_s": float(free.at_s[empty[0]]),
                "units_free": free.at_the_end,
                "refused": len(after),
                "refused_from_s": back_s,
            }
        )
    return Finding.of(offences)
