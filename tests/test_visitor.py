"""The visitor: every path of the state machine, and the laws that hold on all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doorbuster.behaviour import behaviour_of
from doorbuster.scenario import Scenario
from doorbuster.visitor import Behaviour, VisitState, first_step, next_step
from doorbuster.vocabulary import Action, Outcome, Reply

Build = Callable[..., Scenario]

CERTAIN: dict[str, Any] = {
    "share": 1,
    "buy_fraction": 1.0,
    "unpaid_fraction": 0.0,
    "think_time": "2s",
    "refresh_gap": "3s",
    "refresh_limit": 2,
    "retry_limit": 2,
    "retry_wait": "1s",
    "payment_time": "4s",
    "patience": "100s",
    "retry_same_fraction": 1.0,
    "retry_other_fraction": 0.0,
    "poll_gap": "1500ms",
    "poll_limit": 2,
}
"""A persona without chance: every step can be told in advance."""


def behaviour(build: Build, **traits: Any) -> Behaviour:
    channels = [{"name": name, "share": 1} for name in ("card", "wallet", "credit")]
    scenario = build(
        crowd={"personas": {"fan": {**CERTAIN, **traits}}}, payments={"channels": channels}
    )
    return behaviour_of(scenario, 1)


def play(
    persona: Behaviour, replies: Sequence[Reply], *, visitor: int = 5, elapsed_s: float = 0.0
) -> tuple[VisitState, list[tuple[Action, float]]]:
    """Feed the replies in turn; returns the last state and the told actions with their waits."""
    state, action, wait_s = first_step(0)
    told = [(Action(action), wait_s)]
    for reply in replies:
        state, action, wait_s = next_step(persona, visitor, 0, state, int(reply), elapsed_s)
        told.append((Action(action), wait_s))
    return state, told


def test_a_smooth_purchase(small_scenario: Build) -> None:
    state, told = play(behaviour(small_scenario), [Reply.OK, Reply.OK, Reply.OK])
    assert told == [
        (Action.BROWSE, 0.0),
        (Action.RESERVE, 2.0),
        (Action.PAY, 4.0),
        (Action.LEAVE, 0.0),
    ]
    assert state.outcome == Outcome.SOLD


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([Reply.SOLD_OUT], Outcome.SOLD_OUT),
        ([Reply.OK, Reply.SOLD_OUT], Outcome.SOLD_OUT),
        ([Reply.OK, Reply.LIMITED], Outcome.LIMITED),
        ([Reply.BLOCKED], Outcome.BLOCKED),
        ([Reply.OK, Reply.CHALLENGED], Outcome.BLOCKED),
        ([Reply.NOT_OPEN] * 3, Outcome.GAVE_UP),
        ([Reply.TIMEOUT, Reply.ERROR, Reply.OVERLOADED], Outcome.FAILED),
        ([Reply.OK, Reply.OK, Reply.DECLINED, Reply.DECLINED, Reply.DECLINED], Outcome.DECLINED),
        ([Reply.OK, Reply.OK, Reply.EXPIRED], Outcome.EXPIRED),
        ([Reply.OK, Reply.OK, Reply.PENDING, Reply.PENDING, Reply.PENDING], Outcome.GAVE_UP),
        ([Reply.OK, Reply.OK, Reply.PENDING, Reply.OK], Outcome.SOLD),
        ([Reply.OK, Reply.OK, Reply.DECLINED, Reply.OK], Outcome.SOLD),
    ],
    ids=lambda value: value.name if isinstance(value, Outcome) else None,
)
def test_every_way_to_leave(small_scenario: Build, replies: list[Reply], outcome: Outcome) -> None:
    state, told = play(behaviour(small_scenario), replies)
    assert told[-1] == (Action.LEAVE, 0.0)
    assert Outcome(state.outcome) is outcome
    assert all(action is not Action.LEAVE for action, _ in told[:-1])


def test_the_page_is_refreshed_until_the_sale_opens(small_scenario: Build) -> None:
    _, told = play(behaviour(small_scenario), [Reply.NOT_OPEN, Reply.NOT_OPEN, Reply.OK])
    assert told[1:] == [(Action.BROWSE, 3.0), (Action.BROWSE, 3.0), (Action.RESERVE, 2.0)]


def test_hope_for_returned_stock_makes_a_new_reservation(small_scenario: Build) -> None:
    persona = behaviour(small_scenario, restock_refresh_limit=1)
    state, told = play(persona, [Reply.OK, Reply.SOLD_OUT, Reply.OK])
    assert [action for action, _ in told] == [
        Action.BROWSE,
        Action.RESERVE,
        Action.BROWSE,
        Action.RESERVE,
    ]
    assert state.refusal_count == 1
    state, _ = play(persona, [Reply.OK, Reply.SOLD_OUT, Reply.SOLD_OUT])
    assert state.outcome == Outcome.SOLD_OUT


def test_a_retry_after_a_timeout_is_the_same_logical_attempt(small_scenario: Build) -> None:
    replies = [Reply.OK, Reply.TIMEOUT, Reply.OK, Reply.TIMEOUT, Reply.DECLINED]
    state, told = play(behaviour(small_scenario), replies)
    assert [action for action, _ in told[1:]] == [
        Action.RESERVE,
        Action.RESERVE,
        Action.PAY,
        Action.PAY,
        Action.PAY,
    ]
    assert (state.refusal_count, state.decline_count) == (0, 1)


def test_another_channel_is_another_channel(small_scenario: Build) -> None:
    persona = behaviour(small_scenario, retry_same_fraction=0.0, retry_other_fraction=1.0)
    chosen = set()
    for visitor in range(50):
        state, _ = play(persona, [Reply.OK, Reply.OK, Reply.DECLINED], visitor=visitor)
        chosen.add(state.channel)
    assert chosen == {1, 2}


def with_cart(build: Build, **traits: Any) -> Behaviour:
    """As `behaviour`, at a shop where the cart locks the units."""
    persona = {**CERTAIN, "cart_time": "7s", "abandon_fraction": 0.0, **traits}
    crowd = {"personas": {"fan": persona}}
    return behaviour_of(build(shop={"lock_point": "cart"}, crowd=crowd), 1)


def test_a_cart_comes_before_the_order(small_scenario: Build) -> None:
    """Under the number of the order; one that was refused is put together anew under the next."""
    persona = with_cart(small_scenario, restock_refresh_limit=1)
    told = [Reply.OK, Reply.SOLD_OUT, Reply.OK, Reply.TIMEOUT, Reply.OK, Reply.TIMEOUT, Reply.OK]
    state, steps = play(persona, told)
    assert steps == [
        (Action.BROWSE, 0.0),
        (Action.CART, 2.0),
        (Action.BROWSE, 3.0),
        (Action.CART, 2.0),
        (Action.CART, 1.0),
        (Action.RESERVE, 7.0),
        (Action.RESERVE, 1.0),
        (Action.PAY, 4.0),
    ]
    assert (state.refusal_count, state.failure_count) == (1, 2)


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([Reply.OK, Reply.SOLD_OUT], Outcome.SOLD_OUT),
        ([Reply.OK, Reply.LIMITED], Outcome.LIMITED),
        ([Reply.OK, Reply.OK, Reply.EXPIRED], Outcome.EXPIRED),
        ([Reply.OK, Reply.OK, Reply.OK, Reply.EXPIRED], Outcome.EXPIRED),
        ([Reply.OK, Reply.OK, Reply.OK, Reply.OK], Outcome.SOLD),
        ([Reply.OK, *[Reply.OVERLOADED] * 3], Outcome.FAILED),
    ],
)
def test_ways_to_leave_with_a_cart(
    small_scenario: Build, replies: list[Reply], outcome: Outcome
) -> None:
    state, _ = play(with_cart(small_scenario), replies)
    assert state.outcome == outcome


def test_a_cart_in_hand_outlasts_patience(small_scenario: Build) -> None:
    """A wish for a cart comes too late like any other; what is in it is still ordered."""
    persona = with_cart(small_scenario, patience="10s")
    late, _ = play(persona, [Reply.OK], elapsed_s=9.0)
    assert late.outcome == Outcome.GAVE_UP
    in_time, _ = play(persona, [Reply.OK], elapsed_s=8.0)
    state, action, wait_s = next_step(persona, 5, 0, in_time, int(Reply.OK), 9.0)
    assert (state.outcome, action, wait_s) == (Outcome.UNDECIDED, Action.RESERVE, 7.0)


def test_carts_are_abandoned_by_their_fraction(small_scenario: Build) -> None:
    """Of 20,000 carts; the bound is four standard errors, the draws are fixed."""
    persona = with_cart(small_scenario, abandon_fraction=0.3)
    abandoned = 0
    for visitor in range(20_000):
        state, _ = play(persona, [Reply.OK, Reply.OK], visitor=visitor)
        abandoned += state.outcome == Outcome.ABANDONED
    assert abs(abandoned / 20_000 - 0.3) < 4 * (0.3 * 0.7 / 20_000) ** 0.5


def test_patience_ends_the_visit_but_not_a_reservation(small_scenario: Build) -> None:
    persona = behaviour(small_scenario, patience="10s")
    late, _ = play(persona, [Reply.OK], elapsed_s=9.0)
    assert late.outcome == Outcome.GAVE_UP
    in_time, _ = play(persona, [Reply.OK], elapsed_s=8.0)
    assert in_time.outcome == Outcome.UNDECIDED
    state, action, _ = next_step(persona, 5, 0, in_time, int(Reply.OK), 9.0)
    assert (state.outcome, action) == (Outcome.UNDECIDED, Action.PAY)


def test_patience_that_ends_at_sold_out_is_sold_out(small_scenario: Build) -> None:
    persona = behaviour(small_scenario, patience="10s", restock_refresh_limit=5)
    state, _ = play(persona, [Reply.SOLD_OUT], elapsed_s=9.0)
    assert state.outcome == Outcome.SOLD_OUT


def test_intentions_follow_their_fractions(small_scenario: Build) -> None:
    # 20,000 visitors; the bound is four standard errors, the draws are fixed.
    persona = behaviour(small_scenario, buy_fraction=0.3, unpaid_fraction=0.2)
    browsed = unpaid = 0
    for visitor in range(20_000):
        state, action, _ = next_step(persona, visitor, 0, first_step(0)[0], int(Reply.OK), 0.0)
        browsed += state.outcome == Outcome.BROWSED
        if action == Action.RESERVE:
            state, _, _ = next_step(persona, visitor, 0, state, int(Reply.OK), 0.0)
            unpaid += state.outcome == Outcome.UNPAID
    assert abs(browsed / 20_000 - 0.7) < 4 * (0.7 * 0.3 / 20_000) ** 0.5
    assert abs(unpaid / (20_000 - browsed) - 0.2) < 4 * (0.2 * 0.8 / 6_000) ** 0.5


@pytest.mark.parametrize("shop", [behaviour, with_cart])
@settings(max_examples=200, deadline=None)
@given(
    replies=st.lists(st.sampled_from(list(Reply)), max_size=60),
    visitor=st.integers(0, 10**12),
    limit=st.integers(0, 4),
)
def test_every_sequence_of_replies_ends_or_goes_on_sensibly(
    small_scenario: Build,
    shop: Callable[..., Behaviour],
    replies: list[Reply],
    visitor: int,
    limit: int,
) -> None:
    persona = shop(
        small_scenario,
        refresh_limit=limit,
        restock_refresh_limit=limit,
        retry_limit=limit,
        poll_limit=limit,
        retry_same_fraction=0.5,
        retry_other_fraction=0.5,
    )
    state, action, wait_s = first_step(1)
    steps = 0
    for reply in replies:
        if action == Action.LEAVE:
            break
        assert state.outcome == Outcome.UNDECIDED
        before = sum(state[1:7])
        state, action, wait_s = next_step(persona, visitor, 0, state, int(reply), float(steps))
        assert wait_s >= 0
        assert sum(state[1:7]) >= before
        assert 0 <= state.channel < 3
        steps += 1
    assert (action == Action.LEAVE) == (state.outcome != Outcome.UNDECIDED)
    # Every counter is bounded, so every visit ends: the limits below add up to its length.
    assert steps <= 4 * limit + 2 * limit + 3 + 4 + 2 * limit + 4 + (shop is with_cart)


WALKS = """
import json, sys
from doorbuster.behaviour import behaviour_of
from doorbuster.scenario import Scenario
from doorbuster.visitor import first_step, next_step
scenario = Scenario.model_validate(json.load(sys.stdin))
persona = behaviour_of(scenario, 1)
for visitor in range(300):
    step = first_step(visitor % 3)
    for turn in range(12):
        if step[1] == 0:
            break
        reply = (visitor * 7 + turn * 5 + visitor // 12) % 12
        step = next_step(persona, visitor, 0, step[0], reply, 0.5 * turn)
        print(tuple(step[0]), step[1], step[2].hex())
"""


def test_plain_and_compiled_forms_agree(written_scenario: dict[str, Any]) -> None:
    # The same walks in a process with compilation and in one without: equal to the last bit.
    crowd = {**written_scenario["crowd"], "personas": {"fan": {"share": 1, "buy_fraction": 0.9}}}
    channels = [{"name": name, "share": 1} for name in ("card", "wallet", "credit")]
    scenario = {**written_scenario, "crowd": crowd, "payments": {"channels": channels}}
    walks = []
    for disabled in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", WALKS],
            input=json.dumps(scenario),
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        walks.append(done.stdout)
    assert walks[0].count("\n") > 500
    assert walks[0] == walks[1]
