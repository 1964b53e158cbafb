"""YAML 1.2 text as plain data that remembers the place of every key and value.

Duplicate keys, unknown tags and endless aliases are collected, not raised, so that one reading
finds them all together with the mistakes that the model sees later.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_NODES = 4_000_000
"""Values of a document, every use of an alias counted; ends bombs of nested aliases."""
MAX_DEPTH = 100
"""Mappings and lists inside each other."""

Place = tuple[str | int, ...]
"""Path into a document, such as ("crowd", "phases", 0, "start")."""

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_TEXT_TAGS = {f"{_TAG}{name}" for name in ("str", "timestamp", "value")}
_MERGE = f"{_TAG}merge"
_VERSION = re.compile(r"^%YAML[ \t]+(\S+)", re.MULTILINE)


class Spot(NamedTuple):
    """Line and column in a text, both counted from 1."""

    line: int
    column: int


class Finding(NamedTuple):
    """Something wrong at a spot: the path there, and what is wrong."""

    spot: Spot
    place: Place
    what: str


class Entry(NamedTuple):
    """One key of a mapping with its value."""

    key: Node
    value: Node


class YamlSyntaxError(Exception):
    """The text is no YAML document; `finding` says where and why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding


def spot_of(node: Node) -> Spot:
    """Where a node starts."""
    return Spot(node.start_mark.line + 1, node.start_mark.column + 1)


class YamlDocument:
    """One document: its plain `data`, the `findings` of reading it, and the places of its nodes.

    Raises: YamlSyntaxError when the text is no YAML at all.
    """

    def __init__(self, text: str) -> None:
        self.findings: list[Finding] = []
        self._yaml = YAML(typ="safe", pure=True)
        self._entries: dict[int, dict[str, Entry]] = {}
        self._data: dict[int, Any] = {}
        self._open: set[int] = set()
        self._sizes: dict[int, int] = {}
        self.root = self._composed(text)
        self.data = None if self.root is None else self._construct(self.root, ())

    def entries(self, node: MappingNode) -> dict[str, Entry]:
        """Keys of a mapping as text, in the order of the file, merged ones last."""
        return self._entries.get(id(node), {})

    # -- from text to nodes ------------------------------------------------------------------

    def _composed(self, text: str) -> Node | None:
        version = _VERSION.match(text)
        if version and version[1] != "1.2":
            what = f"only YAML 1.2 is read (got %YAML {version[1]}); remove the line"
            raise YamlSyntaxError(Finding(Spot(1, 1), (), what))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ruamel warns of an anchor that is named twice.
                root: Node | None = self._yaml.compose(text)
                return root
        except MarkedYAMLError as error:
            raise YamlSyntaxError(_syntax_finding(error)) from None
        except YAMLError as error:
            raise YamlSyntaxError(_character_finding(error, text)) from None
        except RecursionError:
            what = f"nested too deeply; allowed {MAX_DEPTH} levels"
            raise YamlSyntaxError(Finding(Spot(1, 1), (), what)) from None
        except (ValueError, OverflowError, AttributeError, TypeError, IndexError) as error:
            # The parser itself fails on some broken texts, such as a directive without its words.
            what = f"is no YAML ({error})"
            raise YamlSyntaxError(Finding(Spot(1, 1), (), what)) from None

    # -- from nodes to data ------------------------------------------------------------------

    def _find(self, node: Node, place: Place, what: str) -> None:
        self.findings.append(Finding(spot_of(node), place, what))

    def _construct(self, node: Node, place: Place) -> Any:
        if id(node) in self._open:
            self._find(node, place, "contains itself through an alias; write it out")
            return None
        if id(node) in self._data:
            return self._data[id(node)]
        if len(place) > MAX_DEPTH:
            self._find(node, place, f"nested too deeply; allowed {MAX_DEPTH} levels")
            return None
        self._open.add(id(node))
        if isinstance(node, ScalarNode):
            value = self._scalar(node, place)
        elif isinstance(node, SequenceNode):
            value = [self._construct(child, (*place, i)) for i, child in enumerate(node.value)]
        else:
            value = self._mapping(node, place)
        self._open.discard(id(node))
        self._measure(node, place)
        self._data[id(node)] = value
        return value

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        if node.tag in _TEXT_TAGS or (node.tag == _MERGE and place):
            return str(node.value)
        if node.tag not in _PLAIN_TAGS:
            self._find(node, place, f"unknown tag (got {node.tag!r}); write a plain value")
            return str(node.value)
        try:
            return self._yaml.constructor.construct_object(node)
        except (ValueError, YAMLError, KeyError, OverflowError):
            kind = str(node.tag).removeprefix(_TAG)
            self._find(node, place, f"is no {kind} (got {node.value[:60]!r}); write it plainly")
            return None

    def _mapping(self, node: Node, place: Place) -> Any:
        if not isinstance(node, MappingNode):  # pragma: no cover - YAML has no fourth kind
            return None
        entries: dict[str, Entry] = {}
        merged: list[Entry] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged.extend(self._merged(value, place))
            elif not isinstance(key, ScalarNode):
                self._find(key, place, "a key must be a word, not a list or mapping")
            elif key.value in entries:
                first = spot_of(entries[key.value].key).line
                what = f"key stands twice, first in line {first}; keep one of them"
                self._find(key, (*place, key.value), what)
            else:
                entries[str(key.value)] = Entry(key, value)
        for entry in merged:
            entries.setdefault(str(entry.key.value), entry)
        self._entries[id(node)] = entries
        return {key: self._construct(entry.value, (*place, key)) for key, entry in entries.items()}

    def _merged(self, node: Node, place: Place) -> Iterator[Entry]:
        """The entries that `<<: *name` or `<<: [*name, *other]` brings in."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        for source in sources:
            self._construct(source, (*place, "<<"))
            if isinstance(source, MappingNode):
                yield from self.entries(source).values()
            else:
                self._find(source, place, "only a mapping can be merged with <<")

    def _measure(self, node: Node, place: Place) -> None:
        """Count the values below a node; past the limit the document is refused."""
        if isinstance(node, ScalarNode):
            self._sizes[id(node)] = 1
            return
        children = (
            [entry.value for entry in self.entries(node).values()]
            if isinstance(node, MappingNode)
            else node.value
        )
        size = 1 + sum(self._sizes.get(id(child), 0) for child in children)
        self._sizes[id(node)] = size
        if size > MAX_NODES:
            what = f"holds more than {MAX_NODES} values once its aliases are written out"
            raise YamlSyntaxError(Finding(spot_of(node), place, what))


def _syntax_finding(error: MarkedYAMLError) -> Finding:
    mark = error.problem_mark or error.context_mark
    spot = Spot(1, 1) if mark is None else Spot(mark.line + 1, mark.column + 1)
    problem = str(error.problem or error.context or "cannot be read")
    if "'\\t'" in problem:
        return Finding(spot, (), "is no YAML: a tab cannot indent; indent with spaces")
    if "another document" in problem:
        return Finding(spot, (), "holds a second document (---); keep one a file")
    context = f", {error.context}" if error.context and error.context != problem else ""
    return Finding(spot, (), f"is no YAML: {problem}{context}")


def _character_finding(error: YAMLError, text: str) -> Finding:
    position = getattr(error, "position", None)
    if not isinstance(position, int):
        return Finding(Spot(1, 1), (), f"is no YAML: {str(error).splitlines()[0]}")
    before = text[:position]
    spot = Spot(before.count("\n") + 1, position - before.rfind("\n"))
    found = text[position : position + 1]
    return Finding(spot, (), f"is no YAML: unprintable character (got {found!r}); remove it")
