"""Which numbers a scenario leaves at a default that nobody has published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from doorbuster.scenario.base import Part
from doorbuster.scenario.crowd import CART_FIELDS
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.written import written_field


@dataclass(frozen=True)
class Assumption:
    """One field that was left out, its default, and the parts that leave it out."""

    field: str
    default: str
    left_out_in: list[str]


def assumptions(scenario: Scenario) -> list[Assumption]:
    """Fields left at a default whose description says `assumed`, each with where.

    Not those that have no effect in this sale.
    """
    found: dict[tuple[str, str], list[str]] = {}
    idle = CART_FIELDS if scenario.shop.lock_point != "cart" else ()
    for path, name, default in _left_out(scenario, ""):
        if name not in idle:
            found.setdefault((name, default), []).append(path)
    return [Assumption(name, default, paths) for (name, default), paths in found.items()]


def _left_out(part: Part, path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        is_assumed = "assumed" in (field.description or "").lower()
        if name not in part.model_fields_set and is_assumed:
            yield path, field.alias or name, shown(written_field(part, name))
        elif name in part.model_fields_set:
            yield from _below(value, f"{path}.{name}".removeprefix("."))


def _below(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Part):
        yield from _left_out(value, path)
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _below(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            name = getattr(entry, "name", index)
            yield from _below(entry, f"{path}.{name}")


def shown(written: Any) -> str:
    """A default on one line: `lognormal, median 3s, sigma 0.4`."""
    if not isinstance(written, dict):
        return str(written)
    words = [
        str(value) if name == "kind" else f"{name} {shown(value)}"
        for name, value in written.items()
    ]
    return ", ".join(words)


__all__ = ["Assumption", "assumptions", "shown"]
