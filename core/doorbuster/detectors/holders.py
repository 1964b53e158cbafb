"""What holds units and when: orders, or where only payments lock them, the charges of orders."""

from __future__ import annotations

import numpy as np

from doorbuster.measures.books import ORDER_STATES, Charges, Orders
from doorbuster.measures.columns import Integers, Mask, at_places, take


def paying_holders(orders: Orders, charges: Charges, end_s: float) -> Orders:
    """One entry a payment: the order that it is for, with the times in which it held its units.

    It holds them from the provider's being asked until a no, and where the money was taken until a
    refund puts them back. A paid order without a charge in the provider's book holds them from its
    sale on; one that was charged twice holds them once. An order that is locked when the books are
    read, though the provider has not heard of it, holds them then; since when, nobody tells.
    """
    place = {name: number for number, name in enumerate(orders.order_id)}
    which = np.array([place.get(name, -1) for name in charges.order_id], np.int64)
    charges, which = take(charges, which >= 0), which[which >= 0]
    is_paid = ~np.isnan(charges.captured_s)
    once = ~is_paid | _is_first(which, is_paid)
    charges, which, is_paid = take(charges, once), which[once], is_paid[once]
    held = at_places(orders, which)._replace(reserved_s=charges.asked_s)
    never_s = np.full(len(which), np.nan)
    refused = held._replace(
        state=np.full(len(which), ORDER_STATES.index("released")),
        released_s=charges.decided_s,
        sold_s=never_s,
        refund_asked_s=never_s,
        returned_s=never_s,
    )
    is_untold = ~np.isnan(orders.sold_s)
    is_untold[which[is_paid]] = False
    untold = take(orders, is_untold)
    is_unheard = orders.state == ORDER_STATES.index("locked")
    is_unheard[which[np.isnan(charges.decided_s)]] = False
    unheard = take(orders, is_unheard)
    parts = (
        take(refused, ~is_paid),
        take(held, is_paid),
        untold._replace(reserved_s=untold.sold_s),
        unheard._replace(reserved_s=np.full(len(unheard.sku), end_s)),
    )
    return Orders(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _is_first(which: Integers, chosen: Mask) -> Mask:
    """Which entries are the first chosen ones of their orders."""
    places = np.flatnonzero(chosen)
    _, first = np.unique(which[places], return_index=True)
    found = np.zeros_like(chosen)
    found[places[first]] = True
    return found
