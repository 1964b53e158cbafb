"""What a sweep releases: lapsed locks, or under two broken strategies more than that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doorbuster.compiling import plain
from doorbuster.scenario.shop import Strategy
from doorbuster_sim.strategies import stale_expiry, unguarded_release
from doorbuster_sim.tables import ABSENT_NS

if TYPE_CHECKING:
    from doorbuster_sim.simpy_engine.reservation import Reservation


class GuardedSweep:
    """Releases what is unpaid, past its time and not being paid."""

    sells_released = False
    """Whether money that comes for a released order sells it."""
    may_release_paid = False
    """Whether money may come for an order that the sweep has released."""

    def lapsed(self, orders: list[Reservation], now_ns: int) -> list[Reservation]:
        """The orders to release."""
        return [order for order in orders if order.is_unpaid and order.has_lapsed(now_ns)]

    def watched(self, orders: list[Reservation]) -> list[Reservation]:
        """The orders that a later sweep may release; called when those above are."""
        return [order for order in orders if order.is_unpaid]


class UnguardedSweep(GuardedSweep):
    """Releases what is past its time, once."""

    sells_released = True
    may_release_paid = True

    def lapsed(self, orders: list[Reservation], now_ns: int) -> list[Reservation]:
        """Paid or not."""
        is_released = plain(unguarded_release.is_released)
        return [order for order in orders if is_released(order.lapses_ns, now_ns)]

    def watched(self, orders: list[Reservation]) -> list[Reservation]:
        """What was not released yet."""
        return [order for order in orders if order.released_ns == ABSENT_NS]


class SweepByCopy(GuardedSweep):
    """Releases what a copy, as old as the last sweep, says has lapsed."""

    may_release_paid = True

    def __init__(self) -> None:
        self._copy: list[tuple[Reservation, int]] = []

    def lapsed(self, orders: list[Reservation], now_ns: int) -> list[Reservation]:
        """Without a look at the orders as they are now."""
        del orders
        has_lapsed = plain(stale_expiry.has_lapsed)
        return [order for order, lapses_ns in self._copy if has_lapsed(lapses_ns, now_ns)]

    def watched(self, orders: list[Reservation]) -> list[Reservation]:
        """The copy is renewed as well."""
        locked = super().watched(orders)
        looks_unpaid = plain(stale_expiry.looks_unpaid)
        self._copy = [
            (order, order.lapses_ns)
            for order in locked
            if looks_unpaid(order.is_locked, order.payments_in_flight)
        ]
        return locked


def sweep_of(strategy: Strategy) -> GuardedSweep:
    """What a sweep releases under a strategy."""
    if strategy == "unguarded_release":
        return UnguardedSweep()
    return SweepByCopy() if strategy == "stale_expiry" else GuardedSweep()
