"""Late release: locks that lapsed were given back later than the sweep explains."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import LEARNS_S, Evidence, Finding, SaleBooks
from doorbuster.measures.books import CHARGE_STATES, ORDER_STATES
from doorbuster.measures.columns import Floats
from doorbuster.measures.fault_times import STOPS_CHARGES, STOPS_DATABASE, STOPS_SHOP
from doorbuster.scenario.shop import EXTENDING

BATCH_S = 0.5
"""So long one sweep may take, live. Assumed: thousands of locks in batches of 500."""
_NOT_PAID = [ORDER_STATES.index(state) for state in ("locked", "open", "cart", "released")]


def detect(sale: SaleBooks) -> Finding:
    """One offence a lock that stayed longer than its time, its payment and one sweep."""
    orders = sale.orders
    lapsed = np.isin(orders.state, _NOT_PAID)
    given_back_s = np.where(np.isnan(orders.released_s), sale.end_s, orders.released_s)
    is_live = sale.slack_s > 0
    held_until_s = _held_until_s(sale) + (LEARNS_S if is_live else 0.0)
    sweep_s = sale.scenario.shop.release_sweep
    due_s = _put_off(sale, np.maximum(orders.expires_s, held_until_s)) + sweep_s
    # Live, a shop that is back sweeps when the next sweep is due, not at once.
    put_off_s = _put_off(sale, due_s)
    due_s = np.where(put_off_s > due_s, put_off_s + sweep_s * is_live, due_s)
    grace_s = sale.slack_s + (BATCH_S if is_live else 0.0)
    late = lapsed & np.isnan(orders.sold_s) & (given_back_s > due_s + grace_s + 1e-6)
    offences: list[Evidence] = [
        {
            "order_id": orders.order_id[place],
            "sku": sale.scenario.skus[orders.sku[place]],
            "expires_s": float(orders.expires_s[place]),
            "released_s": None
            if np.isnan(orders.released_s[place])
            else float(orders.released_s[place]),
            "late_by_s": float(given_back_s[place] - due_s[place]),
        }
        for place in np.flatnonzero(late)
    ]
    return Finding.of(offences)


def _put_off(sale: SaleBooks, moments_s: Floats) -> Floats:
    """Each moment, or the end of the faults that it falls into.

    A shop that is dead or frozen does not sweep, a live one without its database neither, and where
    payments hold their locks, one may be held by a charge that nobody has heard of yet. Live, the
    record of a fault begins when somebody has answered that it has.
    """
    kinds = STOPS_SHOP + (STOPS_DATABASE if sale.slack_s > 0 else ())
    if sale.scenario.shop.late_payment in EXTENDING:
        kinds += STOPS_CHARGES
    for fault in sale.faults:
        if fault.kind in kinds:
            begun_s = fault.begun_s - max(sale.slack_s, 1e-6)
            inside = (moments_s >= begun_s) & (moments_s < fault.ended_s)
            moments_s = np.where(inside, fault.ended_s, moments_s)
    return moments_s


def _held_until_s(sale: SaleBooks) -> np.ndarray:
    """Until when a payment rightly held each lock; -inf where none did.

    Live, one that was in flight when the provider could not be reached is in nobody's books, and
    holds its lock until the shop has heard that the provider knows nothing of it.
    """
    place = {name: number for number, name in enumerate(sale.orders.order_id)}
    held = np.full(len(place), -np.inf)
    if sale.scenario.shop.late_payment not in EXTENDING:
        return held
    charges = sale.charges
    open_ = charges.state == CHARGE_STATES.index("processing")
    decided_s = np.where(open_, np.inf, charges.decided_s)
    for order_id, until_s in zip(charges.order_id, decided_s, strict=True):
        if order_id in place:
            number = place[order_id]
            held[number] = max(held[number], until_s)
    if sale.slack_s > 0:
        orders = sale.orders
        for fault in sale.faults:
            if fault.kind in STOPS_CHARGES:
                begun_s = fault.begun_s - sale.slack_s
                alive = (orders.reserved_s < fault.ended_s) & (orders.expires_s >= begun_s)
                held = np.where(alive, np.maximum(held, fault.ended_s), held)
    return held
