"""The provider's journal: one JSON line an entry, appended, read back after a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

LINE_BYTES_MAX = 65_536


class Journal:
    """An append-only file. What was appended survives the death of the process.

    An entry is handed to the operating system before anybody hears of it; with `is_forced` the
    system also writes it to the disk (fsync), and it survives a power failure.
    """

    def __init__(self, path: Path, *, is_forced: bool = False) -> None:
        self.path = path
        _cut_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._is_forced = is_forced

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry. Raises: OSError, and then the entry is not in the file."""
        line = orjson.dumps(entry) + b"\n"
        start = self._file.tell()
        written = self._file.write(line)
        if written != len(line):  # The disk is full in the middle of the line.
            self._file.truncate(start)
            message = f"{self.path}: {written} of {len(line)} bytes written"
            raise OSError(message)
        if self._is_forced:
            os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
        self._file.seek(0)

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
