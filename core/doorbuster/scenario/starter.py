"""The scenario that `doorbuster init` writes: small, whole, and commented."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from doorbuster.scenario.base import NAME_PATTERN

FALLBACK_NAME = "sale"


def starter_text(path: Path) -> str:
    """The starter scenario, named after its file."""
    text = files("doorbuster.scenario").joinpath("starter.yaml").read_text("utf-8")
    name = path.stem if re.fullmatch(NAME_PATTERN, path.stem) else FALLBACK_NAME
    # In quotes, because YAML takes a stem such as `2026` or `true` for something else.
    return text.replace("name: sale\n", f'name: "{name}"\n', 1)
