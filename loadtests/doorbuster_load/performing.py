"""Carries out one step of a visitor: its requests, redirects, repetitions and polling."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin

from doorbuster.vocabulary import Reply
from doorbuster_load.exchange import Outgoing, Received, Transport
from doorbuster_load.notes import Notes
from doorbuster_load.profile.prepared import PreparedRequest, RequestError
from doorbuster_load.profile.templates import MissingVariableError
from doorbuster_load.safety import Guard, RefusedHostError, endpoint_of

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPS_METHOD = (307, 308)

Sleep = Callable[[float], Any]
HeadersOf = Callable[[Mapping[str, Any]], dict[str, str]]
"""Headers that go with every request of a visitor; a request's own take precedence."""


class StepResult(NamedTuple):
    """What came of a step; times on the monotonic clock, sent_ns 0 when nothing was sent."""

    reply: Reply
    sent_ns: int
    done_ns: int
    status: int
    retry_after_s: float


class Performer:
    """Performs steps with one transport, for one visitor after the other."""

    def __init__(
        self,
        transport: Transport,
        guard: Guard,
        notes: Notes,
        headers_of: HeadersOf,
        sleep: Sleep,
    ) -> None:
        self._transport = transport
        self._guard = guard
        self.notes = notes
        self._headers_of = headers_of
        self._sleep = sleep
        self.last_sent_ns = 0
        """When the step under way sent its first request; 0 before that."""
        self.last_answer: Received | None = None

    def perform(
        self,
        requests: Sequence[PreparedRequest],
        variables: MutableMapping[str, Any],
        timeout_s: float,
    ) -> StepResult:
        """All requests of a step, until one has a reply that is not ok.

        timeout_s: how long the visitor waits for each answer.
        """
        self.last_sent_ns = 0
        self.last_answer = None
        result = StepResult(Reply.OK, 0, time.monotonic_ns(), 0, 0.0)
        for prepared in requests:
            if not prepared.is_wanted(variables):
                continue
            for _ in range(prepared.request.repeat):
                reply, answer = self._one(prepared, variables, timeout_s)
                if answer is not None:
                    result = StepResult(
                        reply,
                        self.last_sent_ns,
                        answer.done_ns,
                        answer.status,
                        _retry_after_s(answer) if reply is Reply.OVERLOADED else 0.0,
                    )
                if reply is Reply.OK or prepared.request.optional:
                    continue
                if answer is None:
                    return result._replace(
                        reply=reply, sent_ns=self.last_sent_ns, done_ns=time.monotonic_ns()
                    )
                return result
        if result.reply is not Reply.OK:  # An optional last request decides nothing.
            result = result._replace(reply=Reply.OK)
        return result

    def _one(
        self,
        prepared: PreparedRequest,
        variables: MutableMapping[str, Any],
        timeout_s: float,
    ) -> tuple[Reply, Received | None]:
        """One request, polled if it asks for it; the answer is None when nothing was sent."""
        answer: Received | None = None
        poll = prepared.request.poll
        deadline_ns = time.monotonic_ns() + int(poll.deadline * 1e9) if poll else 0
        try:
            while True:
                outgoing = prepared.build(variables)
                outgoing.headers = {**self._headers_of(variables), **outgoing.headers}
                answer = self._exchange(outgoing, prepared, timeout_s)
                if poll is None or prepared.is_settled(answer):
                    break
                if time.monotonic_ns() + int(poll.every * 1e9) > deadline_ns:
                    return Reply[poll.on_deadline.upper()], answer
                self._sleep(poll.every)
            if answer.failure is not None:
                self.notes.add(f"{prepared.label}: {answer.failure}")
            reply = prepared.classify(answer, variables)
            if reply is Reply.ERROR and answer.failure is None:
                self.notes.add(f"{prepared.label}: no rule fits status {answer.status}")
            prepared.extract(answer, reply, variables)
        except MissingVariableError as error:
            self.notes.add(f"{prepared.label}: this visitor has no variable {error}")
        except (RequestError, RefusedHostError) as error:
            self.notes.add(str(error))
        except Exception as error:  # noqa: BLE001 - the user's own function may raise anything
            self.notes.add(f"{prepared.label}: {type(error).__name__}: {error}")
        else:
            return reply, answer
        return Reply.ERROR, answer

    def _exchange(
        self, outgoing: Outgoing, prepared: PreparedRequest, timeout_s: float
    ) -> Received:
        """Send a request and follow its redirects if it wants that; every hop is checked."""
        for _ in range(MAX_REDIRECTS + 1):
            self._guard.check(outgoing.url)
            if not self.last_sent_ns:
                self.last_sent_ns = time.monotonic_ns()
            answer = self._transport.send(outgoing, timeout_s, prepared.label)
            self.last_answer = answer
            location = answer.header("location")
            follows = prepared.request.follow_redirects and answer.status in _REDIRECTS
            if not follows or location is None:
                return answer
            outgoing = _redirected(outgoing, answer, location)
        answer.failure = f"more than {MAX_REDIRECTS} redirects"
        return answer


def _redirected(outgoing: Outgoing, answer: Received, location: str) -> Outgoing:
    """The request that a redirect asks for. Source: RFC 9110, section 15.4."""
    url = urljoin(outgoing.url, location)
    headers = dict(outgoing.headers)
    if endpoint_of(url) != endpoint_of(outgoing.url):
        headers = {name: v for name, v in headers.items() if name.lower() != "authorization"}
    if answer.status in _KEEPS_METHOD or outgoing.method in ("GET", "HEAD"):
        return Outgoing(outgoing.method, url, headers, outgoing.body)
    headers = {name: v for name, v in headers.items() if name.lower() != "content-type"}
    return Outgoing("GET", url, headers)


def _retry_after_s(answer: Received) -> float:
    """Seconds that a Retry-After header asks for, 0 without one."""
    value = answer.header("retry-after")
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
