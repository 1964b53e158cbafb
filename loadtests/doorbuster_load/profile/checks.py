"""The checks between parts of a profile that are right in themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from doorbuster.documents import Check, Place, allowed_names, suggestion
from doorbuster.records.tables import BOOKS
from doorbuster_load.profile.credentials import CredentialsError, read_credentials
from doorbuster_load.profile.functions import FunctionError, load_function
from doorbuster_load.profile.model import BookHook, FaultHook, FaultHooks, Profile, Request
from doorbuster_load.profile.templates import (
    broken_placeholder,
    environment_name,
    is_environment,
    names_in,
)

BUILT_IN_VARIABLES = (
    "visitor",
    "persona",
    "account",
    "device",
    "ip",
    "ip_text",
    "address",
    "card",
    "sku",
    "quantity",
    "channel",
    "coupon",
    "attempt",
    "idempotency_key",
    "t0_epoch_s",
    "seed",
    "scenario",
)
"""What every visitor's templates may name."""
SHARED_VARIABLES = ("t0_epoch_s", "seed", "scenario")
"""What the templates of shared requests may name."""
HOOK_VARIABLES = (*SHARED_VARIABLES, "sku", "admin_token")
"""What the templates of hooks may name."""
FAULT_VARIABLES = (
    "fault_kind",
    "fault_number",
    "fault_duration_s",
    "fault_extra_s",
    "fault_of",
    "fault_answer",
)
"""What the templates of fault hooks may name besides."""
STEP_NAMES = ("browse", "cart", "reserve", "pay", "poll", "cancel", "refund")

Mistake = tuple[Place, str]
_VISITING = frozenset({"tag", "headers", "shared", "visitor", "steps"})


def checks_of(folder: Path) -> list[Check[Profile]]:
    """All checks; the files that a profile names stand in `folder`."""
    return [
        Check(frozenset({"steps"}), _unfinished_steps),
        Check(_VISITING, lambda profile: _visitor_variables(profile, folder)),
        Check(frozenset({"shared", "hooks"}), _other_variables),
        Check(_VISITING | {"hooks"}, lambda profile: _unknown_functions(profile, folder)),
    ]


def visiting_requests(profile: Profile) -> Iterator[tuple[Place, Request]]:
    """Every request that visitors send, with its place."""
    yield from _placed(("visitor", "setup"), profile.visitor.setup)
    for step in STEP_NAMES:
        yield from _placed(("steps", step), getattr(profile.steps, step) or [])


def hook_requests(profile: Profile) -> Iterator[tuple[Place, Request]]:
    """Every request of the hooks, with its place."""
    hooks = profile.hooks
    yield from _placed(("hooks", "reset"), hooks.reset)
    if hooks.stock is not None:
        yield ("hooks", "stock", "request"), hooks.stock.request
    if hooks.audit is not None:
        yield from _placed(("hooks", "audit", "requests"), hooks.audit.requests)
    for name in BOOKS:
        book: BookHook | None = getattr(hooks, name)
        if book is not None:
            yield from _placed(("hooks", name, "requests"), book.requests)
    for kind in FaultHooks.model_fields:
        fault: FaultHook | None = getattr(hooks.faults, kind)
        if fault is not None:
            yield from _placed(("hooks", "faults", kind, "begin"), fault.begin)
            yield from _placed(("hooks", "faults", kind, "end"), fault.end)


def _placed(place: Place, requests: Sequence[Request]) -> Iterator[tuple[Place, Request]]:
    return (((*place, index), request) for index, request in enumerate(requests))


def _replies(requests: Sequence[Request]) -> set[str]:
    """Every reply that the rules and the polling of a step can give."""
    rules = {str(rule.reply) for request in requests for rule in request.outcome}
    polls = [request.poll for request in requests if request.poll is not None]
    return rules | {str(poll.on_deadline) for poll in polls}


