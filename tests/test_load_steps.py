"""Steps of a visitor: redirects, polling, repetition and setup requests, without any network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from doorbuster.vocabulary import Reply
from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.notes import Notes
from doorbuster_load.performing import Performer, StepResult
from doorbuster_load.profile.model import Request
from doorbuster_load.profile.prepared import PreparedRequest
from doorbuster_load.safety import Guard

TARGET = "http://127.0.0.1:9"
OK_RULE = [{"status": "2xx", "reply": "ok"}, {"status": 409, "reply": "sold_out"}]


def answer(status: int, body: str = "", **headers: str) -> Received:
    """A prepared answer; its URL and times are filled in when it is given."""
    named = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return Received(status, lambda name: named.get(name.lower(), []), body.encode(), "", 0, 0)


class ScriptedTransport:
    """Gives prepared answers, one after the other, and keeps what was sent."""

    def __init__(self, answers: Iterable[Received]) -> None:
        self._answers = list(answers)
        self.sent: list[Outgoing] = []

    def send(self, request: Outgoing, timeout_s: float, label: str) -> Received:
        """The next answer."""
        del timeout_s, label
        self.sent.append(request)
        received = self._answers.pop(0)
        received.url = request.url
        received.sent_ns, received.done_ns = len(self.sent) * 10, len(self.sent) * 10 + 5
        return received

    def forget(self) -> None:
        """Nothing to forget."""


class Stage:
    """A performer with everything around it in view."""

    def __init__(self, *answers: Received, allow: Iterable[str] = ()) -> None:
        self.transport = ScriptedTransport(answers)
        self.notes = Notes()
        self.slept_s: list[float] = []
        self.variables: dict[str, Any] = {"sku": "tv"}
        self._performer = Performer(
            self.transport, Guard.of(allow), self.notes, lambda _: {"X-V": "1"}, self.slept_s.append
        )

    def perform(self, *requests: dict[str, Any]) -> StepResult:
        """One step of the given requests."""
        models = [Request.model_validate({"url": "/x", **request}) for request in requests]
        compiled = [PreparedRequest(model, TARGET, Path()) for model in models]
        return self._performer.perform(compiled, self.variables, 1.0)

    @property
    def urls(self) -> list[str]:
        """What was asked for, without the target."""
        return [request.url.removeprefix(TARGET) for request in self.transport.sent]


def test_a_step_of_several_requests_counts_as_one() -> None:
    """The token of the first request goes into the second; times span both."""
    stage = Stage(answer(200, "<input name=csrf value=t7>"), answer(201))
    result = stage.perform(
        {"url": "/form", "extract": {"csrf": {"form_field": "csrf"}}},
        {"url": "/buy", "form": {"csrf": "{{csrf}}"}, "outcome": OK_RULE},
    )
    assert result.reply is Reply.OK
    assert (result.status, result.done_ns) == (201, 25)
    assert stage.transport.sent[1].body == b"csrf=t7"
    assert stage.transport.sent[1].headers["X-V"] == "1"


def test_a_setup_request_that_is_refused_ends_the_step() -> None:
    stage = Stage(answer(409))
    assert stage.perform({"outcome": OK_RULE}, {"url": "/never"}).reply is Reply.SOLD_OUT
    assert stage.urls == ["/x"]


def test_an_optional_request_decides_nothing() -> None:
    stage = Stage(answer(500), answer(200))
    assert stage.perform({"optional": True}, {"outcome": OK_RULE}).reply is Reply.OK


def test_a_request_may_depend_on_what_is_known() -> None:
    """`when` skips a request, for example a log-in that has already happened."""
    login = {"url": "/login", "when": {"variable": "token", "exists": False}}
    stage = Stage(answer(200), answer(200))
    stage.perform(login, {"outcome": OK_RULE})
    stage.variables["token"] = "t"
    stage.transport._answers = [answer(200)]
    stage.perform(login, {"outcome": OK_RULE})
    assert stage.urls == ["/login", "/x", "/x"]


def test_a_request_may_be_repeated() -> None:
    stage = Stage(answer(200), answer(200), answer(200))
    assert stage.perform({"repeat": 3, "outcome": OK_RULE}).reply is Reply.OK
    assert len(stage.urls) == 3


POLL = {"until": {"json": {"$.state": "done"}}, "every": "250ms", "deadline": "10s"}


def test_polling_goes_on_until_the_predicate_holds() -> None:
    """The outcome is told from the answer that was waited for."""
    waiting = '{"state":"queued"}'
    stage = Stage(answer(200, waiting), answer(200, waiting), answer(200, '{"state":"done"}'))
    result = stage.perform({"poll": POLL, "outcome": OK_RULE})
    assert result.reply is Reply.OK
    assert stage.slept_s == [0.25, 0.25]


def test_polling_ends_at_its_deadline() -> None:
    stage = Stage(answer(200, "{}"))
    late = {**POLL, "every": "20s", "on_deadline": "overloaded"}
    result = stage.perform({"poll": late, "outcome": OK_RULE})
    assert result.reply is Reply.OVERLOADED
    assert stage.slept_s == []


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [(302, "GET", None), (303, "GET", None), (307, "POST", b"{}"), (308, "POST", b"{}")],
)
def test_redirects_keep_or_drop_the_body(status: int, method: str, body: bytes | None) -> None:
    """As RFC 9110 says; the final URL is what url conditions see."""
    stage = Stage(answer(status, location="/next?n=1"), answer(200))
    rules = [{"url": {"matches": "next"}, "reply": "ok"}]
    result = stage.perform({"json": {}, "follow_redirects": True, "outcome": rules})
    assert result.reply is Reply.OK
    assert stage.urls == ["/x", "/next?n=1"]
    assert (stage.transport.sent[1].method, stage.transport.sent[1].body) == (method, body)


def test_redirects_are_not_followed_unless_asked() -> None:
    stage = Stage(answer(302, location="/next"))
    rules = [{"status": 302, "reply": "ok"}]
    extract = {"next": {"url": "location"}}
    assert stage.perform({"outcome": rules, "extract": extract}).reply is Reply.OK
    assert stage.variables["next"] == f"{TARGET}/next"


def test_a_redirect_to_a_foreign_host_is_refused() -> None:
    """Nothing is sent there; the step is an error and the reason is noted."""
    stage = Stage(answer(302, location="http://shop.invalid/"))
    result = stage.perform({"follow_redirects": True, "outcome": OK_RULE})
    assert result.reply is Reply.ERROR
    assert stage.urls == ["/x"]
    assert "shop.invalid:80 is not an allowed host" in next(iter(stage.notes.to_json()))


def test_a_redirect_to_an_allowed_host_loses_the_authorization() -> None:
    stage = Stage(answer(302, location="http://pay.test/"), answer(200), allow=["pay.test"])
    headers = {"Authorization": "secret"}
    stage.perform({"follow_redirects": True, "headers": headers, "outcome": OK_RULE})
    assert "Authorization" in stage.transport.sent[0].headers
    assert "Authorization" not in stage.transport.sent[1].headers


def test_a_circle_of_redirects_ends() -> None:
    stage = Stage(*(answer(302, location="/x") for _ in range(11)))
    assert stage.perform({"follow_redirects": True, "outcome": OK_RULE}).reply is Reply.ERROR
    assert "more than 10 redirects" in next(iter(stage.notes.to_json()))


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", 0.0)])
def test_retry_after_is_read_off_an_overloaded_reply(value: str, seconds: float) -> None:
    stage = Stage(answer(503, retry_after=value))
    assert stage.perform({"outcome": OK_RULE}).retry_after_s == seconds


def test_a_missing_variable_sends_nothing() -> None:
    """A reservation that the visitor does not have cannot be paid: an error, and a note."""
    stage = Stage()
    result = stage.perform({"url": "/r/{{reservation_id}}", "outcome": OK_RULE})
    assert (result.reply, result.sent_ns) == (Reply.ERROR, 0)
    assert "reservation_id" in next(iter(stage.notes.to_json()))


def test_a_header_cannot_smuggle_another_one() -> None:
    """The client refuses line breaks in header values; see the transport's own test."""
    import subprocess
    import sys

    code = (
        "from geventhttpclient.client import HTTPClient\n"
        "try: HTTPClient('h')._build_request('GET', '/', headers={'A': 'b\\r\\nC: d'})\n"
        "except ValueError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
