"""Which engine runs a sale, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

Engine = Literal["simpy", "compiled"]
"""`simpy` is the model to read; `compiled` is the same model for scale, record by record."""
EngineOption = Literal["auto", "simpy", "compiled"]


class Choice(NamedTuple):
    """An engine with the sentence that tells why; empty where nothing needs to be told."""

    engine: Engine
    reason: str


def choose_engine(wanted: EngineOption) -> Choice:
    """The engine for a scenario of built-in behaviour; `auto` is the compiled one if it can run.

    The compiled engine must be able to keep its code on disk: compiling it takes half a minute.
    """
    if wanted == "simpy":
        return Choice("simpy", "")
    obstacle = _obstacle()
    if obstacle and (wanted == "auto" or "NUMBA_DISABLE_JIT" in obstacle):
        return Choice("simpy", f"{obstacle}; the SimPy engine runs, with the same records")
    if obstacle:
        return Choice("compiled", f"{obstacle}; the engine is compiled anew, half a minute")
    return Choice("compiled", "")


def _obstacle() -> str:
    """What speaks against the compiled engine in this process, as the start of a sentence."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "NUMBA_DISABLE_JIT is set, so nothing is compiled"
    folder = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(folder)] if folder else [Path(__file__).parent / "__pycache__", Path.home()]
    if any(_can_write(place) for place in places):
        return ""
    return (
        f"compiled code cannot be kept ({places[0]} cannot be written; "
        "name a folder that can with NUMBA_CACHE_DIR)"
    )


def _can_write(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, takes new files."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
