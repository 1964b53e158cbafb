"""A Parquet file written piece by piece: the whole table is never in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 131_072
"""Pieces are gathered to row groups of at least so many rows: many small sales would else leave a
file whose directory is larger than its content. It depends on the rows alone, so equal pieces in
equal order give equal files."""


class TableWriter:
    """One table, whole at its place after `close` and not there before.

    Raises: OSError naming the file, from every method that writes; the writer has then given up.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.part")
        self._waiting = [schema.empty_table()]
        self._waiting_rows = 0
        with _naming(path):
            self._writer = pq.ParquetWriter(self._temporary, schema, compression="zstd")

    def append(self, table: pa.Table) -> None:
        """Add rows; they are on disk once their row group is full."""
        self._waiting.append(table)
        self._waiting_rows += len(table)
        if self._waiting_rows >= ROW_GROUP_ROWS:
            self._write()

    def close(self) -> None:
        """Write what waits and put the file in its place, or leave nothing behind."""
        self._write()
        try:
            with _naming(self._path):
                self._writer.close()
                self._temporary.replace(self._path)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """Give the file up."""
        with suppress(OSError):
            self._writer.close()
        self._temporary.unlink(missing_ok=True)

    def _write(self) -> None:
        schema = self._waiting[0].schema
        table = pa.concat_tables(self._waiting).unify_dictionaries().combine_chunks()
        self._waiting, self._waiting_rows = [schema.empty_table()], 0
        try:
            with _naming(self._path):
                self._writer.write_table(table)
        except OSError:
            self.discard()
            raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Gives an OSError of Arrow, which knows no file, the file it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, str(error.strerror or error), str(path)) from None
