"""The clock that has faults carried out: when, by which requests, and what it leaves behind."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SMALL, Change, merged

from doorbuster.plan import FaultSpan, Timetable, fault_spans
from doorbuster.scenario import Scenario
from doorbuster_load.fault_clock import FaultClock
from doorbuster_load.hooks import HookError, Target
from doorbuster_load.profile.reading import ProfileError, read_profile
from doorbuster_load.safety import Guard

PROFILE = """
version: 1
name: mine
steps:
  reserve: [{url: /r, outcome: [{status: 200, reply: ok}]}]
  pay: [{url: /p, outcome: [{status: 200, reply: ok}]}]
hooks:
  reset: [{url: /reset, method: POST, extract: {chaos: {json: $.chaos}}}]
  faults:
    freeze:
      begin: [{url: /own/begin, json: {of: "{{fault_of}}", at: "{{chaos}}"}}]
    any:
      begin:
        - url: "/{{fault_kind}}/begin"
          json: {number: "{{fault_number}}", seconds: "{{fault_duration_s}}",
                 extra: "{{fault_extra_s}}", answer: "{{fault_answer}}"}
      end: [{url: "/{{fault_kind}}/end", method: DELETE}]
"""


def spans_of(*faults: Change) -> list[FaultSpan]:
    """The spans of a sale in which these faults are planned."""
    scenario = Scenario.model_validate(merged(SMALL, {"faults": list(faults)}))
    return fault_spans(scenario, Timetable.of(scenario))


def until_begun(clock: FaultClock, count: int) -> None:
    while len(clock.happened) < count:
        time.sleep(0.01)


class Chaos(BaseHTTPRequestHandler):
    """Writes down what it is told; `broken` it refuses."""

    seen: list[tuple[str, str, Any]]
    is_broken = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, json.loads(body) if body else None))
        self.send_response(500 if self.is_broken and self.path != "/reset" else 200)
        self.end_headers()
        self.wfile.write(b'{"chaos": "here"}')

    def do_DELETE(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def chaos(tmp_path: Path, *, is_broken: bool = False) -> Iterator[tuple[Target, Any]]:
    """A target, and the server behind all its hooks."""

    class Own(Chaos):
        seen: list[tuple[str, str, Any]] = []  # noqa: RUF012 - one list a server

    Own.is_broken = is_broken
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "mine.yaml").write_text(PROFILE, "utf-8")
    guard = Guard.of(())
    guard.resolve()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    profile_file = read_profile(tmp_path / "mine.yaml")
    scenario = Scenario.model_validate(SMALL)
    try:
        with Target(
            url, profile_file, guard, scenario, variables={"seed": 1, "scenario": "s"}
        ) as target:
            yield target, Own.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_each_fault_is_asked_for_at_its_time(tmp_path: Path) -> None:
    """In the words of the profile; two kinds at once; the record tells the answers' times."""
    spans = spans_of(
        {"kind": "slow_database", "start": "200ms", "duration": "400ms", "extra": "30ms"},
        {"kind": "provider_outage", "start": "300ms", "duration": "200ms", "answer": "hang"},
    )
    with chaos(tmp_path) as (target, seen):
        target.reset(0.0)
        with FaultClock(target, spans, time.monotonic_ns()) as clock:
            until_begun(clock, 2)
            clock.wait_out()
        assert not clock.problems
        by_kind = {happened["kind"]: happened for happened in clock.happened}
        for span in spans:
            happened = by_kind.pop(span.fault.kind)
            assert happened["begun_s"] >= span.begun_s
            assert happened["ended_s"] >= span.ended_s
        assert not by_kind
        assert [seen[0][1], *sorted(path for _, path, _ in seen[1:])] == [
            "/reset", "/provider_outage/begin", "/provider_outage/end", "/slow_database/begin",
            "/slow_database/end",
        ]  # fmt: skip
        told = {path: body for _, path, body in seen}
        assert told["/slow_database/begin"] == {
            "number": 0, "seconds": pytest.approx(0.4), "extra": 0.03, "answer": "refuse",
        }  # fmt: skip
        assert told["/provider_outage/begin"]["answer"] == "hang"
        assert {method for method, path, _ in seen if path.endswith("/end")} == {"DELETE"}


def test_what_is_under_way_ends_with_the_run(tmp_path: Path) -> None:
    """An interrupted run leaves nothing broken, and begins nothing more."""
    spans = spans_of(
        {"kind": "kill_shop", "start": 0, "duration": "60s"},
        {"kind": "kill_provider", "start": "2s", "duration": "60s"},
    )
    with chaos(tmp_path) as (target, seen):
        began_s = time.monotonic()
        with FaultClock(target, spans, time.monotonic_ns()) as clock:
            until_begun(clock, 1)
            troubles = [clock.is_troubling]
        troubles.append(clock.is_troubling)
        assert troubles == [True, False]
        assert time.monotonic() - began_s < 30
        assert [path for _, path, _ in seen] == ["/kill_shop/begin", "/kill_shop/end"]
        assert clock.happened[0]["ended_s"] < 30


def test_a_fault_of_its_own_hook_needs_no_end(tmp_path: Path) -> None:
    """It ends by itself; variables of the reset may be used."""
    spans = spans_of({"kind": "freeze", "start": 0, "duration": "100ms", "of": "provider"})
    with chaos(tmp_path) as (target, seen):
        target.reset(0.0)
        with FaultClock(target, spans, time.monotonic_ns()) as clock:
            until_begun(clock, 1)
            clock.wait_out()
        assert seen[1:] == [("POST", "/own/begin", {"of": "provider", "at": "here"})]
        assert clock.happened[0]["ended_s"] >= 0.1


def test_a_hook_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    """Nothing that was refused is in the record."""
    spans = spans_of(
        {"kind": "kill_shop", "start": 0, "duration": "100ms"},
        {"kind": "kill_shop", "start": "200ms", "duration": "100ms"},
    )
    with chaos(tmp_path, is_broken=True) as (target, seen):
        with FaultClock(target, spans, time.monotonic_ns()) as clock:
            while len(seen) < len(spans):
                time.sleep(0.01)
        assert clock.happened == []
        assert len(clock.problems) == len(spans)
        assert "faults.kill_shop hook: POST /kill_shop/begin answered 500" in clock.problems[0]
        with pytest.raises(HookError, match=r"faults\.kill_shop"):
            target.end_fault(spans[0])


def test_only_fault_hooks_know_of_faults(tmp_path: Path) -> None:
    """A variable of theirs in another hook is a mistake of the profile; so is an unknown kind."""
    for old, new, named in (
        ("{url: /reset, ", '{url: "/reset/{{fault_kind}}", ', "fault_kind"),
        ("freeze:", "frezee:", "frezee"),
    ):
        (tmp_path / "bad.yaml").write_text(PROFILE.replace(old, new), "utf-8")
        with pytest.raises(ProfileError, match=named):
            read_profile(tmp_path / "bad.yaml")