def _unfinished_steps(profile: Profile) -> Iterator[Mistake]:
    if "pending" in _replies(profile.steps.pay) and profile.steps.poll is None:
        problem = "pay can reply pending, but there is no poll step; say how to ask for a payment"
        yield ("steps", "pay"), problem
    for step in ("browse", "cart", "reserve", "cancel", "refund"):
        if "pending" in _replies(getattr(profile.steps, step) or []):
            problem = f"{step} can reply pending; only pay and poll can, a payment is what pends"
            yield ("steps", step), problem
    for step in STEP_NAMES:
        requests = getattr(profile.steps, step) or []
        if requests and not requests[-1].outcome:
            problem = "the last request of a step needs rules that tell its outcome; add outcome"
            yield ("steps", step, len(requests) - 1), problem


def _visitor_variables(profile: Profile, folder: Path) -> Iterator[Mistake]:
    columns: tuple[str, ...] = ()
    if profile.visitor.credentials is not None:
        try:
            columns = read_credentials(folder, profile.visitor.credentials).columns
        except CredentialsError as error:
            yield ("visitor", "credentials", "file"), str(error)
    extracted = {name for _, request in visiting_requests(profile) for name in request.extract}
    extracted |= {name for request in profile.shared for name in request.extract}
    known = {*BUILT_IN_VARIABLES, *columns, *profile.visitor.generate, *extracted}
    yield from _unknown_in(("tag",), profile.tag.model_dump(), {*SHARED_VARIABLES})
    yield from _unknown_in(("headers",), profile.headers, known)
    for place, request in visiting_requests(profile):
        yield from _unknown_in_request(place, request, known)


def _other_variables(profile: Profile) -> Iterator[Mistake]:
    known = {*SHARED_VARIABLES}
    for place, request in _placed(("shared",), profile.shared):
        yield from _unknown_in_request(place, request, known)
        known |= set(request.extract)
    in_hooks = {name for _, request in hook_requests(profile) for name in request.extract}
    for place, request in hook_requests(profile):
        own = FAULT_VARIABLES if place[1] == "faults" else ()
        yield from _unknown_in_request(place, request, {*HOOK_VARIABLES, *in_hooks, *own})


def _unknown_in_request(place: Place, request: Request, known: set[str]) -> Iterator[Mistake]:
    parts = request.model_dump(by_alias=True, exclude={"extract", "outcome", "poll"})
    yield from _unknown_in(place, parts, known)
    if request.when is not None and request.when.variable not in known:
        yield (*place, "when", "variable"), _unknown(request.when.variable, known)


def _unknown_in(place: Place, tree: Any, known: set[str]) -> Iterator[Mistake]:
    """Every placeholder of a tree that is broken, or that nobody fills."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _unknown_in((*place, key), value, known)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _unknown_in((*place, index), value, known)
    elif isinstance(tree, str):
        for problem in _text_problems(tree, known):
            yield place, problem


def _text_problems(text: str, known: set[str]) -> Iterator[str]:
    broken = broken_placeholder(text)
    if broken is not None:
        yield (
            f"holds a {{{{ that starts no variable (got {broken!r}); "
            "allowed: {{name}} or {{env:NAME}}"
        )
    for name in names_in(text):
        if is_environment(name):
            if environment_name(name) not in os.environ:
                yield f"the environment variable {environment_name(name)} is not set; set it"
        elif name not in known:
            yield _unknown(name, known)


def _unknown(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"unknown variable (got {name!r}){allowed_names(names)}{suggestion(name, names)}"


def _unknown_functions(profile: Profile, folder: Path) -> Iterator[Mistake]:
    requests = [*_placed(("shared",), profile.shared), *visiting_requests(profile)]
    for place, request in [*requests, *hook_requests(profile)]:
        named: list[tuple[Place, str | None]] = [((*place, "python"), request.python)]
        named += [
            ((*place, "outcome", index, "python"), rule.python)
            for index, rule in enumerate(request.outcome)
        ]
        for where, function in named:
            if function is None:
                continue
            try:
                load_function(folder, function)
            except FunctionError as error:
                yield where, str(error)
