"""The visitor: behaviour as a pure state machine, run unchanged by every world.

A world holds a `VisitState`, carries out the action it was told, and comes back with the reply:

    state, action, wait_s = first_step(channel)
    while action != Action.LEAVE:
        ... wait wait_s, act, get a reply ...
        state, action, wait_s = next_step(behaviour, visitor, persona, state, reply, elapsed_s)
    outcome = state.outcome

No clock, no socket, no generator: every choice is a draw named by (seed, visitor, purpose, count).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from doorbuster.compiling import inlined
from doorbuster.draws.philox import draw
from doorbuster.draws.purposes import Purpose
from doorbuster.draws.quantiles import DistributionTables, sample_named
from doorbuster.vocabulary import Action, Outcome, Reply

PERSONA_DTYPE = np.dtype(
    [
        ("buy_fraction", "f8"),
        ("think_time", "i8"),
        ("refresh_gap", "i8"),
        ("refresh_limit", "i8"),
        ("restock_refresh_limit", "i8"),
        ("request_timeout_s", "f8"),
        ("retry_limit", "i8"),
        ("retry_wait", "i8"),
        ("patience", "i8"),
        ("payment_time", "i8"),
        ("unpaid_fraction", "f8"),
        ("cancel_fraction", "f8"),
        ("payment_attempt_limit", "i8"),
        ("retry_same_fraction", "f8"),
        ("retry_other_fraction", "f8"),
        ("poll_gap", "i8"),
        ("poll_limit", "i8"),
        ("coupon_fraction", "f8"),
        ("refund_fraction", "f8"),
        ("refund_after", "i8"),
    ]
)
"""One row a persona. Integer fields named like a time are rows of the distribution tables."""


class Behaviour(NamedTuple):
    """Everything that `next_step` reads: one seed, the personas and their distributions."""

    seed: int
    personas: NDArray[np.void]
    distributions: DistributionTables
    channel_count: int


class VisitState(NamedTuple):
    """Where a visitor stands. Worlds carry it, read it, and never change it.

    outcome: UNDECIDED until the visitor leaves. channel: payment channel of the next payment.
    refusal_count and decline_count: number the logical attempts of reserve and pay. A retry after
    a timeout repeats the same logical attempt, so it carries the same idempotency key.
    """

    action: int
    refresh_count: int
    restock_count: int
    failure_count: int
    refusal_count: int
    decline_count: int
    poll_count: int
    channel: int
    outcome: int


# Plain integers, which compiled code reads as constants.
_LEAVE, _BROWSE, _RESERVE, _PAY, _POLL, _CANCEL, _REFUND = (int(action) for action in Action)
_OK, _NOT_OPEN, _SOLD_OUT = int(Reply.OK), int(Reply.NOT_OPEN), int(Reply.SOLD_OUT)
_LIMITED, _BLOCKED, _CHALLENGED = int(Reply.LIMITED), int(Reply.BLOCKED), int(Reply.CHALLENGED)
_DECLINED, _PENDING, _EXPIRED = int(Reply.DECLINED), int(Reply.PENDING), int(Reply.EXPIRED)
_OVERLOADED, _ERROR, _TIMEOUT = int(Reply.OVERLOADED), int(Reply.ERROR), int(Reply.TIMEOUT)
_UNDECIDED, _OUT_REFUNDED = int(Outcome.UNDECIDED), int(Outcome.REFUNDED)
_OUT_SOLD, _OUT_SOLD_OUT, _OUT_LIMITED = (
    int(Outcome.SOLD),
    int(Outcome.SOLD_OUT),
    int(Outcome.LIMITED),
)
_OUT_BLOCKED, _OUT_DECLINED, _OUT_UNPAID = (
    int(Outcome.BLOCKED),
    int(Outcome.DECLINED),
    int(Outcome.UNPAID),
)
_OUT_EXPIRED, _OUT_BROWSED = int(Outcome.EXPIRED), int(Outcome.BROWSED)
_OUT_GAVE_UP, _OUT_FAILED = int(Outcome.GAVE_UP), int(Outcome.FAILED)
_PATIENCE, _BUY_INTENT, _THINK = (
    int(Purpose.PATIENCE),
    int(Purpose.BUY_INTENT),
    int(Purpose.THINK),
)
_REFRESH_GAP, _RETRY_WAIT = int(Purpose.REFRESH_GAP), int(Purpose.RETRY_WAIT)
_PAY_INTENT, _PAY_TIME, _PAY_RETRY = (
    int(Purpose.PAY_INTENT),
    int(Purpose.PAY_TIME),
    int(Purpose.PAY_RETRY),
)
_PAY_OTHER_CHANNEL, _POLL_GAP = int(Purpose.PAY_OTHER_CHANNEL), int(Purpose.POLL_GAP)
_CANCEL_INTENT, _COUPON = int(Purpose.CANCEL_INTENT), int(Purpose.COUPON)
_REFUND_INTENT, _REFUND_TIME = int(Purpose.REFUND_INTENT), int(Purpose.REFUND_TIME)

Step = tuple[VisitState, int, float]
"""The visitor's new state, its next action, and the wait before it in seconds."""


