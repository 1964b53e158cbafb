"""Retry storm: a fault is over, and the repeats that it caused keep the shop down.

A shop that holds this state by itself is called metastable: the trigger is gone, the load that it
called forth feeds on the failures that it makes.

Source: L. Huang et al., "Metastable Failures in the Wild", OSDI 2022.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from doorbuster.detectors.sale import NOTHING_TO_JUDGE, Evidence, Finding, SaleBooks
from doorbuster.measures.columns import Floats, Integers, Mask
from doorbuster.vocabulary import FAILED_REPLIES

LOAD_TIMES = 1.1
"""Load above so many times that which the crowd sends without repeats."""
ANSWERED_TIMES = 0.5
"""What counts as low goodput: less than half of the share of first requests that was answered
before the fault. Assumed."""
BEFORE_S, SETTLE_S, STAYS_S = 5.0, 5.0, 10
"""The time before the fault that is compared; the time after it in which the shop may recover, or
as long as the fault was, if that is longer; and how many whole seconds on end it must be bad.
Assumed."""
GROWN_TIMES = 1.25
"""A crowd that grows by more than this needs no fault to be too much. Assumed; 200 requests before
and 400 after differ by chance by more in one of 500 cases."""
REQUESTS_MIN = 50
"""First requests before the fault, or there is nothing to compare with."""


class Load(NamedTuple):
    """Requests by stretch of time. first: no repeat of a failed one. answered: of all, in time."""

    first: Integers
    repeats: Integers
    answered: Integers


def detect(sale: SaleBooks) -> Finding:
    """One offence a fault that left a storm behind."""
    offences: list[Evidence] = []
    judged = 0
    is_repeat = _repeats(sale)
    for fault in sale.faults:
        length_s = fault.ended_s - fault.begun_s
        from_s = fault.ended_s + max(SETTLE_S, length_s)
        before = _load(sale, is_repeat, np.array([fault.begun_s - BEFORE_S, fault.begun_s]))
        after = _load(sale, is_repeat, from_s + np.arange(STAYS_S + 1.0))
        if not _can_be_compared(before, after):
            continue
        judged += 1
        share_before = before.answered[0] / before.first[0]
        is_loaded = after.first + after.repeats > LOAD_TIMES * after.first
        is_low = after.answered < ANSWERED_TIMES * share_before * after.first
        if (is_loaded & is_low).all():
            crowd = after.first.sum()
            offences.append(
                {
                    "fault": fault.kind,
                    "ended_s": fault.ended_s,
                    "from_s": from_s,
                    "until_s": from_s + STAYS_S,
                    "load_times": round(float(1 + after.repeats.sum() / crowd), 2),
                    "answered_before": round(float(share_before), 4),
                    "answered_after": round(float(after.answered.sum() / crowd), 4),
                }
            )
    return Finding.of(offences) if judged else NOTHING_TO_JUDGE


def _can_be_compared(before: Load, after: Load) -> bool:
    """Whether the shop was well before, and the crowd has not grown since: then it is the fault."""
    if before.first[0] < REQUESTS_MIN or not after.first.all():
        return False
    was_well = before.repeats[0] <= (LOAD_TIMES - 1) * before.first[0]
    per_s_before, per_s_after = before.first[0] / BEFORE_S, after.first.mean()
    return bool(was_well and per_s_after <= GROWN_TIMES * per_s_before)


def _repeats(sale: SaleBooks) -> Mask:
    """Which requests follow a failed one of the same visitor."""
    requests = sale.requests
    order = np.lexsort((requests.intended_s, requests.visitor))
    visitor, failed = requests.visitor[order], _failed(sale)[order]
    found = np.zeros(len(order), dtype=np.bool_)
    found[order[1:]] = (visitor[1:] == visitor[:-1]) & failed[:-1]
    return found


def _failed(sale: SaleBooks) -> Mask:
    found: Mask = np.isin(sale.requests.reply, [int(reply) for reply in FAILED_REPLIES])
    return found


def _load(sale: SaleBooks, is_repeat: Mask, edges_s: Floats) -> Load:
    """The requests between each two edges, by the moment at which they were wanted."""
    at_s = sale.requests.intended_s

    def count(mask: Mask) -> Integers:
        return np.diff(np.searchsorted(np.sort(at_s[mask]), edges_s))

    return Load(count(~is_repeat), count(is_repeat), count(~_failed(sale)))
