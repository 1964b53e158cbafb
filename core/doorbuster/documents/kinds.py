"""What a pydantic model expects at a place: the type there, its keys, the kinds of its union."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Kind(NamedTuple):
    """A type without its `Annotated` and `| None`; for a union, the key that tells its kind."""

    type: Any
    discriminator: str | None = None


UNKNOWN = Kind(None)


def kind_of(annotation: Any, discriminator: object = None) -> Kind:
    """The kind behind an annotation of a field."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *metadata = get_args(annotation)
            for entry in metadata:
                discriminator = getattr(entry, "discriminator", None) or discriminator
        elif origin in (Union, types.UnionType):
            members = [member for member in get_args(annotation) if member is not type(None)]
            if len(members) != 1:
                word = discriminator if isinstance(discriminator, str) else None
                return Kind(Union[tuple(members)], word)  # noqa: UP007 - made of a list
            annotation = members[0]
        else:
            return Kind(annotation)


def is_model(kind: Kind) -> bool:
    """Whether the kind is a mapping with known keys."""
    return isinstance(kind.type, type) and issubclass(kind.type, BaseModel)


def is_union(kind: Kind) -> bool:
    """Whether there are several kinds, so that pydantic adds a name to its locations."""
    return get_origin(kind.type) in (Union, types.UnionType)


def is_table(kind: Kind) -> bool:
    """Whether the kind is a mapping whose keys the writer chooses."""
    origin = get_origin(kind.type)
    return isinstance(origin, type) and issubclass(origin, dict)


def field_of(kind: Kind, key: str | int) -> FieldInfo | None:
    """The field behind a key of a model, found by its alias or its name."""
    if not is_model(kind):
        return None
    for name, field in kind.type.model_fields.items():
        if key == (field.alias or name):
            return field  # type: ignore[no-any-return]
    return None


def keys_of(kind: Kind) -> list[str]:
    """The keys that a model knows, as they stand in the document."""
    if not is_model(kind):
        return []
    return [field.alias or name for name, field in kind.type.model_fields.items()]


def below(kind: Kind, part: str | int) -> Kind:
    """The kind one step further down."""
    field = field_of(kind, part)
    if field is not None:
        return kind_of(field.annotation, field.discriminator)
    arguments = [argument for argument in get_args(kind.type) if argument is not Ellipsis]
    if is_table(kind):
        return kind_of(arguments[1])
    if not isinstance(part, int) or is_union(kind) or not arguments:
        return UNKNOWN
    return kind_of(arguments[min(part, len(arguments) - 1)])


def member(kind: Kind, label: str | int) -> Kind:
    """The member of a union that pydantic names in a location, UNKNOWN if it is no model."""
    models = [entry for entry in map(kind_of, get_args(kind.type)) if is_model(entry)]
    for entry in models:
        if label in tags_of(entry, kind.discriminator):
            return entry
    named = [entry for entry in models if entry.type.__name__ in str(label)]
    return named[0] if named and kind.discriminator is None else UNKNOWN


def tags_of(kind: Kind, discriminator: str | None) -> tuple[Any, ...]:
    """The values of the discriminator that stand for one model."""
    field = field_of(kind, discriminator) if discriminator is not None else None
    return get_args(field.annotation) if field is not None else ()


def choices_of(kind: Kind) -> list[str]:
    """The words that may stand here: members of a literal, or the kinds of a union."""
    if get_origin(kind.type) is Literal:
        return [str(choice) for choice in get_args(kind.type)]
    members = map(kind_of, get_args(kind.type)) if is_union(kind) else ()
    return [str(tag) for entry in members for tag in tags_of(entry, kind.discriminator)]
