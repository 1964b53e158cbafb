"""Reading YAML documents into models: what YAML allows, and what is told of mistakes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from doorbuster.documents import DocumentError, read_document
from doorbuster.documents import reading as reading_module
from doorbuster.scenario.reading import ScenarioError, read_scenario

ROOT = Path(__file__).resolve().parents[1]


class Circle(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["circle"]
    radius: Annotated[float, Field(gt=0)]


class Square(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["square"]
    side: Annotated[float, Field(gt=0)]


class Drawing(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)
    title: str
    """What it is called. It may be long."""
    shape: Annotated[Circle | Square, Field(discriminator="kind")] | None = None
    sizes: dict[str, int] = Field(default_factory=dict)
    note: str | list[str] = ""


def problems_of(
    tmp_path: Path, content: str | bytes, model: type[BaseModel] = Drawing
) -> list[str]:
    """Every sentence about a file with this content, without the file's name."""
    path = tmp_path / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DocumentError) as caught:
        read_document(path, model)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def drawing_of(tmp_path: Path, content: str) -> Drawing:
    path = tmp_path / "file.yaml"
    path.write_text(content, "utf-8")
    drawing, text = read_document(path, Drawing)
    assert text == content
    return drawing


# --- what YAML 1.2 says ---


def test_words_of_yaml_1_1_are_text(tmp_path: Path) -> None:
    """`20:00`, `yes` and dates are text; no value changes under the writer's hand."""
    for word in ("20:00", "yes", "NO", "2026-11-11", "12:30:45"):
        assert drawing_of(tmp_path, f"title: {word}\n").title == word


def test_keys_are_text(tmp_path: Path) -> None:
    """A sku such as 1234 needs no quotes where it is a key."""
    drawing = drawing_of(tmp_path, "title: x\nsizes: {1234: 1, true: 2, 007: 3}\n")
    assert drawing.sizes == {"1234": 1, "true": 2, "007": 3}


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    text = "title: &t hello\nsizes:\n  <<: [{a: 1, b: 2}, {b: 3, c: 4}]\n  a: 9\nnote: *t\n"
    drawing = drawing_of(tmp_path, text)
    assert drawing.sizes == {"a": 9, "b": 2, "c": 4}
    assert drawing.note == "hello"


def test_a_mistake_in_a_merged_value_is_told_where_it_stands(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, "title: x\nsizes:\n  <<: {a: 1,\n       b: many}\n")
    assert problem == "4:11: sizes.b: must be a whole number (got 'many')"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title: [x\nnote: y\n", "2:5: is no YAML: expected ',' or ']'"),
        ("title: x\n\tnote: y\n", "2:1: is no YAML: a tab cannot indent; indent with spaces"),
        ("title: x\n---\ntitle: y\n", "2:1: holds a second document (---); keep one a file"),
        ("title: *x\n", "1:8: is no YAML: found undefined alias 'x'"),
        ("title: a\x00b\n", "1:9: is no YAML: unprintable character (got '\\x00'); remove it"),
        ("%YAML 1.1\n---\ntitle: x\n", "1:1: only YAML 1.2 is read (got %YAML 1.1)"),
        ("title: !secret x\n", "1:8: title: unknown tag (got '!secret'); write a plain value"),
        ("title: x\nsizes: {a: !!int b}\n", "2:12: sizes.a: is no int (got 'b')"),
        ("title: x\n? [a]\n: 1\n", "2:3: a key must be a word, not a list or mapping"),
        ("title: x\nsizes: &s {a: 1, b: *s}\n", "2:8: sizes.b: contains itself"),
        ("title: x\nsizes: {<<: 3}\n", "2:13: sizes: only a mapping can be merged with <<"),
        ("title: x\nnote: " + "[" * 90 + "\n", "is no YAML"),
        ("note: " + "[" * 3000, "nested too deeply; allowed 100 levels"),
        ("note: " + "[" * 120 + "]" * 120, "nested too deeply; allowed 100 levels"),
        ("- 1\n", "1:1: must be a mapping (got a list); write keys such as title:"),
        ("just words", "1:1: must be a mapping (got the text 'just words')"),
        ("# nothing\n", "1:1: is empty; write keys such as title:"),
    ],
)
def test_what_is_no_document(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems_of(tmp_path, text))


def test_all_duplicate_keys_are_told_with_the_other_mistakes(tmp_path: Path) -> None:
    text = "title: x\ntitle: y\nsizes: {a: 1, b: x, a: 2}\ntitel: z\n"
    assert [problem.partition(";")[0] for problem in problems_of(tmp_path, text)] == [
        "2:1: title: key stands twice, first in line 1",
        "3:18: sizes.b: must be a whole number (got 'x')",
        "3:21: sizes.a: key stands twice, first in line 3",
        "4:1: titel: unknown key",
    ]


