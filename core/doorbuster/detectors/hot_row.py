"""Hot-row contention: buyers of one item wait for each other while the shop is quick."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.columns import STEPS

REQUESTS_MIN = 200
"""Requests of an item and of the pages beside it that a p99 needs at least."""
SLOW_S, SLOW_TIMES = 1.0, 10.0
"""Contention: reservations of the item take a second at p99, ten times as long as pages that were
asked for meanwhile. Assumed; write-ups of hot rows tell of timeouts."""


def detect(sale: SaleBooks) -> Finding:
    """One offence an item; requests that met a fault say nothing about its row."""
    requests = sale.requests
    answered = ~np.isnan(requests.done_s)
    for fault in sale.faults:
        before = requests.done_s < fault.begun_s - sale.slack_s
        answered &= before | (requests.sent_s >= fault.ended_s + sale.slack_s)
    response_s = requests.done_s - requests.sent_s
    pages = np.flatnonzero(answered & (requests.step == STEPS.index("browse")))
    reserving = answered & sale.asks_for_units
    offences: list[Evidence] = []
    judged = False
    for code, item in enumerate(sale.scenario.shop.items):
        mine = np.flatnonzero(reserving & (sale.request_items == code))
        if len(mine) < REQUESTS_MIN:
            continue
        low_s, high_s = np.quantile(requests.sent_s[mine], [0.05, 0.95])
        beside = pages[(requests.sent_s[pages] >= low_s) & (requests.sent_s[pages] <= high_s)]
        if len(beside) < REQUESTS_MIN:
            continue
        judged = True
        row_s, page_s = (float(np.quantile(response_s[p], 0.99)) for p in (mine, beside))
        if row_s > max(SLOW_S, SLOW_TIMES * page_s):
            offences.append(
                {
                    "sku": item.sku,
                    "from_s": float(low_s),
                    "until_s": float(high_s),
                    "reserve_p99_s": round(row_s, 4),
                    "browse_p99_s": round(page_s, 4),
                    "requests": len(mine),
                }
            )
    return Finding.of(offences) if judged else NOTHING_TO_JUDGE
