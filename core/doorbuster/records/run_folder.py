"""The run folder: everything one run leaves behind, readable while it is still being written.

results/<scenario>/<utc>-<world>-<seed>/
run.json       what ran: scenario text and hashes, seed, versions, machine, status
spool/         Arrow streams, one a writer and table; complete up to the last append
visits.parquet, requests.parquet, stock.parquet    there once the run has ended
orders.parquet, charges.parquet    the books of the target and of its provider, likewise
shipments.parquet                  which warehouses sent what, where there are several
audit.json     the target's own account (a list with one entry a replication)
tally.json     what was counted of sales that kept no records of visits and requests
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
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from doorbuster import __version__
from doorbuster.records.audit import Audit
from doorbuster.records.row_groups import TableWriter
from doorbuster.records.spool import Journal, Spool, read_journal, read_stream
from doorbuster.records.tables import ADDED_LATER, BOOKS, TABLES

World = Literal["sim", "live"]
Status = Literal["running", "complete", "interrupted", "failed"]
FORMAT_VERSION = 1
_SCHEMAS = {**TABLES, **BOOKS}


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
        return Spool(self.path / "spool" / f"{table}-{writer}.arrows", _SCHEMAS[table])

    def journal(self) -> Journal:
        """An append-only file with one line a finished sale of a simulated run."""
        (self.path / "spool").mkdir(exist_ok=True)
        return Journal(self._journal_path)

    @property
    def _journal_path(self) -> Path:
        return self.path / "spool" / "sales.jsonl"

    def merge_spools(self) -> None:
        """Turn all spool streams into the Parquet tables, then delete them."""
        for name in (*TABLES, *self._kept_books()):
            self.write_table(name, self._read_spools(name))
        self.remove_spool()

    def _kept_books(self) -> list[str]:
        return [name for name in BOOKS if any((self.path / "spool").glob(f"{name}-*.arrows"))]

    def has_table(self, name: str) -> bool:
        """Whether a table was kept, be it empty."""
        spooled = (self.path / "spool").glob(f"{name}-*.arrows")
        return (self.path / f"{name}.parquet").is_file() or any(spooled)

    def remove_spool(self) -> None:
        """Delete the append-only files, once the tables hold what was in them."""
        for file in (*(self.path / "spool").glob("*.arrows"), self._journal_path):
            file.unlink(missing_ok=True)
        if (self.path / "spool").is_dir():
            (self.path / "spool").rmdir()

    def table_writer(self, name: str) -> TableWriter:
        """Writes one table piece by piece. Raises: OSError, naming the file."""
        return TableWriter(self.path / f"{name}.parquet", _SCHEMAS[name])

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one table whole or not at all. Raises: OSError, naming the file."""
        writer = self.table_writer(name)
        writer.append(table.cast(_SCHEMAS[name]))
        writer.close()

    def table(self, name: str) -> pa.Table:
        """One table: the Parquet file, or what the spool holds of an unfinished run.

        Raises: RunFolderError when the file is damaged.
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            return self._read_spools(name)
        try:
            table = pq.read_table(path, schema=_SCHEMAS[name])
        except (pa.ArrowInvalid, OSError) as error:
            message = f"{path}: is damaged ({str(error).splitlines()[0]})"
            raise RunFolderError(message) from None
        return _completed(name, table)

    def _read_spools(self, name: str) -> pa.Table:
        files = sorted((self.path / "spool").glob(f"{name}-*.arrows"))
        batches = [batch for file in files for batch in read_stream(file)]
        schema = batches[0].schema if batches else _SCHEMAS[name]
        return _completed(name, pa.Table.from_batches(batches, schema).unify_dictionaries())

    # -- audit and other JSON ----------------------------------------------------------------

    def write_audits(self, audits: Iterable[Audit]) -> None:
        """The target's own account, one a replication."""
        self._write_json("audit.json", [audit.model_dump() for audit in audits])

    @property
    def audits(self) -> list[Audit]:
        """The target's own account, one a replication; empty when it was never read."""
        if (self.path / "audit.json").is_file():
            return [Audit.model_validate(entry) for entry in self._read_json("audit.json")]
        # Killed before its end: what the finished sales left.
        return [Audit.model_validate(entry["audit"]) for entry in read_journal(self._journal_path)]

    def write_tallies(self, tallies: Iterable[dict[str, Any]]) -> None:
        """What was counted of each replication, instead of records."""
        self._write_json("tally.json", list(tallies))

    @property
    def tallies(self) -> list[dict[str, Any]]:
        """What was counted of each replication; empty where records were kept."""
        if (self.path / "tally.json").is_file():
            return list(self._read_json("tally.json"))
        entries = read_journal(self._journal_path)
        return [entry["tally"] for entry in entries if entry.get("tally")]

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


def machine_facts() -> dict[str, Any]:
    """The machine and versions, for run.json."""
    return {
        "doorbuster": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "started_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _completed(name: str, table: pa.Table) -> pa.Table:
    """A table of any version with all of today's columns."""
    for column in ADDED_LATER.get(name, ()):
        place = _SCHEMAS[name].get_field_index(column)
        field = _SCHEMAS[name].field(place)
        if column not in table.column_names:  # In a spool; a Parquet file is read by the schema.
            table = table.add_column(place, field, pa.nulls(len(table), field.type))
        if table[column].null_count and not field.nullable:
            table = table.set_column(place, field, table[column].fill_null(0))
    return table


def _point_latest(parent: Path, name: str) -> None:
    link = parent / ".latest.part"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(parent / "latest")
    except OSError:
        pass  # A convenience; some file systems have no symbolic links.
