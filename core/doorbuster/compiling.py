"""One decorator for functions that run both as plain Python and compiled by Numba."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., object])


def compilable(function: _F) -> _F:
    """Compile at first call and keep the result on disk where the disk can be written.

    The plain function stays reachable as `.py_func`. `NUMBA_DISABLE_JIT=1` gives the plain form
    everywhere, without importing Numba (1.5 s): for processes that must start at once. Fast-math
    stays off: both forms must agree bit for bit.
    """
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        return function
    from numba import njit  # noqa: PLC0415 - not needed in the plain form

    try:
        return cast("_F", njit(cache=True)(function))
    except RuntimeError:  # Numba found no writable place for its cache: compile in memory.
        return cast("_F", njit(function))


def plain(function: _F) -> _F:
    """The plain form of a compilable function: equal results, and no start-up time of Numba's."""
    return cast("_F", getattr(function, "py_func", function))
