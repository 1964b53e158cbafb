"""Requests of a profile in compiled form: built from variables, classified, read out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from doorbuster.vocabulary import Reply
from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.profile.functions import load_function
from doorbuster_load.profile.jsonpath import MISSING
from doorbuster_load.profile.matching import Predicate, Rule, reply_of
from doorbuster_load.profile.model import Request
from doorbuster_load.profile.templates import (
    Template,
    TextTemplate,
    Variables,
    names_in,
    text_template,
    url_template,
    value_template,
)

_OVERLOADED_STATUSES = (429, 503)
_TRUSTED = (Reply.OK, Reply.PENDING)
"""Replies after which the values of an answer are taken."""
_PYTHON_PARTS = ("method", "url", "query", "headers", "json", "form", "text")

Verdict = Callable[[Received, Variables], Reply | None]


class RequestError(Exception):
    """A request that cannot be built or an answer that lacks a value; says which."""


class PreparedRequest:
    """One request of a profile, ready to be built for any visitor."""

    def __init__(self, request: Request, target: str, folder: Path) -> None:
        self.request = request
        self.label = request.label
        self._target = target.rstrip("/")
        self._url = url_template(request.url)
        self._query = _optional(request.query or None)
        self._headers = [(name, text_template(value)) for name, value in request.headers.items()]
        self._body = _body_builder(request)
        self.method = request.method or ("GET" if self._body is None else "POST")
        self._function = load_function(folder, request.python) if request.python else None
        self._rules = [_verdict(rule, folder) for rule in request.outcome]
        self._extractions = [
            (name, extraction.extractor()) for name, extraction in request.extract.items()
        ]
        self._until = request.poll.until.predicate() if request.poll else None
        self._names = set(names_in(request.model_dump(by_alias=True)))

    def reads(self, name: str) -> bool:
        """Whether it may read a variable; a function of the user's own may read all of them."""
        takes_all = self._function is not None or any(rule.python for rule in self.request.outcome)
        return takes_all or name in self._names

    def is_wanted(self, variables: Variables) -> bool:
        """Whether its condition on the visitor's variables holds."""
        when = self.request.when
        if when is None:
            return True
        value = variables.get(when.variable, MISSING)
        if when.exists is not None:
            return (value is not MISSING) == when.exists
        return bool(value == when.equals)

    def build(self, variables: Variables) -> Outgoing:
        """The request for one visitor. Raises: RequestError, MissingVariableError."""
        if self._function is not None:
            return self._built_by_function(variables)
        headers = {name: value(variables) for name, value in self._headers}
        body = None
        if self._body is not None:
            content_type, body = self._body(variables)
            if content_type and not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = content_type
        query = self._query(variables) if self._query else None
        url = self._absolute(self._url(variables), query)
        return Outgoing(self.method, url, headers, body)

    def classify(self, answer: Received, variables: Variables) -> Reply:
        """The business outcome of an answer."""
        if answer.timed_out:
            return Reply.TIMEOUT
        if answer.failure is not None:
            return Reply.ERROR
        for rule in self._rules:
            reply = rule(answer, variables)
            if reply is not None:
                return reply
        if answer.status in _OVERLOADED_STATUSES:
            return Reply.OVERLOADED
        is_fine = not self._rules and 200 <= answer.status < 400  # noqa: PLR2004 - HTTP's classes
        return Reply.OK if is_fine else Reply.ERROR

    def is_settled(self, answer: Received) -> bool:
        """Whether a polled answer is the one that was waited for, or none at all."""
        return self._until is None or answer.failure is not None or self._until(answer)

    def extract(self, answer: Received, reply: Reply, variables: MutableMapping[str, Any]) -> None:
        """Take the values of a good answer. Raises: RequestError naming the one that lacks."""
        if reply not in _TRUSTED:
            return
        for name, extractor in self._extractions:
            value = extractor(answer)
            if value is not MISSING:
                variables[name] = value
            elif reply is Reply.OK:
                message = f"{self.label}: {name} is not in the answer (status {answer.status})"
                raise RequestError(message)

    def _absolute(self, url: str, query: Mapping[str, Any] | None) -> str:
        if not url.startswith(("http://", "https://")):
            url = f"{self._target}/{url.removeprefix('/')}"
        if query:
            given = {name: value for name, value in query.items() if value is not None}
            text = urlencode(given, doseq=True)
            url += ("&" if "?" in url else "?") + text if text else ""
        return url

    def _built_by_function(self, variables: Variables) -> Outgoing:
        assert self._function is not None
        made = self._function(dict(variables))
        unknown = set(made) - set(_PYTHON_PARTS) if isinstance(made, Mapping) else None
        if unknown or not isinstance(made, Mapping):
            message = (
                f"{self.label}: {self.request.python} must give a mapping; "
                f"allowed: {', '.join(_PYTHON_PARTS)}"
            )
            raise RequestError(message)
        written = {
            "method": self.request.method,
            "url": self._url(variables),
            "query": self._query(variables) if self._query else {},
            "headers": {name: value(variables) for name, value in self._headers},
        }
        merged = {**written, **made}
        content_type, body = _encoded(merged)
        headers = {str(name): str(value) for name, value in merged["headers"].items()}
        if content_type:
            headers.setdefault("Content-Type", content_type)
        method = merged["method"] or ("GET" if body is None else "POST")
        return Outgoing(method, self._absolute(merged["url"], merged["query"]), headers, body)


def _optional(tree: Any) -> Template | None:
    return None if tree is None else value_template(tree)


def _body_builder(request: Request) -> Callable[[Variables], tuple[str, bytes]] | None:
    if request.graphql is not None:
        operation = {"query": request.graphql.query, "variables": request.graphql.variables}
        if request.graphql.operation_name:
            operation["operationName"] = request.graphql.operation_name
        # The braces of a query are its own; only its variables are filled in.
        variables = value_template(request.graphql.variables)
        return lambda known: (
            "application/json",
            orjson.dumps({**operation, "variables": variables(known)}),
        )
    if request.json_ is not None:
        json_tree = value_template(request.json_)
        return lambda known: ("application/json", orjson.dumps(json_tree(known)))
    if request.form is not None:
        form = value_template(request.form)
        return lambda known: (_FORM, urlencode(form(known), doseq=True).encode())
    if request.text is not None:
        text: TextTemplate = text_template(request.text)
        return lambda known: ("", text(known).encode())
    return None


_FORM = "application/x-www-form-urlencoded"


def _encoded(parts: Mapping[str, Any]) -> tuple[str, bytes | None]:
    if parts.get("json") is not None:
        return "application/json", orjson.dumps(parts["json"])
    if parts.get("form") is not None:
        return _FORM, urlencode(parts["form"], doseq=True).encode()
    if parts.get("text") is not None:
        return "", str(parts["text"]).encode()
    return "", None


def _verdict(rule: Rule, folder: Path) -> Verdict:
    holds: Predicate = rule.predicate()
    if rule.python is None:
        assert rule.reply is not None
        reply = reply_of(rule.reply)
        return lambda answer, _: reply if holds(answer) else None
    function = load_function(folder, rule.python)

    def told_by_function(answer: Received, variables: Variables) -> Reply | None:
        if not holds(answer):
            return None
        name = function(answer, dict(variables))
        if name is None:
            return None
        try:
            return reply_of(str(name))
        except KeyError:
            message = f"{rule.python}: gave no reply (got {name!r})"
            raise RequestError(message) from None

    return told_by_function