@inlined
def first_step(channel: int) -> Step:
    """A visitor arrives and opens the product page at once."""
    return VisitState(_BROWSE, 0, 0, 0, 0, 0, 0, channel, _UNDECIDED), _BROWSE, 0.0


@inlined
def brings_coupon(behaviour: Behaviour, visitor: int, persona: int) -> bool:
    """Whether every reservation of a visitor asks for the shop's coupon."""
    fraction = behaviour.personas[persona]["coupon_fraction"]
    return bool(fraction > 0 and draw(behaviour.seed, visitor, _COUPON, 0) < fraction)


@inlined
def _moved(
    state: VisitState,
    action: int,
    channel: int,
    outcome: int = _UNDECIDED,
    refreshes: int = 0,
    restocks: int = 0,
    failures: int = 0,
    refusals: int = 0,
    declines: int = 0,
    polls: int = 0,
) -> VisitState:
    """The state after one move; the plural arguments are added to their counters."""
    return VisitState(
        action,
        state.refresh_count + refreshes,
        state.restock_count + restocks,
        state.failure_count + failures,
        state.refusal_count + refusals,
        state.decline_count + declines,
        state.poll_count + polls,
        channel,
        outcome,
    )


@inlined
def _leave(state: VisitState, outcome: int) -> Step:
    return _moved(state, _LEAVE, state.channel, outcome), _LEAVE, 0.0


@inlined
def _time_s(behaviour: Behaviour, visitor: int, row: int, purpose: int, count: int) -> float:
    """One time of this visitor, from distribution `row`."""
    return sample_named(behaviour.distributions, row, behaviour.seed, visitor, purpose, count)


