"""Decorators for functions that run both as plain Python and compiled by Numba."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., object])


def compilable(function: _F) -> _F:
    """Compile at first call and keep the result on disk where the disk can be written.

    The plain function stays reachable as `.py_func`. `NUMBA_DISABLE_JIT=1` gives the plain form
    everywhere, without importing Numba (1.5 s): for processes that must start at once. Fast-math
    stays off: both forms must agree bit for bit.
    """
    return _compiled(function, is_inlined=False)


def inlined(function: _F) -> _F:
    """`compilable`, and copied into every compiled caller: for small functions on hot paths.

    A call copies a record or a table of distributions as up to 35 words onto the stack.
    """
    return _compiled(function, is_inlined=True)


def _compiled(function: _F, *, is_inlined: bool) -> _F:
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return function
    from numba import njit  # noqa: PLC0415 - not needed in the plain form

    _listen()
    folder = _cache_folder(_root(Path(function.__code__.co_filename)))
    if folder is None:
        return cast("_F", njit(forceinline=is_inlined)(function))
    config: Any = import_module("numba.core.config")  # Its settings are not declared.
    before = config.CACHE_DIR
    config.CACHE_DIR = folder
    try:
        return cast("_F", njit(cache=True, forceinline=is_inlined)(function))
    except RuntimeError:  # The folder was there and is gone: compile in memory.
        return cast("_F", njit(forceinline=is_inlined)(function))
    finally:
        config.CACHE_DIR = before


def plain(function: _F) -> _F:
    """The plain form of a compilable function: equal results, and no start-up time of Numba's."""
    return cast("_F", getattr(function, "py_func", function))


# --- where compiled code is kept ---


def cache_places(source: Path) -> list[Path]:
    """Folders that may keep compiled code of a source file, the preferred one first."""
    root = _root(source)
    beside = (root if root.is_dir() else root.parent) / "__pycache__"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [Path(chosen).absolute()]
    caches = os.environ.get("XDG_CACHE_HOME")
    try:
        home = Path(caches) if caches else Path.home() / ".cache"
    except RuntimeError:  # A user without a home.
        return [beside]
    return [beside, home / "doorbuster"]


def code_is_kept(function: Callable[..., object]) -> bool:
    """Whether compiled code of these very sources is on disk, from an earlier run."""
    stats: Any = getattr(function, "stats", None)
    if stats is None or stats.cache_path is None:
        return False
    code = plain(function).__code__
    name = f"{Path(code.co_filename).stem}.{code.co_qualname}-{code.co_firstlineno}.*.nbi"
    return any(Path(stats.cache_path).glob(name))


def can_keep_code(function: Callable[..., object]) -> bool:
    """Whether compiled code of this function stays on disk."""
    stats: Any = getattr(function, "stats", None)
    return stats is not None and stats.cache_path is not None


def _root(source: Path) -> Path:
    """The outermost package around a source file, or the file where there is none."""
    root = source
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    return root


@lru_cache
def _cache_folder(root: Path) -> str | None:
    """Where compiled code of these sources is kept: another place for every change of any of them.

    Numba itself only looks at the file of a function, not at those that it calls. None where no
    place can be written.
    """
    digest = sha256(_sources(Path(__file__).parent) + _sources(root)).hexdigest()[:16]
    for place in cache_places(root):
        folder = place / f"compiled-{digest}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError:
            continue
        return str(folder)
    return None


@lru_cache
def _sources(root: Path) -> bytes:
    """A digest of all Python sources of a package, or of one file."""
    digest = sha256()
    for file in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        digest.update(file.read_bytes())
    return digest.digest()


# --- what to say meanwhile ---

Teller = Callable[[Callable[..., object]], None]
_tellers: list[Teller] = []


def when_compiling(tell: Teller) -> None:
    """Have `tell` called with each function that must be compiled, before it is.

    A command would else stand still for half a minute without a word.
    """
    _tellers[:] = [tell]


@lru_cache
def _listen() -> None:
    event: Any = import_module("numba.core.event")  # Has no types.

    class Starts(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            for tell in _tellers:
                tell(event.data["dispatcher"])

        def on_end(self, event: Any) -> None:
            """Nobody needs to be told."""

    event.register("numba:compile", Starts())
