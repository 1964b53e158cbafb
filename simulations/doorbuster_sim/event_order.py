"""The total order of events: what happens first when several things happen in one nanosecond.

Both engines take, at every moment, the pending event with the smallest (time, order). The order
is made of three names, compared one after the other:

1. the rank of the event's kind, below;
2. the visitor it belongs to, by number in the plan;
3. the number of the visitor's request, or of the logical payment for PROVIDER_ANSWER, or of the
   fault in the scenario.

No two pending events share all three, so neither engine has a choice, and none of the three
depends on when an event was scheduled. Faults that only put something off (`faults.py`) are no
events: they move those of others. What an event causes without delay (a freed server takes
the next in line, a stock decision) happens inside it, before the next event.
"""

from __future__ import annotations

from enum import IntEnum

from doorbuster.compiling import inlined


class Rank(IntEnum):
    """Kinds of events in the order in which they happen at one moment."""

    FAULT_OVER = 1  # what adjoins begins on a shop that is well
    FAULT_BEGINS = 2  # hits what was there before its moment, and meets all that comes in it
    SWEEP = 3  # lapsed locks come back before anybody asks for them
    PROVIDER_ANSWER = 4  # a payment decided at the deadline is decided
    PAYMENT_TIMEOUT = 5  # the shop stops waiting for the provider
    SERVED = 6  # servers are free before the next request joins
    REACH_SHOP = 7
    REACH_VISITOR = 8  # an answer at the deadline is an answer
    REQUEST_TIMEOUT = 9  # the visitor stops waiting
    SEND = 10  # a visitor arrives, or acts after a wait
    STOCK_READING = 11  # sees all that happened up to its moment


VISITOR_BITS, NUMBER_BITS = 39, 20
MAX_REQUESTS = 1 << NUMBER_BITS
"""Requests of one visit; the limits of a persona allow less than half of it."""

RANK_SHIFT = NUMBER_BITS + VISITOR_BITS
"""`order >> RANK_SHIFT` is the rank."""


@inlined
def event_order(rank: int, visitor: int, number: int) -> int:
    """The second sorting key of an event after its time, as one whole number.

    Range: rank below 16, visitor below 2**39, number below 2**20; the result fits 63 bits.
    """
    return (rank << RANK_SHIFT) | (visitor << NUMBER_BITS) | number