@inlined
def _refresh(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """Look again at a sale that has not opened, or leave when the looks are used up."""
    traits = behaviour.personas[persona]
    if state.refresh_count >= traits["refresh_limit"]:
        return _leave(state, _OUT_GAVE_UP)
    looks = state.refresh_count + state.restock_count
    gap_s = _time_s(behaviour, visitor, traits["refresh_gap"], _REFRESH_GAP, looks)
    return _moved(state, _BROWSE, state.channel, refreshes=1), _BROWSE, gap_s


@inlined
def _hope_for_restock(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """Look again at a sold-out item, or leave. A reservation after it is a new attempt.

    So it is where the payment came too late for units, which has ended the order.
    """
    traits = behaviour.personas[persona]
    if state.restock_count >= traits["restock_refresh_limit"]:
        return _leave(state, _OUT_SOLD_OUT)
    looks = state.refresh_count + state.restock_count
    gap_s = _time_s(behaviour, visitor, traits["refresh_gap"], _REFRESH_GAP, looks)
    refused = 1 if state.action in (_RESERVE, _PAY) else 0
    state = _moved(state, _BROWSE, state.channel, restocks=1, refusals=refused)
    return state, _BROWSE, gap_s


@inlined
def _retry(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """Repeat a failed request as the same logical attempt, or leave after too many failures."""
    traits = behaviour.personas[persona]
    if state.failure_count >= traits["retry_limit"]:
        return _leave(state, _OUT_SOLD if state.action == _REFUND else _OUT_FAILED)
    wait_s = _time_s(behaviour, visitor, traits["retry_wait"], _RETRY_WAIT, state.failure_count)
    return _moved(state, state.action, state.channel, failures=1), state.action, wait_s


@inlined
def _after_page(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """The page offers the item: leave, or think and press the button."""
    traits = behaviour.personas[persona]
    if draw(behaviour.seed, visitor, _BUY_INTENT, 0) >= traits["buy_fraction"]:
        return _leave(state, _OUT_BROWSED)
    think_s = _time_s(behaviour, visitor, traits["think_time"], _THINK, state.refusal_count)
    return _moved(state, _RESERVE, state.channel), _RESERVE, think_s


@inlined
def _after_reservation(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """The stock is locked: pay after a while, or cancel by then, or neither."""
    traits = behaviour.personas[persona]
    action = _PAY
    if draw(behaviour.seed, visitor, _PAY_INTENT, 0) < traits["unpaid_fraction"]:
        if draw(behaviour.seed, visitor, _CANCEL_INTENT, 0) >= traits["cancel_fraction"]:
            return _leave(state, _OUT_UNPAID)
        action = _CANCEL
    wait_s = _time_s(behaviour, visitor, traits["payment_time"], _PAY_TIME, 0)
    return _moved(state, action, state.channel), action, wait_s


@inlined
def _after_decline(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """The provider refuses: the same means again, another one, or leave."""
    traits = behaviour.personas[persona]
    declines = state.decline_count + 1
    if declines >= traits["payment_attempt_limit"]:
        return _leave(state, _OUT_DECLINED)
    choice = draw(behaviour.seed, visitor, _PAY_RETRY, declines)
    same, other = traits["retry_same_fraction"], traits["retry_other_fraction"]
    if choice >= same + other:
        return _leave(state, _OUT_DECLINED)
    channel = state.channel
    if choice >= same and behaviour.channel_count > 1:
        skip = draw(behaviour.seed, visitor, _PAY_OTHER_CHANNEL, declines)
        channel = (channel + 1 + int(skip * (behaviour.channel_count - 1))) % (
            behaviour.channel_count
        )
    wait_s = _time_s(behaviour, visitor, traits["retry_wait"], _PAY_TIME, declines)
    return _moved(state, _PAY, channel, declines=1), _PAY, wait_s


@inlined
def _after_pending(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """The payment's outcome is open: ask again, or leave when the looks are used up."""
    traits = behaviour.personas[persona]
    if state.poll_count >= traits["poll_limit"]:
        return _leave(state, _OUT_GAVE_UP)
    gap_s = _time_s(behaviour, visitor, traits["poll_gap"], _POLL_GAP, state.poll_count)
    return _moved(state, _POLL, state.channel, polls=1), _POLL, gap_s


@inlined
def _after_payment(behaviour: Behaviour, visitor: int, persona: int, state: VisitState) -> Step:
    """The order is paid: keep it, or ask for the money back after a while."""
    traits = behaviour.personas[persona]
    if draw(behaviour.seed, visitor, _REFUND_INTENT, 0) >= traits["refund_fraction"]:
        return _leave(state, _OUT_SOLD)
    wait_s = _time_s(behaviour, visitor, traits["refund_after"], _REFUND_TIME, 0)
    return _moved(state, _REFUND, state.channel), _REFUND, wait_s


@inlined
def _after_refund(
    behaviour: Behaviour, visitor: int, persona: int, state: VisitState, reply: int
) -> Step:
    """The shop gives the money back or does not; who gives up asking keeps the order."""
    if reply == _OK:
        return _leave(state, _OUT_REFUNDED)
    if reply in (_OVERLOADED, _ERROR, _TIMEOUT):
        return _retry(behaviour, visitor, persona, state)
    return _leave(state, _OUT_SOLD)


@inlined
def _react(behaviour: Behaviour, visitor: int, persona: int, state: VisitState, reply: int) -> Step:
    """What the visitor would do if it had all the time in the world."""
    if state.action == _REFUND:
        return _after_refund(behaviour, visitor, persona, state, reply)
    if reply == _OK:
        if state.action == _BROWSE:
            return _after_page(behaviour, visitor, persona, state)
        if state.action == _RESERVE:
            return _after_reservation(behaviour, visitor, persona, state)
        if state.action == _CANCEL:
            return _leave(state, _OUT_UNPAID)
        return _after_payment(behaviour, visitor, persona, state)
    if reply == _NOT_OPEN:
        return _refresh(behaviour, visitor, persona, state)
    if reply == _SOLD_OUT:
        return _hope_for_restock(behaviour, visitor, persona, state)
    if reply == _LIMITED:
        return _leave(state, _OUT_LIMITED)
    if reply in (_BLOCKED, _CHALLENGED):
        return _leave(state, _OUT_BLOCKED)
    if reply == _DECLINED:
        return _after_decline(behaviour, visitor, persona, state)
    if reply == _PENDING:
        return _after_pending(behaviour, visitor, persona, state)
    if reply == _EXPIRED:
        return _leave(state, _OUT_UNPAID if state.action == _CANCEL else _OUT_EXPIRED)
    return _retry(behaviour, visitor, persona, state)


@inlined
def next_step(
    behaviour: Behaviour,
    visitor: int,
    persona: int,
    state: VisitState,
    reply: int,
    elapsed_s: float,
) -> Step:
    """What a visitor does after a reply: its new state, next action, and the wait before it.

    Units: elapsed_s in seconds since the visitor's planned arrival. A visitor whose next action
    would come after its patience leaves at once: for the reason it has (`sold out`), else as
    having given up. A reservation in hand outlasts patience; the lock time ends that.
    """
    following = _react(behaviour, visitor, persona, state, reply)
    new_state, action, wait_s = following
    if action not in (_BROWSE, _RESERVE):
        return following
    traits = behaviour.personas[persona]
    patience_s = _time_s(behaviour, visitor, traits["patience"], _PATIENCE, 0)
    if elapsed_s + wait_s <= patience_s:
        return following
    return _leave(new_state, _OUT_SOLD_OUT if reply == _SOLD_OUT else _OUT_GAVE_UP)