def test_nested_aliases_cannot_fill_the_memory(tmp_path: Path) -> None:
    """Ten levels of ten aliases each would be ten thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    [problem] = problems_of(tmp_path, "\n".join(lines))
    assert "holds more than 4000000 values once its aliases are written out" in problem


# --- what a model says ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "1:1: title: is missing; add it (What it is called)"),
        ("title: 5", "1:8: title: must be text (got 5); put it in quotes"),
        ("title: null", "1:8: title: must be text (got nothing)"),
        ("title: [a]", "1:8: title: must be text (got a list of 1)"),
        ("title: x\nsizes: 3", "2:8: sizes: must be a mapping (got 3)"),
        ("title: x\nsizes: {a: '3'}", "2:12: sizes.a: must be a whole number (got '3'); remove"),
        ("title: x\nsizes: {a: 3.0}", "2:12: sizes.a: must be a whole number (got 3.0); write 3"),
        ("title: x\nshape: round", "2:8: shape: must be a mapping (got 'round')"),
        ("title: x\nshape: {}", "2:8: shape.kind: is missing; add it; allowed: circle, square"),
        (
            "title: x\nshape:\n  kind: cirle",
            "3:9: shape.kind: unknown kind (got 'cirle'); allowed: circle, square; "
            "did you mean 'circle'?",
        ),
        ("title: x\nshape: {kind: circle}", "2:8: shape.radius: is missing"),
        (
            "title: x\nshape: {kind: circle, radius: 1, side: 2}",
            "2:34: shape.side: unknown key; allowed: kind, radius; remove it",
        ),
        ("title: x\nshape: {kind: square, side: 0}", "2:29: shape.side: must be above 0 (got 0)"),
        (
            "title: x\nnote: 3",
            "2:7: note: must be text (got 3); put it in quotes; or: must be a list (got 3)",
        ),
        ("title: x\nnote: [a, 3]", "2:11: note[1]: must be text (got 3); put it in quotes"),
        ('title: x\nsizes: {"a b": x}', "2:16: sizes['a b']: must be a whole number (got 'x')"),
    ],
)
def test_sentences_about_values(tmp_path: Path, text: str, expected: str) -> None:
    """Place, path, what is wrong, what was found, what is allowed, what to do; no jargon."""
    problems = problems_of(tmp_path, text)
    assert any(problem.startswith(expected) for problem in problems), problems


def test_a_long_value_is_cut_short(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, f"title: x\nsizes: {{a: {'y' * 5000}}}")
    assert len(problem) < 150


# --- what a file may be ---


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Each has its own sentence, and none is an exception of the system."""
    folder, missing = tmp_path, tmp_path / "missing.yaml"
    below_a_file = tmp_path / "file" / "x.yaml"
    (tmp_path / "file").write_text("x")
    expected = {
        folder: "is a folder; name a YAML file",
        missing: "no such file; check the name",
        below_a_file: "cannot be read (Not a directory)",
        Path("a\0b.yaml"): "cannot be read (",
    }
    for path, words in expected.items():
        with pytest.raises(DocumentError) as caught:
            read_document(path, Drawing)
        assert words in caught.value.problems[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("title: x")
    path.chmod(0)
    with pytest.raises(DocumentError, match=r"may not be read \(permission denied\)"):
        read_document(path, Drawing)


def test_permission_denied_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, to whom the system never says no."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    path = tmp_path / "file.yaml"
    path.write_text("title: x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DocumentError, match=r"may not be read \(permission denied\)"):
        read_document(path, Drawing)


def test_a_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is named, and a file of just that size is read."""
    monkeypatch.setattr(reading_module, "MAX_BYTES", 2_000_000)
    path = tmp_path / "file.yaml"
    path.write_text("title: x\n#" + "y" * (2_000_000 - 10))
    assert path.stat().st_size == 2_000_000
    read_document(path, Drawing)
    path.write_text(path.read_text() + "z")
    with pytest.raises(DocumentError, match="is larger than allowed; allowed 2 MB; move"):
        read_document(path, Drawing)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(b"\xef\xbb\xbftitle: x\n")
    assert read_document(path, Drawing)[0].title == "x"


# --- nothing breaks the reader ---

SEEDS = [
    (ROOT / "scenarios" / "demo.yaml").read_bytes(),
    (ROOT / "tests" / "broken" / "many-mistakes.yaml").read_bytes(),
]
AWKWARD = [
    "null", "~", "[]", "{}", "-1", "1e999", ".inf", ".nan", '"\\ud800"', '"\\0"', "!!int x", "!x y",
    "*a", "&a b", "20:00", "true", "9" * 5000, "-0.0", "? x", '"', "|\n  x", "%", "@", "<<: *x",
    "{<<: 3}", "99999999d", "1e5", "0s", "\x85", "\t", "---", "...", "kind", "x: y: z",
    "{kind: series, bin: 1s, csv: {path: .., column: x}}", "{kind: constant, constant: 4}",
    "{kind: empirical, quantiles: [[1, 1s], [0, 2s]]}",
]  # fmt: skip


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A shipped file with bytes changed, cut out, and awkward text put in."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["byte", "cut", "insert", "value"])):
            case "byte":
                content[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[at : at + draw(st.integers(1, 40))]
            case "insert":
                content[at:at] = draw(st.sampled_from(AWKWARD)).encode()
            case "value":
                colon = content.find(b": ", at)
                end = min(
                    (i for i in (content.find(mark, colon) for mark in (b"\n", b",")) if i > 0),
                    default=len(content),
                )
                content[colon + 2 : end] = draw(st.sampled_from(AWKWARD)).encode()
    return bytes(content)


def told(path: Path) -> list[str] | None:
    """The mistakes of a file, None when it is a scenario."""
    try:
        read_scenario(path)
    except ScenarioError as error:
        return error.problems
    return None


@settings(max_examples=200, deadline=None)
@given(mutated_files())
def test_any_file_gives_a_scenario_or_sentences(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever stands in a file, reading it never ends in another exception."""
    path = tmp_path_factory.getbasetemp() / "mutated.yaml"
    path.write_bytes(content)
    problems = told(path)
    if problems is None:
        return
    assert problems
    for problem in problems:
        assert problem.startswith(str(path))
        assert "\n" not in problem
        assert len(problem) < 2000
        problem.encode("utf-8")
