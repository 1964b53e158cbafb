"""One visitor's visit: `next_step` decides, the profile's requests act, the clock waits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gevent import GreenletExit, sleep

from doorbuster.behaviour import behaviour_of
from doorbuster.deciding import decision_of
from doorbuster.visitor import VisitState, brings_coupon, first_step, next_step
from doorbuster.vocabulary import FAILED_REPLIES, Action, Outcome, Reply
from doorbuster_load.cast import Cast
from doorbuster_load.performing import Performer, StepResult
from doorbuster_load.profile.prepared import PreparedRequest
from doorbuster_load.recorder import Recorder, VisitRow
from doorbuster_load.spec import Sale
from doorbuster_load.tally import Tally

NANOSECONDS = 1_000_000_000
_FAILED = tuple(int(reply) for reply in FAILED_REPLIES)
_STEPS = tuple(action for action in Action if action != Action.LEAVE)
_OPTIONAL = (Action.BROWSE, Action.CANCEL)
"""Steps that a profile may leave out."""


@dataclass(frozen=True)
class StepBook:
    """The prepared requests of a profile."""

    setup: list[PreparedRequest]
    shared: list[PreparedRequest]
    steps: dict[int, list[PreparedRequest]]
    keyed: frozenset[int]
    """Steps that read the idempotency key, which takes a while to make."""

    @classmethod
    def of(cls, sale: Sale) -> StepBook:
        """Compile the profile of a sale."""
        file, target = sale.profile_file, sale.spec.target

        def prepared(requests: Any) -> list[PreparedRequest]:
            return [PreparedRequest(request, target, file.folder) for request in requests or ()]

        profile = file.profile
        steps = {int(a): prepared(getattr(profile.steps, a.name.lower())) for a in _STEPS}
        setup, shared = prepared(profile.visitor.setup), prepared(profile.shared)
        keyed = {
            action
            for action, requests in steps.items()
            if any(request.reads("idempotency_key") for request in [*setup, *requests])
        }
        return cls(setup, shared, steps, frozenset(keyed))


class Stage:
    """What all journeys of one worker share."""

    recorder: Recorder
    """Set when the run folder is known."""

    def __init__(self, sale: Sale) -> None:
        self.sale = sale
        self.cast = Cast(sale)
        self.tally = Tally()
        self.book = StepBook.of(sale)
        self.behaviour = behaviour_of(sale.scenario, sale.spec.settings.seed)
        self.decide = decision_of(sale.scenario)
        personas = sale.scenario.crowd.personas.values()
        self.timeouts_s = [persona.request_timeout for persona in personas]
        self.prices_cents = [item.price_cents for item in sale.scenario.shop.items]
        self.honours_retry_after = sale.profile_file.profile.retry_after == "honour"
        self.t0_ns = 0
        self.ending = Outcome.CUT_OFF
        """Outcome of visitors who are stopped on the way."""

    def seconds(self, moment_ns: int) -> float:
        """A moment of the monotonic clock in seconds from the opening."""
        return (moment_ns - self.t0_ns) / NANOSECONDS


class Journey:
    """One visit, from its planned arrival to leaving or being stopped."""

    def __init__(self, stage: Stage, performer: Performer, visitor: int) -> None:
        self._stage = stage
        self._performer = performer
        self._visitor = visitor
        plan = stage.sale.plan
        self._arrival_ns = int(plan.arrival_ns[visitor])
        self._persona = int(plan.persona[visitor])
        self._timeout_s = stage.timeouts_s[self._persona]
        self._attempts = dict.fromkeys(map(int, _STEPS), 0)
        self._step_under_way = (int(Action.BROWSE), self._arrival_ns + stage.t0_ns)
        """Action and intended moment of the request that waits for its answer."""
        self._needs_setup = bool(stage.book.setup)
        self._started_s = self._reserved_s = self._paid_s = float("nan")
        self._price_cents = 0
        self._has_bought = False
        """Whether it waits to ask for its money, or for the answer."""
        self._request_count = self._failure_count = self._decline_count = 0

    def play(self) -> None:
        """The whole visit; always leaves exactly one row in the records."""
        left_s, outcome = float("nan"), self._stage.ending
        try:
            outcome = self._visit()
            left_s = self._stage.seconds(time.monotonic_ns())
        except GreenletExit:
            outcome = self._stage.ending
            if outcome is Outcome.CUT_OFF and self._has_bought:
                outcome = Outcome.SOLD  # As long as the shop has not said yes to a refund.
            if self._performer.last_sent_ns:
                self._note_unanswered(self._performer.last_sent_ns)
        except Exception as error:  # noqa: BLE001 - a visit that breaks must not look like one
            outcome = Outcome.NOT_RUN
            self._performer.notes.add(f"a visit broke: {type(error).__name__}: {error}")
        finally:
            self._leave(left_s, outcome)

    def _visit(self) -> Outcome:
        stage, plan = self._stage, self._stage.sale.plan
        self._variables = stage.cast.variables_of(self._visitor)
        intended_ns = stage.t0_ns + self._arrival_ns
        state, action, _ = first_step(int(plan.channel[self._visitor]))
        while action != Action.LEAVE:
            if action == Action.REFUND:
                if not stage.book.steps[action]:
                    return Outcome.SOLD  # Nobody can ask this target.
                self._has_bought = True
            sleep_until(intended_ns)
            self._step_under_way = action, intended_ns
            result = self._step(state, action)
            self._note(action, intended_ns, result)
            elapsed_s = stage.seconds(result.done_ns) - self._arrival_ns / NANOSECONDS
            state, action, wait_s = stage.decide(
                stage.behaviour,
                self._visitor,
                self._persona,
                state,
                int(result.reply),
                elapsed_s,
            )
            if stage.honours_retry_after:
                wait_s = max(wait_s, result.retry_after_s)
            intended_ns = result.done_ns + int(wait_s * NANOSECONDS)
            self._performer.last_sent_ns = 0
        return Outcome(state.outcome)

    def _step(self, state: VisitState, action: int) -> StepResult:
        stage, variables = self._stage, self._variables
        attempt = _logical_attempt(state, action)
        variables["attempt"] = attempt
        variables["channel"] = stage.sale.names.channels[state.channel]
        if action in stage.book.keyed:
            key = stage.cast.idempotency_key(self._visitor, action, attempt)
            variables["idempotency_key"] = key
        first_sent_ns = 0
        if self._needs_setup:
            result = self._perform(stage.book.setup)
            if result.reply is not Reply.OK:
                return result
            self._needs_setup = False
            first_sent_ns = result.sent_ns
        result = self._perform(stage.book.steps[action])
        if result.reply is Reply.OK and not result.sent_ns and action not in _OPTIONAL:
            # Nothing was asked, so nothing is known: a sale is never made of silence.
            self._performer.notes.add(f"{Action(action).name.lower()}: no request is wanted")
            return result._replace(reply=Reply.ERROR)
        return result._replace(sent_ns=first_sent_ns) if first_sent_ns else result

    def _perform(self, requests: list[PreparedRequest]) -> StepResult:
        return self._performer.perform(requests, self._variables, self._timeout_s)

    def _note(self, action: int, intended_ns: int, result: StepResult) -> None:
        """Record a step that sent something, and remember what it brought."""
        stage, reply = self._stage, int(result.reply)
        if result.sent_ns:
            done_s = stage.seconds(result.done_ns)
            self._note_sent(action, intended_ns, result.sent_ns, done_s, result.status, reply)
        if reply in _FAILED:
            self._failure_count += 1
            stage.tally.failed += 1
        elif reply == Reply.DECLINED:
            self._decline_count += 1
        elif reply == Reply.OK and action == Action.RESERVE:
            self._reserved_s = stage.seconds(result.done_ns)
        elif reply == Reply.OK and action in (Action.PAY, Action.POLL):
            self._paid_s = stage.seconds(result.done_ns)
            self._price_cents = self._amount_cents()

    def _note_unanswered(self, sent_ns: int) -> None:
        """The end came before the answer: the request has no `done`."""
        action, intended_ns = self._step_under_way
        self._note_sent(action, intended_ns, sent_ns, float("nan"), 0, int(Reply.TIMEOUT))

    def _note_sent(
        self, action: int, intended_ns: int, sent_ns: int, done_s: float, status: int, reply: int
    ) -> None:
        stage = self._stage
        sent_s = stage.seconds(sent_ns)
        self._request_count += 1
        if self._request_count == 1:
            self._started_s = sent_s
        times_s = (stage.seconds(intended_ns), sent_s, done_s)
        attempt = self._attempts[action]
        self._attempts[action] += 1
        stage.recorder.request(self._visitor, action, attempt, times_s, status, reply)

    def _amount_cents(self) -> int:
        """What the target has charged if the profile tells, else the list price."""
        try:
            return int(self._variables["amount_cents"])
        except (KeyError, TypeError, ValueError):
            plan = self._stage.sale.plan
            price_cents = self._stage.prices_cents[int(plan.item[self._visitor])]
            return price_cents * int(plan.quantity[self._visitor])

    def _leave(self, left_s: float, outcome: Outcome) -> None:
        if outcome is Outcome.SOLD:
            self._stage.tally.sold += 1
        self._stage.recorder.visit(
            VisitRow(
                self._visitor,
                self._started_s,
                self._reserved_s,
                self._paid_s,
                left_s,
                int(outcome),
                self._price_cents,
                self._request_count,
                self._failure_count,
                self._decline_count,
            )
        )


def sleep_until(moment_ns: int) -> None:
    """Sleep up to an absolute moment of the monotonic clock; never wake before it."""
    while (left_ns := moment_ns - time.monotonic_ns()) > 0:
        sleep(left_ns / NANOSECONDS)


def _logical_attempt(state: VisitState, action: int) -> int:
    """Number of the logical attempt: a repetition after a failure keeps it."""
    if action in (Action.CART, Action.RESERVE):
        return state.refusal_count
    if action == Action.PAY:
        return state.decline_count
    if action == Action.POLL:
        return state.poll_count
    return state.refresh_count + state.restock_count


def warm_up(stage: Stage) -> None:
    """Call the compiled functions once, with the types of the run, so that none compiles in it."""
    brings_coupon(stage.behaviour, 0, 0)
    state, _, _ = first_step(0)
    for reply in Reply:
        next_step(stage.behaviour, 0, 0, state, int(reply), 0.5)
