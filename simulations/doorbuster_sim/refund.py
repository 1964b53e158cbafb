"""How the simulated shop gives money back to who has paid: what differs, for both engines.

A refund is *granted* after the stations of its step. Its units are on the shelf then, if they have
not been sent. The money follows: the shop tells its provider after a delay, and where one of the
two is away or out, as soon as they can speak to each other. When that is, is certain from the yes
on, so it is no event: the end of the sale decides whether the money is back in the books.
"""

from __future__ import annotations

from doorbuster.compiling import inlined
from doorbuster.draws.purposes import Purpose
from doorbuster.draws.quantiles import DistributionTables, sample_named
from doorbuster.scenario.refunds import PAYOUTS
from doorbuster_sim.clock import to_ns

RETRY, MARK_ONLY = range(len(PAYOUTS))
"""The values of `shop.refund.payout` as compiled code knows them, in the order of PAYOUTS."""
NO_REFUND = -1
"""Instead of one of these: the shop gives no money back."""

_REFUND_DELAY = int(Purpose.REFUND_DELAY)


@inlined
def payout_delay_ns(
    times: DistributionTables, row: int, system_seed: int, visitor: int, attempt: int
) -> int:
    """From the shop's yes until it tells its provider to pay.

    row: of the delay. visitor, attempt: the name of the order.
    """
    return to_ns(sample_named(times, row, system_seed, visitor, _REFUND_DELAY, attempt))
