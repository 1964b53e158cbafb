"""A visitor's behaviour as the user's own Python function, in place of the built-in one."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Part


class OwnBehaviour(Part):
    """A Python function that decides instead of `doorbuster.visitor.next_step`.

    It is read, not run, when the scenario is checked.
    """

    path: str
    """Python file, relative to the scenario file."""
    function: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)] = (
        "next_step"
    )
    """Name of the function in it."""

    _file: Path = PrivateAttr(default=Path())

    @property
    def file(self) -> Path:
        """The file where it lies."""
        return self._file

    @model_validator(mode="after")
    def _find(self, info: ValidationInfo) -> Self:
        folder = (info.context or {}).get("folder")
        if folder is None:  # Read back from a run's records: nothing is simulated by it.
            return self
        self._file = (Path(folder) / self.path).absolute()
        try:
            tree = ast.parse(self._file.read_text("utf-8"), str(self._file))
        except SyntaxError as error:
            raise _mistake(self, f"line {error.lineno}: {error.msg}") from None
        except (OSError, ValueError) as error:
            raise _mistake(self, getattr(error, "strerror", None) or str(error)) from None
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        if self.function not in names:
            found = ", ".join(names) or "none"
            raise _mistake(self, f"no function {self.function} at its top level (found: {found})")
        return self


def _mistake(behaviour: OwnBehaviour, reason: str) -> PydanticCustomError:
    return PydanticCustomError(
        "behaviour", "cannot use {path}: {reason}", {"path": behaviour.path, "reason": reason}
    )
