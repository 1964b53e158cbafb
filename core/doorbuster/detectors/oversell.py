"""Oversell: at some moment orders held more units than there were."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import Evidence, Finding, SaleBooks
from doorbuster.detectors.timeline import FreeUnits
from doorbuster.measures.columns import Integers


def detect(sale: SaleBooks) -> Finding:
    """One offence an order that was given units that were not there, or an item.

    An item is one when its shelf offers units at the end that orders hold.

    Live, an excess that is over within the clocks' slack is none: a release and the reservation
    that takes its units may be written down in the wrong order.
    """
    offences: list[Evidence] = []
    orders = sale.holders
    for code in sale.shelf:
        free = sale.free_units[code]
        offences += [
            {
                "order_id": orders.order_id[free.order[step]],
                "sku": sale.scenario.skus[code],
                "at_s": float(free.at_s[step]),
                "units_below_zero": int(-free.units[step]),
            }
            for step in steps_below_zero(free, sale.slack_s)
        ]
    for item in sale.audit.items if sale.audit else ():
        free_units = sale.free_units[sale.scenario.skus.index(item.sku)].at_the_end
        if item.available_units > max(free_units, 0):
            offences.append(
                {
                    "sku": item.sku,
                    "units_on_the_shelf": item.available_units,
                    "units_free": free_units,
                }
            )
    return Finding.of(offences)


def steps_below_zero(free: FreeUnits, slack_s: float) -> Integers:
    """Steps in which an order was given units that were not there, for longer than the slack."""
    below = free.units < 0
    # The excess lasts until the level is back at 0: the end of its run of negative levels.
    back_s = _ends(below, np.append(free.at_s[1:], np.inf))
    grew = np.diff(free.units, prepend=free.initial) < 0
    steps: Integers = np.flatnonzero(below & grew & (back_s - free.at_s > slack_s))
    return steps


def _ends(below: np.ndarray, until_s: np.ndarray) -> np.ndarray:
    """For each step, when the run of `below` steps that it belongs to ends."""
    ends = until_s.copy()
    for step in range(len(below) - 2, -1, -1):
        if below[step] and below[step + 1]:
            ends[step] = ends[step + 1]
    return ends
