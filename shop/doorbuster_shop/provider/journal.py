"""The provider's journal: one JSON line an entry, appended, read back after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

LINE_BYTES_MAX = 65_536


class Journal:
    """An append-only file. What was appended survives the death of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry, handed to the operating system before this returns."""
        self._file.write(orjson.dumps(entry) + b"\n")

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)

    def entries(self) -> Iterator[dict[str, Any]]:
        """All entries, oldest first."""
        with self.path.open("rb") as file:
            for line in file:
                yield orjson.loads(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _cut_torn_line(path: Path) -> None:
    """Remove the last line if its writer died in the middle of it."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        start = max(0, size - LINE_BYTES_MAX)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(start + tail.rfind(b"\n") + 1)
