"""Cache-database drift: the level that the shop shows is not what its orders leave."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks

DRIFT_S = 1.0
"""So long a shown level may lag behind: the second for which shops cache what they display."""


def detect(sale: SaleBooks) -> Finding:
    """One offence a reading that no level of the last second explains."""
    stock = sale.stock
    if not len(stock.at_s) or not len(sale.orders.order_id):
        return NOTHING_TO_JUDGE
    offences: list[Evidence] = []
    for code, free in enumerate(sale.free_units):
        mine = np.flatnonzero(stock.sku == code)
        from_s, until_s = stock.at_s[mine] - DRIFT_S, stock.at_s[mine] + sale.slack_s
        lowest = sale.surely_free_units[code].lowest_within(from_s, until_s)
        highest = free.highest_within(from_s, until_s)
        shown = stock.available[mine]
        off = np.where(shown < lowest, shown - lowest, np.maximum(shown - highest, 0))
        offences += [
            {
                "sku": sale.scenario.skus[code],
                "at_s": float(stock.at_s[mine[place]]),
                "shown": int(shown[place]),
                "units_off": int(off[place]),
            }
            for place in np.flatnonzero(off)
        ]
    return Finding.of(sorted(offences, key=lambda offence: offence["at_s"]))
