"""Reads a YAML document into a pydantic model: every mistake at once, each with its place.

    scenario, text = read_document(path, Scenario)

Both the scenario and the target profiles are read here, so their mistakes look alike:
`file:line:col: path: what (got ...); allowed ...; fix`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from doorbuster.documents.mistakes import Mistakes
from doorbuster.documents.wording import MAX_SHOWN, quoted
from doorbuster.documents.yaml_nodes import Finding, Place, Spot, YamlDocument, YamlSyntaxError

MAX_BYTES = 10_000_000
"""Size of a document. Longer tables of numbers belong into a CSV file."""

_ENDLESS = re.compile(r"\S{120,}")

M = TypeVar("M", bound=BaseModel)


class DocumentError(Exception):
    """A document with mistakes; `problems` holds one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Check(NamedTuple, Generic[M]):
    """A check between parts that are right in themselves.

    needs: top-level fields that `run` reads; it runs when they are valid, whatever else is wrong.
    run: takes the model (with those fields only, when others failed), returns (place, sentence).
    """

    needs: frozenset[str]
    run: Callable[[M], Iterable[tuple[Place, str]]]


def read_document(
    path: Path,
    model: type[M],
    context: Mapping[str, Any] | None = None,
    *,
    checks: Sequence[Check[M]] = (),
    error: type[DocumentError] = DocumentError,
) -> tuple[M, str]:
    """The model read from a YAML file, and the text of the file.

    context: passed to the validators of the model; `folder` is set to the file's folder.
    Raises: DocumentError (or the given subclass of it) with a sentence for every mistake.
    """
    shown = shown_path(path)
    try:
        text = _text_of(path)
        document = YamlDocument(text)
    except _UnreadableError as unreadable:
        raise error([f"{shown}: {unreadable}"]) from None
    except YamlSyntaxError as broken:
        raise error([_sentence(shown, broken.finding)]) from None
    full_context = {"folder": str(path.parent), **(context or {})}
    instance, findings = _validated(document, model, full_context, checks)
    if findings or instance is None:
        raise error([_sentence(shown, finding) for finding in findings])
    return instance, text


def shown_path(path: Path) -> str:
    """A path that can be printed, whatever its bytes are."""
    return str(path).encode("utf-8", "replace").decode("utf-8")


class _UnreadableError(Exception):
    """The file cannot be read at all; says why and what to do."""


def _text_of(path: Path) -> str:
    try:
        if path.is_dir():
            message = "is a folder; name a YAML file"
            raise _UnreadableError(message)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        message = "no such file; check the name"
        raise _UnreadableError(message) from None
    except PermissionError:
        message = "may not be read (permission denied); change its mode or owner"
        raise _UnreadableError(message) from None
    except (OSError, ValueError) as reason:
        message = f"cannot be read ({getattr(reason, 'strerror', None) or reason})"
        raise _UnreadableError(message) from None
    if len(content) > MAX_BYTES:
        message = (
            f"is larger than allowed; allowed {MAX_BYTES // 1_000_000} MB; "
            "move long tables into a CSV file"
        )
        raise _UnreadableError(message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as broken:
        line = content.count(b"\n", 0, broken.start) + 1
        message = (
            f"is no text (byte 0x{content[broken.start]:02x} at offset {broken.start}, "
            f"line {line}, is not UTF-8); save it as UTF-8"
        )
        raise _UnreadableError(message) from None


def _sentence(shown: str, finding: Finding) -> str:
    """One mistake as people read it; a broken line would hide the next mistake."""
    spot, place, what = finding
    path = f"{path_text(place)}: " if place else ""
    text = _ENDLESS.sub(lambda word: f"{word[0][:MAX_SHOWN]}…", " ".join(f"{path}{what}".split()))
    sentence = f"{shown}:{spot.line}:{spot.column}: {text}"
    return sentence.encode("utf-8", "replace").decode("utf-8")


def path_text(place: Place) -> str:
    """A place as people write it: `crowd.phases[0].start`."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part and all(letter.isalnum() or letter in "_-<" for letter in part):
            text += f".{part}"
        else:
            text += f"[{quoted(part)}]"
    return text.removeprefix(".")


def _validated(
    document: YamlDocument,
    model: type[M],
    context: Mapping[str, Any],
    checks: Sequence[Check[M]],
) -> tuple[M | None, list[Finding]]:
    """The model, if there are no mistakes, and all mistakes in the order of the file."""
    if document.root is None or not isinstance(document.data, dict):
        return None, [*document.findings, _not_a_mapping(document, model)]
    mistakes = Mistakes(document, document.root, model)
    instance: M | None = None
    try:
        instance = model.model_validate(document.data, context=context)
        good = frozenset(model.model_fields)
    except ValidationError as error:
        instance, good = _partial(document.data, model, error, context)
        findings = mistakes.findings(error)
    else:
        findings = []
    for check in checks:
        if check.needs <= good:
            for place, what in check.run(instance):
                findings.append(mistakes.at(place, what))
    found = sorted({*document.findings, *findings}, key=lambda finding: finding.spot)
    return instance, found


def _not_a_mapping(document: YamlDocument, model: type[BaseModel]) -> Finding:
    wanted = [name for name, field in model.model_fields.items() if field.is_required()]
    fix = f"write keys such as {', '.join(f'{name}:' for name in wanted)}"
    if document.data is None:
        return Finding(Spot(1, 1), (), f"is empty; {fix}")
    kind = "a list" if isinstance(document.data, list) else f"the text {quoted(str(document.data))}"
    return Finding(Spot(1, 1), (), f"must be a mapping (got {kind}); {fix}")


def _partial(
    data: dict[str, Any], model: type[M], error: ValidationError, context: Mapping[str, Any]
) -> tuple[M, frozenset[str]]:
    """The top-level fields that are valid once their unknown keys are set aside."""
    extra = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
    cleaned = _without(data, extra)
    bad: set[Any] = set()
    try:
        model.model_validate(cleaned, context=context)
    except ValidationError as rest:
        bad = {e["loc"][0] if e["loc"] else None for e in rest.errors()}
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in bad or None in bad:
            continue
        if key in cleaned:
            adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or object)
            values[name] = adapter.validate_python(cleaned[key], context=dict(context))
        elif not field.is_required():
            values[name] = field.get_default(call_default_factory=True)
    return model.model_construct(**values), frozenset(values)


def _without(data: Any, places: list[tuple[int | str, ...]]) -> Any:
    """A copy of the data that lacks the given keys; union tags inside a place are skipped."""
    if not places:
        return data
    if isinstance(data, list):
        return [
            _without(value, [place[1:] for place in places if place and place[0] == index])
            for index, value in enumerate(data)
        ]
    if not isinstance(data, dict):
        return data
    here = {place[0] for place in places if len(place) == 1}
    below = [place for place in places if len(place) > 1]
    copy = {}
    for key, value in data.items():
        if key not in here:
            copy[key] = _without(value, [place[1:] for place in below if place[0] == key])
    tags = [place[1:] for place in below if place[0] not in data]
    return _without(copy, tags) if tags else copy
