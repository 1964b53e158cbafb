"""The words that pass between the parts: actions, replies, outcomes, and their numbers.

Records hold the lower-case names; compiled code holds the numbers. A number is part of the
results: never reuse or renumber one.
"""

from __future__ import annotations

from enum import IntEnum


class Action(IntEnum):
    """What a visitor does next; the lower-case name is the step in records and profiles."""

    LEAVE = 0
    BROWSE = 1
    RESERVE = 2
    PAY = 3
    POLL = 4
    CANCEL = 5
    REFUND = 6
    CART = 7


class Reply(IntEnum):
    """The business outcome of a request, as a visitor can tell it."""

    OK = 0
    NOT_OPEN = 1  # the sale has not opened yet
    SOLD_OUT = 2
    LIMITED = 3  # the purchase limit is used up
    BLOCKED = 4  # risk control refuses this visitor
    CHALLENGED = 5  # risk control asks for proof
    DECLINED = 6  # the payment provider refuses this payment
    PENDING = 7  # the payment's outcome is not known yet
    EXPIRED = 8  # the reservation has lapsed
    OVERLOADED = 9  # refused for load: full queue, 429, 503
    ERROR = 10  # anything unexpected, connection errors included
    TIMEOUT = 11  # the visitor stopped waiting


FAILED_REPLIES = (Reply.OVERLOADED, Reply.ERROR, Reply.TIMEOUT)
"""Replies that count as failed requests."""


class Outcome(IntEnum):
    """How a planned visitor's visit ended; every planned visitor ends in exactly one."""

    UNDECIDED = 0  # still there: never in the records of a finished run
    SOLD = 1
    SOLD_OUT = 2  # wanted to buy, stock was gone
    LIMITED = 3
    BLOCKED = 4
    DECLINED = 5  # gave up after declined payments
    UNPAID = 6  # reserved and never tried to pay, cancelled or not
    EXPIRED = 7  # the lock lapsed before the payment
    BROWSED = 8  # looked and left without wanting to buy
    GAVE_UP = 9  # impatience: waited, refreshed or polled too long
    FAILED = 10  # too many failed requests
    CUT_OFF = 11  # the sale ended while the visitor was still there
    DROPPED = 12  # the load generator could not send it: the run is void
    NOT_RUN = 13  # the run was interrupted before or during this visit: incomplete
    REFUNDED = 14  # paid, and the shop has accepted to give the money back
    ABANDONED = 15  # put units into the cart and never ordered them


OUTCOMES_OF_THE_MEASUREMENT = (Outcome.DROPPED, Outcome.NOT_RUN)
"""Outcomes that speak about the measurement, not about the sale."""
