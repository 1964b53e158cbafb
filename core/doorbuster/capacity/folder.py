"""The folder of a study, beside the runs of its scenario; no run, so `report` does not find it.

results/<scenario>/<utc>-capacity-<seed>/
capacity.json  everything that was found; also of a study that is still going on
report.html    the same for people
results/<scenario>/latest-capacity -> the newest study
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from doorbuster.records.run_folder import RunFolderError

_IN_ONE_SECOND_MAX = 1000


def create_study_folder(results: Path, *, scenario_name: str, seed: int) -> Path:
    """A new folder, to which `latest-capacity` points. Raises: RunFolderError."""
    parent = results / scenario_name
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for number in range(1, _IN_ONE_SECOND_MAX):
        suffix = "" if number == 1 else f"-{number}"
        path = parent / f"{stamp}-capacity-{seed}{suffix}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not parent.is_dir() or not path.is_dir():
                break
            continue
        except NotADirectoryError:
            break
        _point_latest(parent, path.name)
        return path
    message = f"{results}: is no folder that takes a study; give another one with --results"
    raise RunFolderError(message)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file: it is either the old or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)


def _point_latest(parent: Path, name: str) -> None:
    link = parent / ".latest-capacity.part"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(parent / "latest-capacity")
    except OSError:
        pass  # A convenience; some file systems have no symbolic links.
