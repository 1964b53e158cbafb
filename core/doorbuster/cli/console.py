"""How every command speaks: the product on stdout, the conversation on stderr."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import click

from doorbuster import exit_codes

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")

PIPE_COLUMNS = 120


def say(text: str = "") -> None:
    """A line of the conversation, on stderr."""
    click.echo(text, err=True)


def product_console() -> Console:
    """Tables on stdout; in a pipe they get the width they need instead of 80 columns."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_COLUMNS)


def print_json(content: dict[str, Any]) -> None:
    """The product of `--json`: one object on stdout and nothing else."""
    click.echo(json.dumps(content, ensure_ascii=False))


def stop(code: int, *sentences: str) -> NoReturn:
    """End the command with its exit code, one clear sentence a line on stderr."""
    for sentence in sentences:
        click.echo(sentence, err=True)
    sys.exit(code)


def scenario_argument(function: Callable[P, None]) -> Callable[P, None]:
    """The SCENARIO argument that most verbs take."""
    return click.argument(
        "scenario_path", metavar="SCENARIO", type=click.Path(path_type=Path, dir_okay=False)
    )(function)


def handles_user_errors(function: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors a user can make into sentences and exit codes; no traceback."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        from doorbuster.compiling import when_compiling
        from doorbuster.deciding import BehaviourError
        from doorbuster.plan import PlanSizeError, WindowError
        from doorbuster.records.run_folder import RunFolderError
        from doorbuster.scenario.reading import ScenarioError

        when_compiling(_CompilingTold())
        try:
            function(*args, **kwargs)
        except ScenarioError as error:
            count = len(error.problems)
            noun = "mistake" if count == 1 else "mistakes"
            stop(exit_codes.USAGE, *error.problems, f"{count} {noun}; nothing was run.")
        except (RunFolderError, WindowError, PlanSizeError, BehaviourError) as error:
            stop(exit_codes.USAGE, str(error))
        except OSError as error:
            stop(exit_codes.TARGET_FAILED, _environment_sentence(error))
        except KeyboardInterrupt:
            stop(exit_codes.INTERRUPTED, "Interrupted.")

    return wrapper


class _CompilingTold:
    """Says once of the draws and once of the engine that they are compiled, as it takes long."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, function: Callable[..., object]) -> None:
        from doorbuster.compiling import can_keep_code, plain

        if not plain(function).__module__.startswith("doorbuster_sim."):
            part, duration = "what draws the crowd", "some 10 s"
        elif plain(function).__name__ == "run":  # The event loop; all the others are quick.
            part, duration = "the engine", "about half a minute"
        else:
            return
        if part not in self._told:
            once = "once" if can_keep_code(function) else "as in every run"
            say(f"Compiling {part}, {once}: {duration} ...")
        # The parts of a loop are compiled with it.
        self._told |= {part, "what draws the crowd"}


def _environment_sentence(error: OSError) -> str:
    """A full disk, a missing folder, a closed pipe: where it was and what the system says."""
    place = f"{error.filename}: " if error.filename is not None else ""
    reason = error.strerror or str(error)
    return f"{place}the system refuses: {reason}; make room or choose another place, then run again"
