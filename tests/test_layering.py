"""Who may know whom: the import rules between the four packages, read off the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

PACKAGE_OF_FOLDER = {
    "core": "doorbuster",
    "simulations": "doorbuster_sim",
    "loadtests": "doorbuster_load",
    "shop": "doorbuster_shop",
}
PACKAGES = frozenset(PACKAGE_OF_FOLDER.values())
COMMANDS = PurePosixPath("core/doorbuster/cli")

# Importing Locust or gevent changes the whole process; SimPy belongs to one of the two worlds.
ONLY_USER = {
    "locust": "doorbuster_load",
    "gevent": "doorbuster_load",
    "geventhttpclient": "doorbuster_load",
    "simpy": "doorbuster_sim",
}


class Import(NamedTuple):
    """A name that a source imports; `lazy` when only a function that is called does so."""

    top_level_name: str
    line: int
    lazy: bool


def imports(node: ast.AST, *, lazy: bool = False) -> Iterator[Import]:
    """Every absolute import below a node, by statement or by a call with a literal name."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name.partition(".")[0], node.lineno, lazy)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield Import(node.module.partition(".")[0], node.lineno, lazy)
    elif isinstance(node, ast.Call):
        match node:
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name.partition(".")[0], node.lineno, lazy)
    for field, value in ast.iter_fields(node):
        # Decorators and default values run when the function is defined, only its body runs later.
        is_body = field == "body" and isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from imports(child, lazy=lazy or is_body)


def broken_rule(importer: str, imported: Import, path: PurePosixPath) -> str | None:
    """The rule that an import breaks, as a sentence; None when it breaks none."""
    name = imported.top_level_name
    if name in ONLY_USER and importer != ONLY_USER[name]:
        return f"{importer} imports {name}; only {ONLY_USER[name]} may"
    if name not in PACKAGES or name in (importer, "doorbuster"):
        return None
    if importer != "doorbuster":
        return f"{importer} imports {name}; of the four packages it may import only doorbuster"
    if not path.is_relative_to(COMMANDS):
        return f"doorbuster imports {name}; only its commands ({COMMANDS}) may"
    if not imported.lazy:
        return f"a command imports {name} as it is loaded; import it inside the function"
    return None


def violations(source: str, path: PurePosixPath) -> list[str]:
    """What in a source breaks the rules, as `path:line: rule`; the path counts from the root."""
    importer = PACKAGE_OF_FOLDER[path.parts[0]]
    return [
        f"{path}:{imported.line}: {rule}"
        for imported in imports(ast.parse(source))
        if (rule := broken_rule(importer, imported, path))
    ]


@pytest.mark.parametrize("folder", PACKAGE_OF_FOLDER)
def test_the_packages_know_only_whom_they_may(folder: str) -> None:
    """No source under a folder breaks a rule, and there are sources."""
    sources = sorted((ROOT / folder).rglob("*.py"))
    assert sources
    found = [
        violation
        for source in sources
        for violation in violations(
            source.read_text(encoding="utf-8"), PurePosixPath(source.relative_to(ROOT).as_posix())
        )
    ]
    assert not found, "\n".join(found)


# Each of these is one violation, and on the line that is given.
PLANTED = {
    "core knows a world": ("core/doorbuster/plan.py", "import doorbuster_sim", 1),
    "core knows it lazily, outside the commands": (
        "core/doorbuster/plan.py",
        "def f():\n    import doorbuster_sim.engine",
        2,
    ),
    "core knows it for its types": (
        "core/doorbuster/plan.py",
        "if TYPE_CHECKING:\n    from doorbuster_shop import app",
        2,
    ),
    "core knows it by a string": (
        "core/doorbuster/plan.py",
        "import importlib\nimportlib.import_module('doorbuster_load.replay')",
        2,
    ),
    "a command loads a world at once": (
        "core/doorbuster/cli/load.py",
        "from doorbuster_load import replay",
        1,
    ),
    "a command loads a world in a default value": (
        "core/doorbuster/cli/load.py",
        "def f(x=__import__('doorbuster_load')):\n    pass",
        1,
    ),
    "a command loads a world in a class body": (
        "core/doorbuster/cli/load.py",
        "class C:\n    import doorbuster_load",
        2,
    ),
    "a command loads Locust": ("core/doorbuster/cli/load.py", "def f():\n    import locust", 2),
    "the simulation knows the load test": (
        "simulations/doorbuster_sim/a/b.py",
        "def f():\n    from doorbuster_load.replay import Replay",
        2,
    ),
    "the load test knows the shop": (
        "loadtests/doorbuster_load/a.py",
        "import doorbuster_shop as s",
        1,
    ),
    "the locustfile knows the simulation": ("loadtests/locustfile.py", "import doorbuster_sim", 1),
    "the shop knows the simulation": ("shop/doorbuster_shop/a.py", "import os, doorbuster_sim", 1),
    "core uses gevent": ("core/doorbuster/clock.py", "from gevent import sleep", 1),
    "the simulation uses gevent": ("simulations/doorbuster_sim/a.py", "import gevent.monkey", 1),
    "the shop uses geventhttpclient": (
        "shop/doorbuster_shop/a.py",
        "async def f():\n    import geventhttpclient",
        2,
    ),
    "the load test uses SimPy": ("loadtests/doorbuster_load/a.py", "import simpy", 1),
}


@pytest.mark.parametrize(("path", "source", "line"), PLANTED.values(), ids=PLANTED)
def test_a_planted_violation_is_found(path: str, source: str, line: int) -> None:
    """The checker can fail: it names the place of each planted violation, and finds it once."""
    [found] = violations(source, PurePosixPath(path))
    assert found.startswith(f"{path}:{line}: ")


ALLOWED = {
    "core imports itself": ("core/doorbuster/plan.py", "import doorbuster.draws"),
    "core imports a neighbour": ("core/doorbuster/plan.py", "from .simpy import locust"),
    "a command loads worlds lazily": (
        "core/doorbuster/cli/rehearse.py",
        "def f():\n    import doorbuster_sim\n    def g():\n        import doorbuster_load.run",
    ),
    "the simulation": ("simulations/doorbuster_sim/a.py", "import simpy, doorbuster_sim\n"),
    "the load test": ("loadtests/doorbuster_load/a.py", "import locust, gevent, doorbuster"),
    "the locustfile": ("loadtests/locustfile.py", "from doorbuster_load.users import Visitor"),
    "the shop": ("shop/doorbuster_shop/a.py", "from doorbuster.rules import limits"),
    "a name that only begins like one": ("core/doorbuster/a.py", "import doorbuster_simple"),
}


@pytest.mark.parametrize(("path", "source"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    """The checker does not cry wolf."""
    assert violations(source, PurePosixPath(path)) == []
