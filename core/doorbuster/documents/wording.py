"""The words of a mistake: `what (got ...); allowed ...; fix`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails
from ruamel.yaml.nodes import Node, ScalarNode, SequenceNode

from doorbuster.documents.kinds import Kind, choices_of, keys_of

MAX_SHOWN = 60
"""Characters of a wrong value that a sentence repeats."""
MAX_NAMES = 40
"""Allowed names that a sentence lists."""

_BY_TYPE = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a sensible size",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "decimal_max_places": "must have at most {decimal_places} decimals",
    "decimal_max_digits": "must have at most {max_digits} digits",
    "decimal_whole_digits": "must have at most {whole_digits} digits before the point",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text without broken characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must look like {pattern}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "literal_error": "unknown value",
    "enum": "unknown value",
}
_COUNTED = {
    "too_short": "needs at least {min_length} entries (got {actual_length})",
    "too_long": "may have at most {max_length} entries (got {actual_length})",
}


def suggestion(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'stock'?`, or nothing when no word is near."""
    by_lower = {candidate.lower(): candidate for candidate in words}
    near = get_close_matches(word.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""


def allowed_names(names: Iterable[str]) -> str:
    """`; allowed: a, b, c`, cut short when there are very many."""
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return f"; allowed: {', '.join(listed[:MAX_NAMES])}{more}" if listed else ""


def quoted(text: str) -> str:
    """A text in quotes, cut short when it is long."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def source(node: Node) -> str:
    """A value as it stands in the document, short enough for a sentence."""
    if isinstance(node, SequenceNode):
        return f"a list of {len(node.value)}"
    if not isinstance(node, ScalarNode):
        return "a mapping"
    tag = str(node.tag)
    if tag.endswith(":null"):
        return "nothing"
    text = str(node.value)
    is_plain = tag.endswith((":int", ":float", ":bool")) and len(text) <= MAX_SHOWN
    return text if is_plain else quoted(text)


def sentence(details: ErrorDetails, kind: Kind, node: Node) -> str:
    """What is wrong with the value at a node, what was found, what is allowed, what to do."""
    what = _what(details)
    is_about_the_value = isinstance(node, ScalarNode) or details["type"] in _BY_TYPE
    if is_about_the_value and "(got " not in what:
        head, separator, rest = what.partition("; ")
        what = f"{head} (got {source(node)}){separator}{rest}"
    return what + _allowed(details, kind, node) + _fix(details)


def _what(details: ErrorDetails) -> str:
    context: dict[str, Any] = details.get("ctx") or {}
    wording = _BY_TYPE.get(details["type"]) or _COUNTED.get(details["type"])
    if wording is not None:
        rounded = {
            name: f"{value:g}" if isinstance(value, float) else value
            for name, value in context.items()
        }
        return wording.format(**rounded).replace("at least 1 entries", "at least one entry")
    if details["type"] in ("value_error", "assertion_error"):
        return str(context.get("error", details["msg"]))
    message = details["msg"]
    return message.replace("Input should", "must") if message.startswith("Input ") else message


def _allowed(details: ErrorDetails, kind: Kind, node: Node) -> str:
    if details["type"] in ("literal_error", "enum"):
        choices = choices_of(kind)
        if not choices:
            return f"; allowed: {(details.get('ctx') or {}).get('expected', '')}"
        hint = suggestion(str(node.value), choices) if isinstance(node, ScalarNode) else ""
        return allowed_names(choices) + hint
    if details["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return allowed_names(keys_of(kind)).replace("allowed:", "allowed keys:")
    return ""


def _fix(details: ErrorDetails) -> str:
    value = details["input"]
    if details["type"] == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    wants_number = details["type"].startswith(("int_", "float_", "decimal_"))
    if wants_number and isinstance(value, str) and _is_number(value):
        return "; remove the quotes"
    if wants_number and isinstance(value, str) and _is_number(value.removesuffix("%")):
        return f"; write {float(value.removesuffix('%')) / 100:g}"
    if details["type"].startswith("int_") and isinstance(value, float) and value.is_integer():
        return f"; write {value:.0f}"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
