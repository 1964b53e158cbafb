"""The escape hatch: functions of the user's own, found by `module:function`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


class FunctionError(Exception):
    """A function that cannot be loaded; says why."""


def load_function(folder: Path, name: str) -> Callable[..., Any]:
    """The function behind `module:function`; the module may stand in `folder`.

    Raises: FunctionError when there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    beside = str(folder.resolve())
    if beside not in sys.path:
        sys.path.append(beside)
    try:
        function = getattr(import_module(module_name), function_name)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        message = f"cannot be loaded ({type(error).__name__}: {error}); looked beside the profile "
        raise FunctionError(f"{message}in {folder} and on Python's path") from None
    if not callable(function):
        message = f"{name} is no function"
        raise FunctionError(message)
    return function  # type: ignore[no-any-return]
