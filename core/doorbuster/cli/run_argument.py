"""How a run is named on the command line: its folder, its scenario's folder, or `latest`."""

from __future__ import annotations

from pathlib import Path

from doorbuster.records.run_folder import RunFolder, RunFolderError

LATEST = {"latest": "", "latest-sim": "-sim-", "latest-live": "-live-"}
"""Words for the newest run of all scenarios, and what its folder's name must hold."""


def find_run(name: str, results: Path) -> RunFolder:
    """The run of this name.

    Raises: RunFolderError that lists the runs there are when nothing fits.
    """
    if name in LATEST:
        return _newest(name, results)
    path = Path(name)
    if (path / "run.json").is_file():
        return RunFolder.open(path)
    if (path / "latest" / "run.json").is_file():
        return RunFolder.open((path / "latest").resolve())
    message = (
        f"{name}: no run (run.json is missing); allowed: a folder below {results}, or "
        f"{', '.join(LATEST)}{_known(results)}"
    )
    raise RunFolderError(message)


def _newest(word: str, results: Path) -> RunFolder:
    # The name of a run begins with its time.
    runs = [path for path in _runs(results) if LATEST[word] in path.name]
    if not runs:
        message = f"{word}: no such run below {results}; run `doorbuster simulate SCENARIO` first"
        raise RunFolderError(message)
    return RunFolder.open(max(runs, key=lambda path: path.name))


def _runs(results: Path) -> list[Path]:
    found = (path.parent for path in results.glob("*/*/run.json"))
    return sorted(path for path in found if not path.is_symlink())


def _known(results: Path) -> str:
    runs = sorted(_runs(results), key=lambda path: path.name)[-3:]
    return "; the newest are " + ", ".join(str(path) for path in runs) if runs else ""
