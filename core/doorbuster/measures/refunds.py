"""Refunds out of the books: when the shop granted each, and when the buyer had the money."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from doorbuster.measures.books import CHARGE_STATES, Charges, Orders
from doorbuster.measures.columns import Floats, Integers, Mask
from doorbuster.measures.quantiles import quantile


class Refunds(NamedTuple):
    """One entry a granted refund. Times in seconds from T0.

    order: its place among the orders. back_s: NaN as long as the provider keeps the money.
    """

    replication: Integers
    order: Integers
    asked_s: Floats
    back_s: Floats

    def chosen(self, mask: Mask) -> Refunds:
        """The entries where the mask is true."""
        return Refunds(
            self.replication[mask], self.order[mask], self.asked_s[mask], self.back_s[mask]
        )

    @property
    def took_s(self) -> Floats:
        """From the shop's yes until the money was back; NaN for one that is open."""
        return self.back_s - self.asked_s

    @property
    def is_open(self) -> Mask:
        """Those whose money is not back."""
        found: Mask = np.isnan(self.back_s)
        return found


def refunds_of(orders: Orders, charges: Charges) -> Refunds:
    """All refunds that were granted.

    The provider's word counts: the money is back when no charge of the order is kept any more.
    """
    granted = np.flatnonzero(~np.isnan(orders.refund_asked_s))
    place = {
        (int(orders.replication[order]), orders.order_id[order]): number
        for number, order in enumerate(granted)
    }
    back_s = np.full(len(granted), np.nan)
    if place:
        names = list(zip(charges.replication.tolist(), charges.order_id, strict=True))
        _note(back_s, place, names, charges)
    return Refunds(orders.replication[granted], granted, orders.refund_asked_s[granted], back_s)


def _note(
    back_s: Floats,
    place: dict[tuple[int, str], int],
    names: list[tuple[int, str]],
    charges: Charges,
) -> None:
    """The last refund of each order; none where a charge is kept."""
    for number in np.flatnonzero(charges.state == CHARGE_STATES.index("refunded")):
        found = place.get(names[number])
        if found is not None:
            back_s[found] = np.fmax(back_s[found], charges.refunded_s[number])
    for number in np.flatnonzero(charges.state == CHARGE_STATES.index("captured")):
        found = place.get(names[number])
        if found is not None:
            back_s[found] = np.nan


def too_late(refunds: Refunds, limit_s: float, end_s: float) -> tuple[Mask, Mask]:
    """Which refunds count for an objective, and which of those are too late.

    One that is open at the end (end_s) counts if its time is over by then.
    """
    waited_s = np.where(refunds.is_open, end_s - refunds.asked_s, refunds.took_s)
    late = waited_s > limit_s
    return ~refunds.is_open | late, late


def refund_quantile_s(refunds: Refunds, fraction: float) -> float:
    """A quantile of the time that refunds took which are paid out; NaN of none."""
    return quantile(refunds.took_s[~refunds.is_open], fraction)
