"""The house rules that a linter does not know: sizes, the lock, what no file says, the READMEs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400

# Not the project's own: version control, environments, caches, what was built.
FOREIGN_FOLDERS = {".git", ".venv", "venv", "build", "dist", "node_modules", "__pycache__"}
FOREIGN_FOLDERS |= {".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def project_files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file of the project, in a stable order; of the runs only those that are kept."""
    for path in sorted(folder.iterdir()):
        if path.name in FOREIGN_FOLDERS:
            continue
        if path.is_symlink() or path.is_file():
            yield path
        elif path != ROOT / "results":
            yield from project_files(path)
    if folder == ROOT:
        yield ROOT / "results" / "README.md"
        if (ROOT / "results" / "baselines").is_dir():
            yield from project_files(ROOT / "results" / "baselines")


def text_of(path: Path) -> str | None:
    """The text of a file; None when it holds something else."""
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, FileNotFoundError):
        return None


def place(path: Path) -> str:
    """A path as people write it, counted from the root."""
    return path.relative_to(ROOT).as_posix()


# --- sizes ---


def long_functions(
    source: str, *, lines_max: int = FUNCTION_LINES_MAX
) -> list[tuple[int, str, int]]:
    """Line, name and length of each function over the maximum, decorators and docstring aside."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        match node.body[0]:
            case ast.Expr(value=ast.Constant(value=str())) as docstring:
                length -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
        if length > lines_max:
            found.append((node.lineno, node.name, length))
    return found


def test_a_function_fits_on_a_screen() -> None:
    """No function of the project, tests included, is longer than the maximum."""
    found = [
        f"{place(path)}:{line}: {name} has {length} lines; allowed {FUNCTION_LINES_MAX}"
        for path in project_files()
        if path.suffix == ".py"
        for line, name, length in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_a_long_function_is_found() -> None:
    """The measure counts the code and not the docstring, and sees nested and async functions."""
    body = "        x = 1\n" * 3
    source = f'class C:\n    @d\n    async def f():\n        """Two\n        lines."""\n{body}'
    assert long_functions(source, lines_max=3) == [(3, "f", 4)]
    assert long_functions(source, lines_max=4) == []


def test_long_files_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A file past the maximum is shown, not refused: ask which second subject moved in."""
    for path in project_files():
        if path.suffix != ".py" or path.is_relative_to(ROOT / "tests"):
            continue
        line_count = len(path.read_text(encoding="utf-8").splitlines())
        if line_count > FILE_LINES_MAX:
            with capsys.disabled():
                sys.stdout.write(
                    f"\n{place(path)}: {line_count} lines; wanted at most {FILE_LINES_MAX}\n"
                )


# --- the lock ---

# An address, an option that carries one, a requirement by reference, a path.
ADDRESS = re.compile(
    r"://|\w@|@ |\b(?:pypi|localhost)\b|--(?!hash=)|^-|(?:^|\s)[.~]*/|\\\w", re.MULTILINE
)


def test_the_lock_names_no_address() -> None:
    """Packages come from wherever the user's pip is set up to look: a mirror, a private index."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not [line for line in lock.splitlines() if ADDRESS.search(line)]


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "-f wheels",
        "    --find-links wheels",
        "numpy @ file:///srv/numpy.whl",
        "numpy==2.4.6 \\ # from /srv/wheels",
        "# made in ~/doorbuster",
        "./wheels/numpy.whl",
        "C:\\wheels",
    ],
)
def test_an_address_is_found(line: str) -> None:
    """The pattern can fail."""
    assert ADDRESS.search(line)


def test_the_lock_pins_and_hashes_everything() -> None:
    """Each requirement is `name==version` with hashes; what the editable install needs is there."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    requirements = re.findall(r"^[^#\s][^\n]*(?:\n[ ]+--hash=[^\n]*)*", lock, re.MULTILINE)
    loose = [
        requirement
        for requirement in requirements
        if not re.match(r"[\w.-]+==[\w.]+ ", requirement) or "--hash=sha256:" not in requirement
    ]
    assert not loose
    names = {requirement.partition("==")[0] for requirement in requirements}
    assert {"hatchling", "editables", "locust", "simpy", "pytest"} <= names


# --- what is importable ---


def test_nothing_generic_is_importable(tmp_path: Path) -> None:
    """From any folder the four packages can be imported, and none of our other folders can."""
    packages = ["doorbuster", "doorbuster_load", "doorbuster_shop", "doorbuster_sim"]
    folders = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    code = (
        "import sys; from importlib.util import find_spec;"
        "print(*sorted(name for name in sys.argv[1:] if find_spec(name)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *packages, *folders],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == packages


# --- what no file says ---

# Places on one machine, which mean nothing on another. In pieces, or this file would hold them.
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/" + r"(?:" + "|".join(["work", "tmp/w", "tmp/house", "opt/wheels"]) + r")\b"
    r"|\bshared/" + r"(?:DESIGN|STYLE|reference)\b"
    r"|/tmp/" + r"bash_jobs"
)


def test_no_file_names_a_place_on_one_machine() -> None:
    """No file, its name included, mentions a path of somebody's machine."""
    found = [
        f"{place(path)}:{number}: {line.strip()}"
        for path in project_files()
        for number, line in enumerate([place(path), *(text_of(path) or "").splitlines()])
        if MACHINE_PATH.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "is_forbidden"),
    [
        ("see /" + "work/shared/notes.md", True),
        ("cd /" + "work", True),
        ("file:///" + "work/main", True),
        ('"/' + 'tmp/w/v/bin"', True),
        ("PATH=/" + "opt/wheels", True),
        ("/workers", False),
        ("~/" + "work/shop", False),
        ("docs/work/plan.md", False),
        ("/tmp/wheel", False),
        ("/home/runner/work/shop", False),
    ],
)
def test_a_machine_path_is_found(text: str, is_forbidden: bool) -> None:
    """The pattern can fail, and leaves what only looks alike."""
    assert bool(MACHINE_PATH.search(text)) == is_forbidden


# --- the two READMEs ---


class Outline(NamedTuple):
    """What two translations of one page have in common."""

    heading_levels: list[int]
    code_blocks: list[str]


def outline(markdown: str) -> Outline:
    """The levels of the headings, in order, and the fenced code blocks with their language."""
    fence = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[`~]*[ ]*$", re.MULTILINE | re.DOTALL)
    prose = fence.sub("", markdown)
    return Outline(
        heading_levels=[len(marks) for marks in re.findall(r"^(#{1,6})[ ]", prose, re.MULTILINE)],
        code_blocks=[block.group() for block in fence.finditer(markdown)],
    )


def test_the_readmes_say_the_same() -> None:
    """English and Chinese have the same headings in the same order, and identical code."""
    english = outline((ROOT / "README.md").read_text(encoding="utf-8"))
    chinese = outline((ROOT / "README.zh-CN.md").read_text(encoding="utf-8"))
    assert english.heading_levels == chinese.heading_levels
    for ours, theirs in zip_longest(english.code_blocks, chinese.code_blocks):
        assert ours == theirs


def test_the_outline_of_a_page() -> None:
    """A comment in a code block is no heading, and a longer fence may hold a shorter one."""
    page = "# A\n```sh\n# no heading\nmake\n```\n## B\n````md\n```\n## nor this\n```\n````\n#hash\n"
    assert outline(page) == Outline(
        heading_levels=[1, 2],
        code_blocks=["```sh\n# no heading\nmake\n```", "````md\n```\n## nor this\n```\n````"],
    )
