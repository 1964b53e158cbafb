"""The two sides of an exchange, and the small interface behind which requests leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from doorbuster_load.profile.jsonpath import MISSING


@dataclass(slots=True)
class Outgoing:
    """One HTTP request, ready to be sent. The URL is absolute."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None = None


@dataclass(slots=True)
class Received:
    """The answer to a request, or the reason why there is none (status 0).

    headers: gives all values of a header by its name, in any case. url: the one that answered,
    after redirects. sent_ns, done_ns: monotonic clock.
    """

    status: int
    headers: Callable[[str], list[str]]
    body: bytes
    url: str
    sent_ns: int
    done_ns: int
    cookies: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    """Why there is no answer: refused, reset, too many redirects; None when there is one."""
    timed_out: bool = False
    _document: Any = None

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        values = self.headers(name)
        return values[0] if values else None

    @property
    def text(self) -> str:
        """The body in the charset that the answer states, UTF-8 otherwise; never fails."""
        content_type = self.header("content-type") or ""
        charset = content_type.partition("charset=")[2].split(";")[0].strip(" \"'") or "utf-8"
        try:
            return self.body.decode(charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    @property
    def document(self) -> Any:
        """The body as JSON, or MISSING when it is none."""
        if self._document is None:
            try:
                self._document = (orjson.loads(self.body),)
            except orjson.JSONDecodeError:
                self._document = (MISSING,)
        return self._document[0]


class Transport(Protocol):
    """Sends requests for one visitor after the other."""

    def send(self, request: Outgoing, timeout_s: float, label: str) -> Received:
        """Send one request and wait for its whole answer, at most `timeout_s` seconds.

        Never raises for what the network or the target does: `failure` and `timed_out` tell.
        """

    def forget(self) -> None:
        """Forget the last visitor: its cookies, and its connections if they were its own."""
