"""Taking values out of answers: JSON, headers, cookies, text, HTML forms, URLs."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urljoin, urlsplit

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Part
from doorbuster_load.exchange import Received
from doorbuster_load.profile import jsonpath
from doorbuster_load.profile.jsonpath import MISSING
from doorbuster_load.profile.matching import JsonPath, Regex

_SOURCES = ("json", "header", "cookie", "text", "form_field", "url")
_CASTS: dict[str, Callable[[Any], Any]] = {"int": int, "float": float, "text": str}

Extractor = Callable[[Received], Any]


class Extraction(Part):
    """Where in an answer a variable comes from; exactly one source."""

    json_: Annotated[JsonPath | None, Field(alias="json")] = None
    """JSONPath; its first value."""
    header: str | None = None
    """Name of a header; its first value."""
    cookie: str | None = None
    """Name of a cookie that the visitor holds after this answer."""
    text: Regex | None = None
    """Regular expression on the body: its first group, or the whole match without groups."""
    form_field: str | None = None
    """Name of an HTML form field (or `meta` tag): its value, such as a CSRF token."""
    url: Literal["final", "location"] | None = None
    """The URL that answered, after redirects, or where its Location header points to."""
    matching: Regex | None = None
    """For header, cookie and url: only the first group of this, or its whole match."""
    query: str | None = None
    """For url: only this parameter of its query."""
    as_: Annotated[Literal["int", "float", "text"] | None, Field(alias="as")] = None
    """Type of the variable. Default: as it comes; only JSON has numbers."""
    default: str | int | float | bool | None = None
    """Value when nothing is found. Without it, an answer that lacks the value is an error."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in _SOURCES if getattr(self, _field(name)) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "extraction_source",
                "give exactly one of {sources} (got {given})",
                {"sources": ", ".join(_SOURCES), "given": ", ".join(given) or "none"},
            )
        if self.query is not None and self.url is None:
            raise PydanticCustomError("extraction_query", "query goes with url only")
        if self.matching is not None and given[0] not in ("header", "cookie", "url"):
            raise PydanticCustomError(
                "extraction_matching", "matching goes with header, cookie or url only"
            )
        return self

    @property
    def has_default(self) -> bool:
        """Whether a missing value is no error."""
        return "default" in self.model_fields_set

    def extractor(self) -> Extractor:
        """The compiled form: gives the value, or MISSING."""
        source = self._source()
        cast = _CASTS[self.as_] if self.as_ else None
        fallback = self.default if self.has_default else MISSING

        def extract(answer: Received) -> Any:
            value = source(answer)
            if value is MISSING:
                return fallback
            if cast is None:
                return value
            try:
                return cast(value)
            except (TypeError, ValueError):
                return fallback

        return extract

    def _source(self) -> Extractor:
        if self.json_ is not None:
            find = jsonpath.first(self.json_)
            return lambda answer: MISSING if answer.document is MISSING else find(answer.document)
        if self.text is not None:
            search = _searcher(self.text)
            return lambda answer: search(answer.text)
        if self.form_field is not None:
            name = self.form_field
            return lambda answer: form_field(answer.text, name)
        return self._text_source()

    def _text_source(self) -> Extractor:
        if self.header is not None:
            header = self.header
            read: Extractor = lambda answer: answer.header(header)  # noqa: E731
        elif self.cookie is not None:
            cookie = self.cookie
            read = lambda answer: answer.cookies.get(cookie)  # noqa: E731
        else:
            read = _url_reader(self.url == "location", self.query)
        search = _searcher(self.matching) if self.matching else None

        def extract(answer: Received) -> Any:
            value = read(answer)
            if value is None:
                return MISSING
            return search(value) if search else value

        return extract


def _field(name: str) -> str:
    return "json_" if name == "json" else name


def _searcher(pattern: str) -> Callable[[str], Any]:
    compiled = re.compile(pattern)

    def search(text: str) -> Any:
        match = compiled.search(text)
        if match is None:
            return MISSING
        value = match[1] if compiled.groups else match[0]
        return MISSING if value is None else value

    return search


def _url_reader(from_location: bool, query: str | None) -> Extractor:
    def read(answer: Received) -> str | None:
        url: str | None = answer.url
        if from_location:
            location = answer.header("location")
            url = None if location is None else urljoin(answer.url, location)
        if url is None or query is None:
            return url
        values = parse_qs(urlsplit(url).query, keep_blank_values=True).get(query)
        return values[0] if values else None

    return read


class _FormFields(HTMLParser):
    """Finds the value of the first input, textarea, select or meta tag with a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._inside: str | None = None
        self.value: Any = MISSING

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the value of a fitting tag, or that its text will be the value."""
        if self.value is not MISSING:
            return
        attributes = dict(attrs)
        if tag == "option" and self._inside == "select" and "selected" in attributes:
            self.value = attributes.get("value") or ""
        if attributes.get("name") != self._name:
            return
        if tag == "input":
            self.value = attributes.get("value") or ""
        elif tag == "meta":
            self.value = attributes.get("content") or ""
        elif tag in ("textarea", "select"):
            self._inside = tag

    def handle_data(self, data: str) -> None:
        """Takes the text of a fitting textarea."""
        if self._inside == "textarea" and self.value is MISSING:
            self.value = data

    def handle_endtag(self, tag: str) -> None:
        """Leaves a textarea or select."""
        if tag == self._inside:
            if tag == "textarea" and self.value is MISSING:
                self.value = ""
            self._inside = None


def form_field(html: str, name: str) -> Any:
    """Value of an HTML form field, or MISSING."""
    parser = _FormFields(name)
    parser.feed(html)
    parser.close()
    return parser.value
