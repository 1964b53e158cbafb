"""Append-only files: what a run has recorded survives its being killed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa


class AppendOnly:
    """A file whose appends are whole or not at all.

    When the system refuses one (a full disk), the file is cut back to what it held before, and
    the OSError names the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Unbuffered: a buffer would try again to write what the disk has refused.
        self._file = path.open("wb", buffering=0)
        self._before = 0

    def write(self, content: bytes) -> None:
        """Append the bytes. Raises: OSError, naming the file."""
        self._before = self._file.tell()
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.take_back()
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def take_back(self) -> None:
        """Remove the last append."""
        self._file.truncate(self._before)
        self._file.seek(self._before)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Spool:
    """Rows of one table, appended by one writer; what was appended survives a kill."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._file = schema, AppendOnly(path)
        self._encoded = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False)
        self._stream = pa.ipc.new_stream(self._encoded, schema, options=options)
        self._flush()

    def append(self, columns: Mapping[str, Any]) -> None:
        """Write rows given as equally long columns. Raises: OSError, naming the file."""
        arrays = [pa.array(columns[field.name], type=field.type) for field in self._schema]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._flush()

    def append_table(self, table: pa.Table) -> None:
        """Write the rows of a table. Raises: OSError, naming the file."""
        self._stream.write_table(table)
        self._flush()

    def take_back(self) -> None:
        """Remove the rows of the last append; nothing may be appended after that."""
        self._file.take_back()

    def close(self) -> None:
        """End the stream; where the disk is full it stays without an end, as after a kill."""
        self._stream.close()
        with suppress(OSError):
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        content = self._encoded.getvalue()
        self._encoded.seek(0)
        self._encoded.truncate()
        self._file.write(content)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_stream(path: Path) -> list[pa.RecordBatch]:
    """All whole batches of a stream, also of one whose writer was killed."""
    batches: list[pa.RecordBatch] = []
    with path.open("rb") as file:
        try:
            for batch in pa.ipc.open_stream(file):
                batches.append(batch)  # noqa: PERF402 - keep what came before the break
        except (pa.ArrowInvalid, OSError):
            pass  # The last batch was cut off.
    return batches


class Journal:
    """One JSON object a line; what was appended survives a kill."""

    def __init__(self, path: Path) -> None:
        self._file = AppendOnly(path)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line. Raises: OSError, naming the file."""
        self._file.write(json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a journal, also of one whose writer was killed; none without a file."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]
