"""Stock leak: units that no order holds and the shelf does not offer, or that stay unsold."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks


def detect(sale: SaleBooks) -> Finding:
    """One offence an item that lost units, or kept them from buyers until the end."""
    offences: list[Evidence] = []
    audited = {item.sku: item for item in sale.audit.items} if sale.audit else {}
    for code, free in enumerate(sale.free_units):
        sku = sale.scenario.skus[code]
        shelf = audited[sku].available_units if sku in audited else None
        if shelf is not None and code in sale.shelf and shelf < free.at_the_end:
            offences.append(
                {"sku": sku, "units_free": free.at_the_end, "units_on_the_shelf": int(shelf)}
            )
            continue
        in_vain = np.flatnonzero(sale.refused_in_vain & (sale.request_items == code))
        if free.at_the_end > 0 and len(in_vain) and _refused_to_the_end(sale, code, in_vain):
            last = in_vain[np.argmax(sale.requests.sent_s[in_vain])]
            offences.append(
                {
                    "sku": sku,
                    "units_unsold": free.at_the_end,
                    "refused": len(in_vain),
                    "visitor": int(sale.requests.visitor[last]),
                    "sent_s": float(sale.requests.sent_s[last]),
                }
            )
    return Finding.of(offences)


def _refused_to_the_end(sale: SaleBooks, code: int, in_vain: np.ndarray) -> bool:
    """Whether nobody got any unit after the first refusal in vain of those left over."""
    reserved = sale.orders.reserved_s[sale.orders.sku == code]
    first_s = sale.requests.sent_s[in_vain].min()
    return not (reserved > first_s + sale.slack_s).any() or bool(
        sale.requests.sent_s[in_vain].max() > reserved.max()
    )
