"""The store in SQLite: one file, one connection, nothing to install."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from types import TracebackType

from doorbuster_shop.store.session import (
    SCHEMA_VERSION,
    DatabaseError,
    Lines,
    Row,
    Session,
    StoreUnavailableError,
    Values,
    schema_sql,
    time_of,
)
from doorbuster_shop.store.store import Store
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

BUSY_TIMEOUT_S = 5.0
"""How long a write waits for another process that has the database open, such as a backup."""
PAGE_BYTES = 1_024
"""An order touches some six rows in as many pages, and every page touched is written whole: small
pages save a fifth of the time of a reservation (61 us instead of 78, SQLite 3.40)."""
CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log before it is folded into the database, which stops the shop for
some 15 ms: as many bytes as SQLite's default of 1000 pages of 4 KB."""

_ROW_LOCK = re.compile(r"\s+FOR UPDATE( SKIP LOCKED)?")


class SqliteStore(Store):
    """Statements run in the event loop: a transaction takes less time than handing it to a thread.

    None of them lets another task in, so a transaction is never interrupted by our own process.
    """

    def __init__(self, db: sqlite3.Connection, strategy: ConditionalUpdate) -> None:
        super().__init__(strategy)
        self.db = db
        self._session = SqliteSession(self)
        self._transaction = _Transaction(self, self._session)
        self._reading = _Reading(self, self._session)

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """A write transaction. Only one can be open, so the same object serves for all."""
        return self._transaction

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """No transaction."""
        return self._reading

    async def close_database(self) -> None:
        """Close the file."""
        self.db.close()


def open_sqlite(path: Path | str, strategy: ConditionalUpdate) -> SqliteStore:
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
        tables = schema_sql("sqlite", is_guarded=strategy.is_guarded)
        db.executescript(f"BEGIN;\n{tables}\nCOMMIT;")
    elif version != SCHEMA_VERSION:
        db.close()
        message = (
            f"{path}: tables of another version (got {version}); allowed {SCHEMA_VERSION}; "
            "give another file"
        )
        raise DatabaseError(message)
    return SqliteStore(db, strategy)


class SqliteSession:
    """Runs statements at once; its coroutines never wait."""

    __slots__ = ("_db", "_store")

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._db = store.db

    async def run(self, sql: str, values: Values = ()) -> int:
        """Change rows, and tell how many."""
        return self._db.execute(sql, values).rowcount

    async def run_many(self, sql: str, rows: Iterable[Values]) -> None:
        """The same statement for many rows."""
        self._db.executemany(sql, rows)

    async def one(self, sql: str, values: Values = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = self._db.execute(_without_row_locks(sql), values).fetchone()
        return row

    async def all(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows."""
        return self._db.execute(_without_row_locks(sql), values).fetchall()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Statements that an error undoes."""
        self._db.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO part")
            raise
        finally:
            self._db.execute("RELEASE part")

    def time_s(self, asked_at_s: float) -> float:
        """The time now; another process may have had the file."""
        return time_of(self._store.clock, asked_at_s)

    def lines_of(self, sku: str) -> Lines:
        """Of the sale of this store."""
        return self._store.lines_of(sku)

    async def hold(self, word: str) -> None:
        """The transaction holds the whole database already."""


@cache
def _without_row_locks(sql: str) -> str:
    return _ROW_LOCK.sub("", sql)


class _Transaction:
    """BEGIN IMMEDIATE takes the write lock before the first read.

    So what was read still holds when it is written, whoever else has the database open.
    """

    __slots__ = ("_db", "_session", "_store")

    def __init__(self, store: SqliteStore, session: SqliteSession) -> None:
        self._store = store
        self._db = store.db
        self._session = session

    async def __aenter__(self) -> SqliteSession:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            message = f"SQLite: {error}"
            raise StoreUnavailableError(message) from error
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _linger(self._store)
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


class _Reading:
    __slots__ = ("_session", "_store")

    def __init__(self, store: SqliteStore, session: SqliteSession) -> None:
        self._store = store
        self._session = session

    async def __aenter__(self) -> SqliteSession:
        return self._session

    async def __aexit__(self, *_: object) -> None:
        _linger(self._store)


def _linger(store: SqliteStore) -> None:
    """A slow disk stops the whole shop: its statements run in the event loop."""
    if store.extra_s > 0:
        time.sleep(store.extra_s)
