"""Which function decides for the visitors of a scenario: the built-in one, or the user's own."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from doorbuster.scenario.model import Scenario
from doorbuster.scenario.own_behaviour import OwnBehaviour
from doorbuster.visitor import Behaviour, Step, VisitState, next_step
from doorbuster.vocabulary import Action, Outcome, Reply

Decide = Callable[[Behaviour, int, int, VisitState, int, float], Step]
"""The form of `doorbuster.visitor.next_step`."""


class BehaviourError(Exception):
    """A function of the user's that failed, or said what no visitor can do; says where."""


def decision_of(scenario: Scenario) -> Decide:
    """What decides. Raises: BehaviourError when the user's file cannot be run.

    The user's function must be pure: it may use `doorbuster.draws.draw` with the visitor's name,
    but no generator, clock or state of its own, or two runs would differ.
    """
    own = scenario.crowd.behaviour
    return next_step if own is None else _checked(own, _load(own))


def behaviour_hash(scenario: Scenario) -> str | None:
    """SHA-256 of the user's file, for run.json; None for built-in behaviour."""
    own = scenario.crowd.behaviour
    return None if own is None else sha256(own.file.read_bytes()).hexdigest()


def _load(own: OwnBehaviour) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(f"own_behaviour_{own.file.stem}", own.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        function: Callable[..., Any] = getattr(module, own.function)
    except Exception as error:
        message = f"{own.path}: cannot be run ({type(error).__name__}: {error})"
        raise BehaviourError(message) from error
    return function


def _checked(own: OwnBehaviour, function: Callable[..., Any]) -> Decide:
    """The user's function with what it says looked at."""
    name = f"{own.path}: {own.function}"

    def decide(
        behaviour: Behaviour,
        visitor: int,
        persona: int,
        state: VisitState,
        reply: int,
        elapsed_s: float,
    ) -> Step:
        said: Any = None
        try:
            said = function(behaviour, visitor, persona, state, reply, elapsed_s)
            following, action, wait_s = said
            wrong = _wrong(following, int(action), float(wait_s))
        except Exception as error:
            where = f"visitor {visitor}, reply {Reply(reply).name.lower()}"
            reason = f"{type(error).__name__}: {error}"
            message = f"{name} failed for {where} ({reason}); it gave {said!r}"
            raise BehaviourError(message) from error
        if wrong:
            message = f"{name}: {wrong} (visitor {visitor}, reply {Reply(reply).name.lower()})"
            raise BehaviourError(message)
        return following, int(action), float(wait_s)

    return decide


def _wrong(following: object, action: int, wait_s: float) -> str:
    """What is wrong with a step, as a part of a sentence; empty if nothing is."""
    if not isinstance(following, VisitState):
        return f"must give a VisitState first (got {type(following).__name__})"
    if action not in set(Action):
        return f"must give an action second (got {action})"
    if following.action != action:
        return f"the state's action is {following.action}, the action given is {action}"
    if not math.isfinite(wait_s) or wait_s < 0:
        return f"must give a wait of 0 s or more third (got {wait_s})"
    if (action == Action.LEAVE) != (following.outcome != Outcome.UNDECIDED):
        return "a visitor has an outcome when it leaves, and only then"
    return ""
