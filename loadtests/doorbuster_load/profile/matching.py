"""Conditions on an answer, and the ordered rules that tell its business outcome."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Part
from doorbuster.vocabulary import Reply
from doorbuster_load.exchange import Received
from doorbuster_load.profile import jsonpath
from doorbuster_load.profile.jsonpath import MISSING

ReplyName = Literal[
    "ok",
    "not_open",
    "sold_out",
    "limited",
    "blocked",
    "challenged",
    "declined",
    "pending",
    "expired",
    "overloaded",
    "error",
    "timeout",
]
"""The business outcomes that a visitor can tell, as in the records."""

Test = Callable[[Any], bool]
Predicate = Callable[[Received], bool]

_STATUS = re.compile(r"[1-5]xx|[1-5]\d\d(-[1-5]\d\d)?")


def checked_regex(pattern: str) -> str:
    """The pattern itself. Raises: a validation error when it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        reason = f"is no regular expression ({error})"
        raise PydanticCustomError("regex", "{reason}", {"reason": reason}) from None
    return pattern


def checked_path(path: str) -> str:
    """The path itself. Raises: a validation error when it is no JSONPath."""
    try:
        jsonpath.first(path)
    except jsonpath.JsonPathError as error:
        raise PydanticCustomError("jsonpath", "{reason}", {"reason": str(error)}) from None
    return path


def checked_function(name: str) -> str:
    """The name itself. Raises: a validation error when it is not `module:function`."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise PydanticCustomError("function", "must be written module:function")
    return name


def _checked_status(status: int | str) -> int | str:
    if not _STATUS.fullmatch(str(status)):
        raise PydanticCustomError("status", "must be 100 to 599, 4xx, or a range such as 400-409")
    return status


Regex = Annotated[str, AfterValidator(checked_regex)]
JsonPath = Annotated[str, AfterValidator(checked_path)]
FunctionName = Annotated[str, AfterValidator(checked_function)]
Status = Annotated[int | str, AfterValidator(_checked_status)]
Scalar = str | int | float | bool | None


class Match(Part):
    """What a value must be; everything that is given must hold. Short form: the value itself."""

    exists: bool | None = None
    equals: Scalar = None
    one_of: list[Scalar] | None = None
    contains: str | None = None
    """Part of the text; letters of either case count as equal."""
    matches: Regex | None = None
    """Regular expression that is found anywhere in the text."""
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError("empty_match", "must say what to match; write for example 7")
        return self

    def test(self) -> Test:
        """The compiled form: a function of the value, which may be MISSING."""
        tests: list[Test] = []
        if self.exists is not None:
            exists = self.exists
            tests.append(lambda value: (value is not MISSING) == exists)
        if "equals" in self.model_fields_set:
            wanted = self.equals
            tests.append(lambda value: _same(value, wanted))
        if self.one_of is not None:
            choices = self.one_of
            tests.append(lambda value: any(_same(value, choice) for choice in choices))
        if self.contains is not None:
            part = self.contains.casefold()
            tests.append(lambda value: value is not MISSING and part in str(value).casefold())
        if self.matches is not None:
            search = re.compile(self.matches).search
            tests.append(lambda value: value is not MISSING and search(str(value)) is not None)
        if self.at_least is not None or self.at_most is not None:
            low = float("-inf") if self.at_least is None else self.at_least
            high = float("inf") if self.at_most is None else self.at_most
            tests.append(lambda value: _within(value, low, high))
        return lambda value: all(test(value) for test in tests)


def _same(value: Any, wanted: Scalar) -> bool:
    # JSON tells true from 1, Python does not.
    return (
        value is not MISSING
        and value == wanted
        and isinstance(value, bool) == (isinstance(wanted, bool))
    )


def _within(value: Any, low: float, high: float) -> bool:
    try:
        return low <= float(value) <= high
    except (TypeError, ValueError):
        return False


def _equal_form(value: Any) -> Any:
    return value if isinstance(value, dict | Match) else {"equals": value}


def _contained_form(value: Any) -> Any:
    return {"contains": value} if isinstance(value, str) else value


ValueMatch = Annotated[Match, BeforeValidator(_equal_form, json_schema_input_type=Scalar | Match)]
TextMatch = Annotated[Match, BeforeValidator(_contained_form, json_schema_input_type=str | Match)]


class Condition(Part):
    """What an answer must be; everything that is given must hold."""

    status: Status | list[Status] | None = None
    """200, 4xx, 400-409, or a list of such."""
    header: dict[str, TextMatch] = Field(default_factory=dict)
    """By name; a text must be contained in the header's value."""
    json_: dict[JsonPath, ValueMatch] = Field(alias="json", default_factory=dict)
    """By JSONPath; a value must be equal."""
    text: TextMatch | None = None
    """The body as text; a text must be contained in it."""
    url: TextMatch | None = None
    """The URL that answered, after redirects."""

    def predicate(self) -> Predicate:
        """The compiled form."""
        tests: list[Predicate] = []
        if self.status is not None:
            allowed = _statuses(self.status)
            tests.append(lambda answer: answer.status in allowed)
        for name, match in self.header.items():
            tests.append(_header_test(name, match.test()))
        for path, match in self.json_.items():
            tests.append(_json_test(jsonpath.first(path), match.test()))
        if self.text is not None:
            text_test = self.text.test()
            tests.append(lambda answer: text_test(answer.text))
        if self.url is not None:
            url_test = self.url.test()
            tests.append(lambda answer: url_test(answer.url))
        return lambda answer: all(test(answer) for test in tests)


def _header_test(name: str, test: Test) -> Predicate:
    def holds(answer: Received) -> bool:
        value = answer.header(name)
        return test(MISSING if value is None else value)

    return holds


def _json_test(find: jsonpath.Finder, test: Test) -> Predicate:
    def holds(answer: Received) -> bool:
        document = answer.document
        return test(MISSING if document is MISSING else find(document))

    return holds


def _statuses(status: Status | list[Status]) -> frozenset[int]:
    allowed: set[int] = set()
    for entry in status if isinstance(status, list) else [status]:
        text = str(entry)
        if text.endswith("xx"):
            allowed.update(range(int(text[0]) * 100, int(text[0]) * 100 + 100))
        else:
            low, _, high = text.partition("-")
            allowed.update(range(int(low), int(high or low) + 1))
    return frozenset(allowed)


class Rule(Condition):
    """One line of the table that tells outcomes: the first rule that fits decides."""

    reply: ReplyName | None = None
    python: FunctionName | None = None
    """`module:function(answer, variables)` gives a reply or None, to leave it to later rules."""

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.reply is None) == (self.python is None):
            raise PydanticCustomError("rule", "give a reply or a python function, not both")
        return self


def reply_of(name: str) -> Reply:
    """The reply with a name as it stands in profiles and records. Raises: KeyError."""
    return Reply[name.upper()]
