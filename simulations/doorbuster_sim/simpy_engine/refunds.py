"""The desk that gives money back to who has paid."""

from __future__ import annotations

from doorbuster.compiling import plain
from doorbuster.draws import DistributionTables
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.refunds import BROKEN_PAYOUTS, Refund
from doorbuster.vocabulary import Reply
from doorbuster_sim.faults import Faults, put_off_plain
from doorbuster_sim.refund import payout_delay_ns
from doorbuster_sim.simpy_engine.ledger import StockLedger
from doorbuster_sim.simpy_engine.reservation import LockState, Reservation
from doorbuster_sim.tables import ABSENT_NS

_payout_delay_ns = plain(payout_delay_ns)


class RefundDesk:
    """Grants refunds, once an order, and knows when each is paid out."""

    def __init__(
        self, refund: Refund, ledger: StockLedger, faults: Faults, system_seed: int
    ) -> None:
        self._returns_stock = refund.returns_stock
        self._marks_only = refund.payout in BROKEN_PAYOUTS
        self._ledger, self._apart, self._system_seed = ledger, faults.apart, system_seed
        book = DistributionBook()
        self._delay_row = book.add(refund.delay)
        self._times: DistributionTables = book.tables()

    def refund(self, order: Reservation, visitor: int, attempt: int, now_ns: int) -> Reply:
        """On behalf of the buyer of an order, named by visitor and attempt."""
        was_paid = order.state is LockState.PAID
        reply = self._ledger.refund(order, now_ns, returns_stock=self._returns_stock)
        if not was_paid:
            return reply
        if self._marks_only:
            order.state = LockState.REFUNDED
        else:
            delay_ns = _payout_delay_ns(
                self._times, self._delay_row, self._system_seed, visitor, attempt
            )
            order.paid_out_ns = put_off_plain(self._apart, now_ns + delay_ns)
        return reply


def is_paid_out(order: Reservation, end_ns: int) -> bool:
    """Whether the money of an order is back before the end."""
    return ABSENT_NS < order.paid_out_ns < end_ns
