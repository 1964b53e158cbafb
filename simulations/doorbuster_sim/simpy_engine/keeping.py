"""How the ledger keeps its stock: one class for each strategy that differs from the first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from doorbuster.compiling import plain
from doorbuster.scenario.shop import Strategy
from doorbuster_sim.simpy_engine.bundles import BundleStock
from doorbuster_sim.strategies import (
    OVERTAKEN,
    TOO_FEW,
    buckets,
    check_then_write,
    conditional_update,
    optimistic,
    prededuct,
    prededuct_without_return,
    stuck_sold_out,
)

if TYPE_CHECKING:
    from doorbuster_sim.simpy_engine.reservation import Reservation
    from doorbuster_sim.simpy_engine.stock import ItemStock, Stock


class ConditionalUpdate:
    """Looks at nothing before, takes what is there."""

    def look(self, stock: Stock, units: int) -> int | None:
        """What the decision needs of an earlier look; None for a wish that is not let in."""
        del stock, units
        return 0

    def is_in_vain(self, stock: Stock, seen: int) -> bool:
        """Whether a wish that gets its server now cannot be fulfilled by what it has seen."""
        del stock, seen
        return False

    def refuse(self, stock: Stock, seen: int) -> None:
        """A wish that had looked is refused."""

    def know_again(self, stock: Stock, seen: int) -> None:
        """A wish that had looked was fulfilled by an earlier request."""

    def take(self, stock: Stock, account: int, units: int, seen: int) -> int:
        """Move units to locked: the bucket they came from, or TOO_FEW or OVERTAKEN."""
        del account, seen
        return self._take_if_enough(stock, units)

    def take_again(self, stock: Stock, account: int, units: int) -> int:
        """Move units of a released order to locked, for which money has come: likewise."""
        del account
        return self._take_if_enough(stock, units)

    def _take_if_enough(self, stock: Stock, units: int) -> int:
        if not plain(conditional_update.has_enough)(stock.available, units):
            return TOO_FEW
        stock.move(available=-units, locked=units)
        return 0

    def give_back(self, stock: Stock, order: Reservation) -> None:
        """Units of an order are back on the shelf."""

    def end_sweep(self, items: list[ItemStock]) -> None:
        """A sweep is through."""


class CheckThenWrite(ConditionalUpdate):
    """Writes back the level that it saw."""

    def look(self, stock: Stock, units: int) -> int | None:
        """The level."""
        del units
        return stock.available

    def take(self, stock: Stock, account: int, units: int, seen: int) -> int:
        """Believe the look."""
        del account
        if not plain(check_then_write.has_enough)(seen, units):
            return TOO_FEW
        level = plain(check_then_write.written_level)(seen, units)
        stock.move(available=level - stock.available, locked=units)
        return 0


class Optimistic(ConditionalUpdate):
    """Writes only if nobody has written since the look."""

    def look(self, stock: Stock, units: int) -> int | None:
        """The version; no wish for more than there is."""
        return stock.version if plain(optimistic.has_enough)(stock.available, units) else None

    def is_in_vain(self, stock: Stock, seen: int) -> bool:
        """Compare the versions before the write."""
        return plain(optimistic.is_overtaken)(seen, stock.version)

    def take(self, stock: Stock, account: int, units: int, seen: int) -> int:
        """Compare the versions."""
        if plain(optimistic.is_overtaken)(seen, stock.version):
            return OVERTAKEN
        return super().take(stock, account, units, seen)


class Prededuct(ConditionalUpdate):
    """A counter in front of the last station."""

    def look(self, stock: Stock, units: int) -> int | None:
        """Take the units from the counter."""
        if not plain(prededuct.is_let_in)(stock.counter, units):
            return None
        stock.count(-units)
        return units

    def refuse(self, stock: Stock, seen: int) -> None:
        """Give them back."""
        stock.count(plain(prededuct.given_back)(seen))

    def know_again(self, stock: Stock, seen: int) -> None:
        """Give them back: the earlier request has taken its own."""
        stock.count(seen)

    def give_back(self, stock: Stock, order: Reservation) -> None:
        """They can be taken at the counter again."""
        stock.count(order.units)

    def take_again(self, stock: Stock, account: int, units: int) -> int:
        """The database decides; the counter, which the next sweep puts right, follows."""
        bucket = super().take_again(stock, account, units)
        if bucket >= 0 and plain(prededuct.is_let_in)(stock.counter, units):
            stock.count(-units)
        return bucket

    def end_sweep(self, items: list[ItemStock]) -> None:
        """Compare the counters with the levels."""
        for stock in items:
            stock.counter = plain(prededuct.reconciled)(stock.counter, stock.available)


class PredeductWithoutReturn(Prededuct):
    """The counter only goes down."""

    def refuse(self, stock: Stock, seen: int) -> None:
        """Keep them."""
        stock.count(plain(prededuct_without_return.given_back)(seen))

    def give_back(self, stock: Stock, order: Reservation) -> None:
        """The counter does not hear of it."""

    def end_sweep(self, items: list[ItemStock]) -> None:
        """Compare nothing."""
        reconciled = plain(prededuct_without_return.reconciled)
        for stock in items:
            stock.counter = reconciled(stock.counter, stock.available)


class Buckets(ConditionalUpdate):
    """All units of a wish come from one of several rows."""

    gathers = True

    def take(self, stock: Stock, account: int, units: int, seen: int) -> int:
        """Look around from one's own bucket on."""
        del seen
        return self.take_again(stock, account, units)

    def take_again(self, stock: Stock, account: int, units: int) -> int:
        """Likewise."""
        assert not isinstance(stock, BundleStock)
        own = plain(buckets.own_bucket)(account)
        bucket = plain(buckets.bucket_with)(stock.buckets, own, units)
        if bucket == buckets.NO_BUCKET and self.gathers:
            bucket = plain(buckets.gather)(stock.buckets, own, units)
        if bucket == buckets.NO_BUCKET:
            return TOO_FEW
        stock.buckets[bucket] -= units
        stock.move(available=-units, locked=units)
        return bucket

    def give_back(self, stock: Stock, order: Reservation) -> None:
        """To the bucket that they came from."""
        assert not isinstance(stock, BundleStock)
        stock.buckets[order.bucket] += order.units
        assert sum(stock.buckets) == stock.available


class ScatteredBuckets(Buckets):
    """Nobody gathers units."""

    gathers = False


class StuckSoldOut(ConditionalUpdate):
    """A flag that nobody takes down."""

    def take(self, stock: Stock, account: int, units: int, seen: int) -> int:
        """Ask the flag first."""
        assert not isinstance(stock, BundleStock)
        has_enough = plain(stuck_sold_out.has_enough)
        if not has_enough(int(stock.is_flagged), stock.available, units):
            stock.is_flagged = True
            return TOO_FEW
        return super().take(stock, account, units, seen)


_KEEPINGS: dict[Strategy, type[ConditionalUpdate]] = {
    "conditional_update": ConditionalUpdate,
    "row_lock": ConditionalUpdate,
    "optimistic": Optimistic,
    "prededuct": Prededuct,
    "buckets": Buckets,
    "check_then_write": CheckThenWrite,
    "prededuct_without_return": PredeductWithoutReturn,
    "unguarded_release": ConditionalUpdate,
    "stuck_sold_out": StuckSoldOut,
    "stale_expiry": ConditionalUpdate,
    "scattered_buckets": ScatteredBuckets,
}


def keeping_of(strategy: Strategy) -> ConditionalUpdate:
    """How a strategy takes units; the last two kinds differ in what a sweep releases."""
    return _KEEPINGS[strategy]()
