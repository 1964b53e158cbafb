"""Decorators for functions that run both as plain Python and compiled by Numba."""

from __future__ import annotations

import os
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

    config: Any = import_module("numba.core.config")  # Its settings are not declared.
    before = config.CACHE_DIR
    config.CACHE_DIR = before or _cache_folder(Path(function.__code__.co_filename))
    try:
        return cast("_F", njit(cache=True, forceinline=is_inlined)(function))
    except RuntimeError:  # Numba found no writable place for its cache: compile in memory.
        return cast("_F", njit(forceinline=is_inlined)(function))
    finally:
        config.CACHE_DIR = before


def _cache_folder(source: Path) -> str:
    """Where compiled code of these sources is kept: another place for every change of any of them.

    Numba itself only looks at the file of a function, not at those that it calls.
    """
    package = source.parent
    while (package.parent / "__init__.py").is_file():
        package = package.parent
    here = Path(__file__).parent
    own = _sources(package) if (package / "__init__.py").is_file() else source.read_bytes()
    digest = sha256(_sources(here) + own).hexdigest()[:16]
    return str(package / "__pycache__" / f"compiled-{digest}")


@lru_cache
def _sources(package: Path) -> bytes:
    """A digest of all Python sources of a package."""
    digest = sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()


def plain(function: _F) -> _F:
    """The plain form of a compilable function: equal results, and no start-up time of Numba's."""
    return cast("_F", getattr(function, "py_func", function))
