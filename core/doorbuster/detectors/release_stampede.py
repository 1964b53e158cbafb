"""Stampede on release: many locks lapse at one sweep, and the rush for them hurts the shop."""

from __future__ import annotations

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.books import ORDER_STATES
from doorbuster.measures.columns import Mask
from doorbuster.vocabulary import FAILED_REPLIES

UNITS_MIN, UNITS_SHARE = 5, 0.1
"""What counts as a mass release: at least five units and a tenth of the item's stock at once."""
RUSH_S, BEFORE_S = 2.0, 5.0
"""The time after a release and the time before it that are compared. Assumed."""
RATE_TIMES = 2.0
"""Requests a second after the release against those before. Assumed."""
SLOW_S, SLOW_TIMES, FAILED_SHARE = 0.5, 3.0, 0.05
"""What counts as hurt: a p95 of half a second and three times as long as before, or every
twentieth request failed that did not fail before. Assumed."""
REQUESTS_MIN = 50


def detect(sale: SaleBooks) -> Finding:
    """One offence a mass release with a rush that made the shop slow or fail."""
    releases = [release for release in _mass_releases(sale) if not _is_disturbed(sale, release[1])]
    if not releases:
        return NOTHING_TO_JUDGE
    offences: list[Evidence] = []
    sent_s = sale.requests.intended_s
    for sku, at_s, units in releases:
        before = (sent_s >= at_s - BEFORE_S) & (sent_s < at_s)
        after = (sent_s >= at_s) & (sent_s < at_s + RUSH_S)
        if after.sum() < REQUESTS_MIN or before.sum() < REQUESTS_MIN:
            continue
        before_s = min(BEFORE_S, at_s - float(sent_s.min()))
        rate_times = float(after.sum() / RUSH_S / (before.sum() / before_s))
        calm_p95_s, rush_p95_s = _p95_s(sale, before), _p95_s(sale, after)
        calm_failed, rush_failed = _failed(sale, before), _failed(sale, after)
        is_slow = rush_p95_s > max(SLOW_S, SLOW_TIMES * calm_p95_s)
        if rate_times > RATE_TIMES and (is_slow or rush_failed > calm_failed + FAILED_SHARE):
            offences.append(
                {
                    "sku": sku,
                    "released_s": at_s,
                    "units": units,
                    "rate_times": round(rate_times, 2),
                    "p95_before_s": round(calm_p95_s, 4),
                    "p95_after_s": round(rush_p95_s, 4),
                    "failed_share": round(rush_failed, 4),
                }
            )
    return Finding.of(offences)


def _mass_releases(sale: SaleBooks) -> list[tuple[str, float, int]]:
    """(item, moment, units) of each sweep that gave back many at once."""
    orders, sweep_s = sale.orders, sale.scenario.shop.release_sweep
    if sale.scenario.shop.lock_point == "payment":
        return []  # An order that lapses holds nothing.
    found = []
    swept = (orders.state != ORDER_STATES.index("cancelled")) & ~np.isnan(orders.released_s)
    for code in sale.shelf:
        item = sale.scenario.shop.items[code]
        lines = (sale.taken.item == code) & swept[sale.taken.order]
        mine = sale.taken.order[lines]
        sweeps, which = np.unique(np.floor(orders.released_s[mine] / sweep_s), return_inverse=True)
        units = np.bincount(which, sale.taken.units[lines], len(sweeps))
        for number in np.flatnonzero(units >= max(UNITS_MIN, UNITS_SHARE * item.stock)):
            at_s = float(orders.released_s[mine][which == number].min())
            found.append((item.sku, at_s, int(units[number])))
    return found


def _is_disturbed(sale: SaleBooks, at_s: float) -> bool:
    """Whether a fault that begins or ends makes the times before and after hard to compare."""
    begin_s, end_s = at_s - BEFORE_S, at_s + RUSH_S
    edges = [edge for fault in sale.faults for edge in (fault.begun_s, fault.ended_s)]
    return any(begin_s < edge < end_s for edge in edges)


def _p95_s(sale: SaleBooks, mask: Mask) -> float:
    """p95 of the response time; what was never answered counts as endless."""
    response_s = sale.requests.done_s[mask] - sale.requests.intended_s[mask]
    return float(
        np.quantile(np.where(np.isnan(response_s), np.inf, response_s), 0.95, method="higher")
    )


def _failed(sale: SaleBooks, mask: Mask) -> float:
    return float(np.isin(sale.requests.reply[mask], [int(r) for r in FAILED_REPLIES]).mean())
