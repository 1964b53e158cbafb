"""Double charge: the provider kept the money of more than one charge of an order."""

from __future__ import annotations

from collections import Counter

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES


def detect(sale: SaleBooks) -> Finding:
    """One offence an order."""
    charges = sale.charges
    if not len(charges.charge_id):
        return NOTHING_TO_JUDGE
    kept = np.flatnonzero(charges.state == CHARGE_STATES.index("captured"))
    often = [name for name, n in Counter(charges.order_id[kept]).items() if n > 1]
    offences: list[Evidence] = []
    for order_id in often:
        places = [place for place in kept if charges.order_id[place] == order_id]
        offences.append(
            {
                "order_id": order_id,
                "charge_ids": [charges.charge_id[place] for place in places],
                "captured_s": [float(charges.captured_s[place]) for place in places],
                "amount_cents": int(sum(charges.amount_cents[place] for place in places)),
            }
        )
    return Finding.of(offences)
