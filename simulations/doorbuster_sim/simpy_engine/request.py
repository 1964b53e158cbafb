"""A request as it reaches the simulated shop."""

from __future__ import annotations

from typing import NamedTuple

from doorbuster.vocabulary import Action


class Request(NamedTuple):
    """One request as it reaches the shop."""

    visitor: int
    number: int
    """Counts the visitor's requests from 0; names the draws of its service times."""
    action: Action
    item: int
    units: int
    account: int
    channel: int
    logical_attempt: int
    """Of cart, reserve and pay: repeated requests with the same one are the same order or payment.
    A cart and the order that it becomes have the same one."""
    reserving_attempt: int
    """Of pay and poll: the logical attempt that made the reservation."""
    brings_coupon: bool = False
    """Of reserve."""
