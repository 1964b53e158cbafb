"""Turns the errors of a pydantic model into findings at places of a YAML document."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from doorbuster.documents.kinds import (
    Kind,
    below,
    choices_of,
    field_of,
    is_table,
    is_union,
    keys_of,
    member,
)
from doorbuster.documents.wording import allowed_names, sentence, source, suggestion
from doorbuster.documents.yaml_nodes import Finding, Place, Spot, YamlDocument, spot_of


class _Stop(NamedTuple):
    """Where the walk along a location ended."""

    place: Place
    node: Node
    key: Node | None
    """The key in front of the node, if it has one."""
    kind: Kind
    """What the model expects of the node."""
    is_chosen_key: bool
    """Whether the writer chose the key, as in a table of weights by name."""


class Mistakes:
    """Finds the places of a model's errors in one document."""

    def __init__(self, document: YamlDocument, root: Node, model: type[BaseModel]) -> None:
        self._document = document
        self._root = root
        self._model = model

    def at(self, place: Place, what: str) -> Finding:
        """A finding at a place that the caller knows; a place left out counts as its parent.

        In a table with chosen keys the key is what is wrong, elsewhere the value.
        """
        stop = self._walk(place)
        is_key = stop.is_chosen_key and stop.key is not None and len(stop.place) == len(place)
        node = stop.key if is_key and stop.key is not None else stop.node
        return Finding(spot_of(node), place, what)

    def findings(self, error: ValidationError) -> list[Finding]:
        """A finding for each error; the members of a plain union speak with one voice."""
        found: dict[tuple[Spot, Place], list[str]] = {}
        for details in error.errors(include_url=False):
            finding = self._finding(details)
            whats = found.setdefault((finding.spot, finding.place), [])
            if finding.what not in whats:
                whats.append(finding.what)
        return [Finding(*where, "; or: ".join(whats)) for where, whats in found.items()]

    # -- one error ---------------------------------------------------------------------------

    def _finding(self, details: ErrorDetails) -> Finding:
        error_type, loc = details["type"], details["loc"]
        if error_type == "extra_forbidden":
            return self._unknown_key(loc)
        if error_type == "missing":
            return self._missing(loc)
        stop = self._walk(loc)
        if error_type in ("union_tag_invalid", "union_tag_not_found"):
            return self._unknown_kind(stop)
        if loc and loc[-1] == "[key]" and stop.key is not None:
            what = f"key {sentence(details, stop.kind, stop.key)}"
            return Finding(spot_of(stop.key), stop.place, what)
        return Finding(spot_of(stop.node), stop.place, sentence(details, stop.kind, stop.node))

    def _unknown_key(self, loc: Place) -> Finding:
        parent = self._walk(loc[:-1])
        name = str(loc[-1])
        allowed = keys_of(parent.kind)
        hint = suggestion(name, allowed) or "; remove it"
        what = f"unknown key{allowed_names(allowed)}{hint}"
        child = self._child(parent.node, name)
        spot = spot_of(child[0] if child and child[0] is not None else parent.node)
        return Finding(spot, (*parent.place, name), what)

    def _missing(self, loc: Place) -> Finding:
        parent = self._walk(loc[:-1])
        field = field_of(parent.kind, loc[-1])
        meaning = _first_sentence(field.description) if field is not None else ""
        what = f"is missing; add it{meaning}"
        return Finding(spot_of(parent.node), (*parent.place, loc[-1]), what)

    def _unknown_kind(self, stop: _Stop) -> Finding:
        names = choices_of(stop.kind)
        word = stop.kind.discriminator or "kind"
        place = (*stop.place, word)
        child = self._child(stop.node, word)
        if child is None:
            return Finding(spot_of(stop.node), place, f"is missing; add it{allowed_names(names)}")
        value = child[1]
        hint = suggestion(str(value.value), names) if isinstance(value, ScalarNode) else ""
        what = f"unknown {word} (got {source(value)}){allowed_names(names)}{hint}"
        return Finding(spot_of(value), place, what)

    # -- walking -----------------------------------------------------------------------------

    def _walk(self, loc: Place) -> _Stop:
        """Follow a location through model and document at once, as far as the document goes.

        Pydantic puts the names of union members into a location; the document lacks them.
        """
        stop = _Stop((), self._root, None, Kind(self._model), is_chosen_key=False)
        for part in loc:
            if part == "[key]":
                continue
            if is_union(stop.kind):
                chosen = member(stop.kind, part)
                is_label = chosen.type is not None or self._child(stop.node, part) is None
                stop = stop._replace(kind=chosen)
                if is_label:
                    continue
            child = self._child(stop.node, part)
            kind = below(stop.kind, part)
            if child is None:
                stop = stop._replace(kind=kind, is_chosen_key=False)
                continue
            key, node = child
            stop = _Stop((*stop.place, part), node, key, kind, is_table(stop.kind))
        return stop

    def _child(self, node: Node, part: str | int) -> tuple[Node | None, Node] | None:
        """Key and value at one step below a node, None where the document has nothing."""
        if isinstance(node, SequenceNode) and isinstance(part, int):
            return (None, node.value[part]) if part < len(node.value) else None
        if isinstance(node, MappingNode):
            entry = self._document.entries(node).get(str(part))
            return (entry.key, entry.value) if entry is not None else None
        return None


def _first_sentence(description: str | None) -> str:
    """` (what it means)` from the docstring of a field, without its final stop."""
    if not description:
        return ""
    text = " ".join(description.split())
    return f" ({text.partition('. ')[0].removesuffix('.')})"
