"""The run folder: everything one run leaves behind, readable while it is still being written.

results/<scenario>/<utc>-<world>-<seed>/
run.json       what ran: scenario text and hashes, seed, versions, machine, status
spool/         Arrow streams, one a writer and table; complete up to the last flush
visits.parquet, requests.parquet, stock.parquet    merged from the spool at the end
audit.json     the target's own account (a list with one entry a replication)
verdict.json, report.html, junit.xml
results/<scenario>/latest -> the newest run
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from doorbuster import __version__
from doorbuster.records.audit import Audit
from doorbuster.records.tables import TABLES

World = Literal["sim", "live"]
Status = Literal["running", "complete", "interrupted", "failed"]
FORMAT_VERSION = 1


class RunFolderError(Exception):
    """A folder that is no run folder, or cannot be read or written; says which and why."""


def text_hash(text: str) -> str:
    """SHA-256 of a text as hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


class RunFolder:
    """One run on disk. Create one to write, open one to read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, results: Path, *, scenario_name: str, world: World, seed: int) -> Self:
        """Make a new folder and point `latest` to it."""
        parent = results / scenario_name
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            path = parent / f"{stamp}-{world}-{seed}{suffix}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except NotADirectoryError:
                message = f"{results}: is no folder; give another one with --results"
                raise RunFolderError(message) from None
            _point_latest(parent, path.name)
            return cls(path)
        message = f"{parent}: 1000 runs within one second; clean the folder"
        raise RunFolderError(message)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing folder. Raises: RunFolderError if it holds no run.json."""
        folder = cls(path)
        if not (path / "run.json").is_file():
            message = f"{path}: no run folder (run.json is missing); give a folder below results/"
            raise RunFolderError(message)
        return folder

    # -- run.json ----------------------------------------------------------------------------

    def write_run(self, facts: Mapping[str, Any]) -> None:
        """Write run.json whole: the file is either the old or the new one, never half of it."""
        self._write_json("run.json", {"format": FORMAT_VERSION, **facts})

    def update_run(self, **facts: Any) -> None:
        """Change some facts of run.json, such as `status`."""
        self.write_run({**self.run, **facts})

    @property
    def run(self) -> dict[str, Any]:
        """The facts of run.json. Raises: RunFolderError when it cannot be read."""
        return dict(self._read_json("run.json"))

    @property
    def is_complete(self) -> bool:
        """Whether the run came to its own end."""
        return bool(self.run.get("status") == "complete")

    # -- tables ------------------------------------------------------------------------------

    def spool(self, table: str, writer: str) -> Spool:
        """An append-only stream for one writer (a worker process) and one table."""
        (self.path / "spool").mkdir(exist_ok=True)
        return Spool(self.path / "spool" / f"{table}-{writer}.arrows", TABLES[table])

    def merge_spools(self) -> None:
        """Turn all spool streams into the Parquet tables, then delete them."""
        for name in TABLES:
            self.write_table(name, self._read_spools(name))
        for file in (self.path / "spool").glob("*.arrows"):
            file.unlink()
        if (self.path / "spool").is_dir():
            (self.path / "spool").rmdir()

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one table whole or not at all. Raises: OSError, naming the file."""
        path, temporary = self.path / f"{name}.parquet", self.path / f".{name}.parquet.part"
        try:
            pq.write_table(table.cast(TABLES[name]), temporary, compression="zstd")
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            # Arrow's errors carry neither number nor file.
            raise OSError(error.errno, str(error.strerror or error), str(path)) from None

    def table(self, name: str) -> pa.Table:
        """One table: the Parquet file, or what the spool holds of an unfinished run.

        Raises: RunFolderError when the file is damaged.
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            return self._read_spools(name)
        try:
            return pq.read_table(path, schema=TABLES[name])
        except (pa.ArrowInvalid, OSError) as error:
            message = f"{path}: is damaged ({str(error).splitlines()[0]})"
            raise RunFolderError(message) from None

    def _read_spools(self, name: str) -> pa.Table:
        files = sorted((self.path / "spool").glob(f"{name}-*.arrows"))
        batches = [batch for file in files for batch in read_stream(file)]
        return pa.Table.from_batches(batches, TABLES[name]).unify_dictionaries()

    # -- audit and other JSON ----------------------------------------------------------------

    def write_audits(self, audits: Iterable[Audit]) -> None:
        """The target's own account, one a replication."""
        self._write_json("audit.json", [audit.model_dump() for audit in audits])

    @property
    def audits(self) -> list[Audit]:
        """The target's own account, one a replication; empty when it was never read."""
        if not (self.path / "audit.json").is_file():
            return []
        return [Audit.model_validate(entry) for entry in self._read_json("audit.json")]

    def write_json(self, name: str, content: Any) -> None:
        """Write another JSON file of the run, such as verdict.json, whole or not at all."""
        self._write_json(name, content)

    def _write_json(self, name: str, content: Any) -> None:
        temporary = self.path / f".{name}.part"
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        temporary.replace(self.path / name)

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError) as error:
            message = f"{self.path / name}: cannot be read ({error})"
            raise RunFolderError(message) from None


class Spool:
    """Rows of one table, appended by one writer; what was flushed survives a kill."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = path.open("wb")
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=False)
        self._stream = pa.ipc.new_stream(self._file, schema, options=options)

    def append(self, columns: Mapping[str, Any]) -> None:
        """Write rows given as equally long columns, then flush them to the operating system."""
        arrays = [pa.array(columns[field.name], type=field.type) for field in self._schema]
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._file.flush()

    def close(self) -> None:
        """End the stream."""
        self._stream.close()
        self._file.close()

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


def machine_facts() -> dict[str, Any]:
    """The machine and versions, for run.json."""
    return {
        "doorbuster": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "started_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _point_latest(parent: Path, name: str) -> None:
    link = parent / ".latest.part"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(parent / "latest")
    except OSError:
        pass  # A convenience; some file systems have no symbolic links.
