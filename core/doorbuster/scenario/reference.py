"""The reference page of the scenario format, drawn from the models."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from doorbuster.documents.kinds import is_model, is_union, kind_of
from doorbuster.scenario.base import Words
from doorbuster.scenario.distributions import Distribution
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.shapes import Shape
from doorbuster.scenario.written import written_field

HEAD = """\
# The scenario file

Every key of a scenario, with its unit, default, range and meaning. This page is drawn from the
models in `core/doorbuster/scenario/` by `doorbuster schema --page`; do not edit it by hand.

- Files are YAML 1.2. Unknown and duplicate keys are errors; `doorbuster check FILE` names every
  mistake at once, with line and column.
- Times carry their unit: `250ms`, `90s`, `5m`, `2h`, `1d`. Those called *time from T0* count from
  the opening of the sale and are negative before it.
- A *distribution* is a bare duration (always the same time) or one of the kinds
  [below](#distributions).
- A default marked `assumed` has no published source: replace it by your own measurement first.
- `scenarios/scenario.schema.json` is the same as JSON Schema, for completion in editors.
"""
_DISTRIBUTIONS = get_args(get_args(Distribution)[0])
_SHAPES = get_args(get_args(Shape)[0])


def reference_page() -> str:
    """The page as it is committed in docs/scenario.md."""
    sections = [HEAD]
    for model, paths in _by_model(_models(Scenario, "")).items():
        sections.append(_section(", ".join(paths) or "The whole file", model))
    sections.append("## Arrival shapes\n\nThe `shape` of a phase. Level 1.0 is the normal load.\n")
    sections.extend(_section(f"Shape `{_tag(shape)}`", shape, level=3) for shape in _SHAPES)
    for part, paths in _by_model(_models_below(_SHAPES)).items():
        sections.append(_section(", ".join(paths), part, level=3))
    sections.append("## Distributions\n\nOf times.\n")
    sections.extend(_section(f"Kind `{_tag(kind)}`", kind, level=3) for kind in _DISTRIBUTIONS)
    return "\n".join(sections)


def _models(model: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """The model and every model below it with its path, shapes and distributions aside."""
    yield model, path
    for name, field in model.model_fields.items():
        for part, step in _parts_of(field.annotation):
            if part in _DISTRIBUTIONS or part in _SHAPES:
                continue
            label = f"{path}.{field.alias or name}{step}".removeprefix(".")
            yield from _models(part, label)


def _by_model(found: Iterator[tuple[type[BaseModel], str]]) -> dict[type[BaseModel], list[str]]:
    """Each model once, with every path that leads to it."""
    paths: dict[type[BaseModel], list[str]] = {}
    for model, path in found:
        listed = paths.setdefault(model, [])
        if path and f"`{path}`" not in listed:
            listed.append(f"`{path}`")
    return paths


def _models_below(models: tuple[type[BaseModel], ...]) -> Iterator[tuple[type[BaseModel], str]]:
    for model in models:
        for part, path in _models(model, "shape"):
            if part is not model:
                yield part, path


def _parts_of(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Models inside an annotation, with the step that leads to them: `[]`, `.<name>`, a kind."""
    kind = kind_of(annotation)
    if is_model(kind):
        yield kind.type, ""
    elif is_union(kind):
        for member in get_args(kind.type):
            for part, step in _parts_of(member):
                is_kind = "kind" in part.model_fields
                yield part, f"{step} of kind {_tag(part)}" if is_kind else step
    elif get_origin(kind.type) is list:
        for part, step in _parts_of(get_args(kind.type)[0]):
            yield part, f"[]{step}"
    elif get_origin(kind.type) is dict:
        for part, step in _parts_of(get_args(kind.type)[1]):
            yield part, f".<name>{step}"


def _tag(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _section(title: str, model: type[BaseModel], *, level: int = 2) -> str:
    lines = [f"{'#' * level} {title}", "", _text(model.__doc__ or ""), ""]
    lines += ["| field | unit or type | default | range | meaning |", "|---|---|---|---|---|"]
    lines += [_row(model, name, field) for name, field in model.model_fields.items()]
    return "\n".join(lines) + "\n"


def _row(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    cells = [
        f"`{field.alias or name}`",
        _type(field.annotation, field.metadata),
        _default(model, name, field),
        _range(field.annotation, field.metadata),
        _text(field.description or ""),
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _text(text: str) -> str:
    return " ".join(text.split())


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default in ([], {}, ""):
        return "none"
    part = model.model_construct(**{name: default})
    written = written_field(part, name)  # type: ignore[arg-type]
    return f"`{_flow(written)}`"


def _flow(written: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(written, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in written.items()) + "}"
    return str(written).lower() if isinstance(written, bool) else str(written)


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for member in get_args(annotation) if member is not type(None)]
    return [annotation]


def _unwrapped(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """The bare type and everything that constrains it."""
    members = _members(annotation)
    if len(members) == 1:
        annotation = members[0]
    if get_origin(annotation) is Annotated:
        bare, *inner = get_args(annotation)
        return _unwrapped(bare, [*metadata, *inner])
    constraints = [
        constraint for entry in metadata for constraint in getattr(entry, "metadata", [entry])
    ]
    return annotation, constraints


_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def _type(annotation: Any, metadata: list[Any]) -> str:
    bare, constraints = _unwrapped(annotation, metadata)
    called = [entry.name for entry in constraints if isinstance(entry, Words)]
    if called:
        return called[0]
    origin, arguments = get_origin(bare), get_args(bare)
    if origin is Literal:
        choices = ", ".join(f"`{choice}`" for choice in arguments)
        return f"one of {choices}" if len(arguments) > 1 else choices
    if origin in (list, tuple):
        inner = [_type(entry, []) for entry in arguments]
        return f"list of {inner[0]}" if origin is list else f"pair of {' and '.join(inner)}"
    if origin is dict:
        return f"mapping of name to {_type(arguments[1], [])}"
    if is_union(kind_of(bare)):
        return _union_type(set(arguments))
    if is_model(kind_of(bare)):
        return "mapping"
    return _WORDS.get(bare, "value")


def _union_type(members: set[Any]) -> str:
    if members == set(_DISTRIBUTIONS):
        return "distribution"
    return "[shape](#arrival-shapes)" if members == set(_SHAPES) else "mapping with a `kind`"


_BOUNDS = {
    "ge": "{} or more",
    "gt": "above {}",
    "le": "{} or less",
    "lt": "below {}",
    "min_length": "{} entries or more",
    "max_length": "{} entries or fewer",
}


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


def _range(annotation: Any, metadata: list[Any]) -> str:
    _, constraints = _unwrapped(annotation, metadata)
    called = [entry.allowed for entry in constraints if isinstance(entry, Words)]
    if called:
        return called[0]
    found = [
        wording.format(_number(getattr(entry, bound)))
        for entry in constraints
        for bound, wording in _BOUNDS.items()
        if getattr(entry, bound, None) is not None
    ]
    return ", ".join(found)
