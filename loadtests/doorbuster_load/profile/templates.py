"""Templates: texts and trees with `{{name}}` in them, compiled once and filled in per request."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

Variables = Mapping[str, Any]
Template = Callable[[Variables], Any]
TextTemplate = Callable[[Variables], str]

PLACEHOLDER = re.compile(r"\{\{\s*(env:[A-Za-z_]\w*|[A-Za-z_]\w*)\s*\}\}")
_ENVIRONMENT = "env:"


class MissingVariableError(Exception):
    """A template names a variable that this visitor does not have; says which."""


def value_template(tree: Any) -> Template:
    """A template for a text or a tree of lists and mappings; `{{name}}` alone keeps its type."""
    if isinstance(tree, str):
        whole = PLACEHOLDER.fullmatch(tree)
        if whole:
            return _lookup(whole[1])
        return text_template(tree)
    if isinstance(tree, Mapping):
        pairs = [(text_template(str(key)), value_template(value)) for key, value in tree.items()]
        return lambda variables: {key(variables): value(variables) for key, value in pairs}
    if isinstance(tree, list):
        items = [value_template(item) for item in tree]
        return lambda variables: [item(variables) for item in items]
    return lambda _: tree


def text_template(text: str) -> TextTemplate:
    """A template that gives a text, such as a header."""
    return _joined(text, str)


def url_template(text: str) -> TextTemplate:
    """A template for a URL: what is filled into a part of it is percent-encoded.

    A variable that is the whole URL, such as one taken from a redirect, is left as it is.
    """
    whole = PLACEHOLDER.fullmatch(text)
    if whole:
        lookup = _lookup(whole[1])
        return lambda variables: str(lookup(variables))
    return _joined(text, lambda value: quote(str(value), safe=""))


def names_in(tree: Any) -> Iterator[str]:
    """Every variable that a tree names, `env:` ones with their prefix."""
    if isinstance(tree, str):
        for match in PLACEHOLDER.finditer(tree):
            yield match[1]
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from names_in(key)
            yield from names_in(value)
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from names_in(item)


def is_environment(name: str) -> bool:
    """Whether a name stands for an environment variable."""
    return name.startswith(_ENVIRONMENT)


def environment_name(name: str) -> str:
    """The environment variable behind `env:NAME`."""
    return name.removeprefix(_ENVIRONMENT)


def broken_placeholder(text: str) -> str | None:
    """The first `{{` of a text that starts no placeholder, or None."""
    rest = PLACEHOLDER.sub("", text)
    at = rest.find("{{")
    return None if at < 0 else rest[at : at + 24]


def _joined(text: str, as_text: Callable[[Any], str]) -> TextTemplate:
    literals = PLACEHOLDER.split(text)
    if len(literals) == 1:
        return lambda _: text
    parts: list[TextTemplate] = [
        _part(_lookup(piece), as_text) if index % 2 else _literal(piece)
        for index, piece in enumerate(literals)
    ]
    return lambda variables: "".join([part(variables) for part in parts])


def _part(lookup: Template, as_text: Callable[[Any], str]) -> TextTemplate:
    return lambda variables: as_text(lookup(variables))


def _literal(text: str) -> TextTemplate:
    return lambda _: text


def _lookup(name: str) -> Template:
    if is_environment(name):
        secret = os.environ.get(environment_name(name))

        def from_environment(_: Variables) -> Any:
            if secret is None:
                raise MissingVariableError(name)
            return secret

        return from_environment

    def from_variables(variables: Variables) -> Any:
        try:
            return variables[name]
        except KeyError:
            raise MissingVariableError(name) from None

    return from_variables
