"""Which engine runs a sale, and why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

from doorbuster.compiling import cache_places, can_keep_code, code_is_kept
from doorbuster.scenario.model import Scenario

Engine = Literal["simpy", "compiled"]
"""`simpy` is the model to read; `compiled` is the same model for scale, record by record."""
EngineOption = Literal["auto", "simpy", "compiled"]

COMPILING_VISITORS = 90_000
"""So many visitors does SimPy simulate on one processor while the other engine is compiled: 36 s
at 2,500 a second."""


class Choice(NamedTuple):
    """An engine with the sentence that tells why; empty where nothing needs to be told."""

    engine: Engine
    reason: str


def choose_engine(
    wanted: EngineOption,
    *,
    visitor_count: int | None = None,
    job_count: int = 1,
    keeps_code: bool = True,
    scenario: Scenario | None = None,
) -> Choice:
    """The engine for a scenario; SimPy for one with a behaviour of its own.

    `auto` is the compiled one, unless its code cannot be kept on disk or would have to be compiled
    for so few visitors that SimPy is through earlier. The records are the same.
    visitor_count: of all sales together, simulated by job_count processes; without it the crowd
    counts as large. keeps_code: whether code that is kept here serves these processes. scenario:
    without it the behaviour counts as built in.
    """
    if wanted == "simpy":
        return Choice("simpy", "")
    if scenario is not None and scenario.crowd.behaviour is not None:
        path = scenario.crowd.behaviour.path
        return Choice("simpy", f"visitors behave as {path} says, and that is not compiled")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return Choice("simpy", "NUMBA_DISABLE_JIT is set, so nothing is compiled")
    from doorbuster_sim.compiled_engine.loop import run  # noqa: PLC0415 - loads Numba

    if not can_keep_code(run):
        places = " and ".join(str(place) for place in cache_places(Path(__file__).parent))
        obstacle = f"compiled code cannot be kept: {places} cannot be written"
        if wanted == "compiled":
            return Choice("compiled", f"{obstacle}; compiled anew in every run, half a minute")
        return Choice("simpy", f"{obstacle}; name a folder that can with NUMBA_CACHE_DIR")
    if wanted == "compiled" or (keeps_code and code_is_kept(run)) or visitor_count is None:
        return Choice("compiled", "")
    if visitor_count >= COMPILING_VISITORS * job_count:
        return Choice("compiled", "")
    return Choice(
        "simpy",
        f"through with {visitor_count:,} visitors before the other is compiled; "
        "`simulate --engine compiled` compiles it, once",
    )
