"""The store in PostgreSQL: many connections, so that many transactions are open at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from doorbuster_shop.store.session import (
    SCHEMA_VERSION,
    DatabaseError,
    DuplicateKeyError,
    Lines,
    Row,
    Session,
    StoreError,
    StoreUnavailableError,
    UnstorableTextError,
    Values,
    schema_sql,
    time_of,
)
from doorbuster_shop.store.store import Store
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

CONNECTION_MAX = 16
"""Transactions open at once. More than a few per core only make each other wait."""
CONNECTION_WAIT_S = 5.0
"""How long a request waits for a free connection before the shop says that it is overloaded."""
CONNECT_TIMEOUT_S = 5

RECONNECT_S = 0.05
"""How often a server that is away is looked for."""

Pool = AsyncConnectionPool[AsyncConnection[Any]]

_log = logging.getLogger(__name__)
_CREATION_LOCK = 0x646F6F72
"""Two shops that open an empty database at once take turns."""


class PostgresStore(Store):
    """A pool of connections; each strategy has a schema of its own in the database.

    READ COMMITTED: each statement sees what was committed when it began. Where that is not enough,
    rows and words are locked.
    """

    def __init__(self, address: str, schema: str, pool: Pool, strategy: ConditionalUpdate) -> None:
        super().__init__(strategy)
        self._address = address
        self._schema = schema
        self._pool = pool
        self._is_away = False
        self._returning: asyncio.Task[None] | None = None
        """Waits for a server that was lost; meanwhile nobody else does."""

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """BEGIN and COMMIT on a connection of one's own."""
        return self._connected(is_transaction=True)

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """A connection in autocommit mode."""
        return self._connected(is_transaction=False)

    @asynccontextmanager
    async def _connected(self, *, is_transaction: bool) -> AsyncIterator[Session]:
        if self._is_away:
            message = "PostgreSQL: is away"
            raise StoreUnavailableError(message)
        connection: AsyncConnection[Any] | None = None
        try:
            async with self._pool.connection() as connection:
                if is_transaction:
                    async with connection.transaction():
                        yield PostgresSession(connection, self)
                        await self._linger(connection)
                else:
                    yield PostgresSession(connection, self)
                    await self._linger(connection)
        except UniqueViolation as error:
            raise DuplicateKeyError(str(error)) from error
        except psycopg.DataError as error:
            raise UnstorableTextError(str(error)) from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            if connection is not None and connection.closed:
                self._wait_for_return()
            message = f"PostgreSQL: {type(error).__name__}: {error}"
            raise StoreUnavailableError(message) from error
        except psycopg.Error as error:
            message = f"PostgreSQL: {type(error).__name__}: {error}"
            raise StoreError(message) from error

    async def _linger(self, connection: AsyncConnection[Any]) -> None:
        """A slow database: the transaction holds all that it has for so much longer."""
        if self.extra_s > 0:
            await connection.execute("SELECT pg_sleep(%s)", (self.extra_s,))

    def _wait_for_return(self) -> None:
        if not self._is_away:
            self._is_away = True
            self._returning = asyncio.get_running_loop().create_task(self._return())

    async def _return(self) -> None:
        """Fresh connections once the server answers again; then what was under way is looked up.

        The pool's own attempts get rarer and rarer, up to minutes.
        """
        _log.warning("PostgreSQL: a connection was lost")
        if await _answers(self._address):
            await self._pool.check()
        else:
            await self._pool.close()  # Whoever waits for a connection is told at once.
            self._pool = await self._fresh_pool()
            _log.warning("PostgreSQL: is back")
        self._is_away = False
        while self.on_return is not None and not self._is_away:
            try:
                await self.on_return()
            except StoreUnavailableError:
                await asyncio.sleep(RECONNECT_S)
            else:
                break

    async def _fresh_pool(self) -> Pool:
        while True:
            await asyncio.sleep(RECONNECT_S)
            if await _answers(self._address):
                try:
                    return await _open_pool(self._address, self._schema)
                except (psycopg.Error, PoolTimeout) as error:
                    _log.warning("PostgreSQL: %s", error)

    async def close_database(self) -> None:
        """Close all connections."""
        if self._returning is not None:
            self._returning.cancel()
        await self._pool.close()


class PostgresSession:
    """One connection of the pool."""

    __slots__ = ("_connection", "_store")

    def __init__(self, connection: AsyncConnection[Any], store: PostgresStore) -> None:
        self._connection = connection
        self._store = store

    async def run(self, sql: str, values: Values = ()) -> int:
        """Change rows, and tell how many."""
        return (await self._connection.execute(_translated(sql), values)).rowcount

    async def run_many(self, sql: str, rows: Iterable[Values]) -> None:
        """The same statement for many rows, sent together."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(_translated(sql), rows)

    async def one(self, sql: str, values: Values = ()) -> Row | None:
        """The first row, or None."""
        row: Row | None = await (
            await self._connection.execute(_translated(sql), values)
        ).fetchone()
        return row

    async def all(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows."""
        return await (await self._connection.execute(_translated(sql), values)).fetchall()

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """A transaction in the transaction."""
        return self._connection.transaction()

    def time_s(self, asked_at_s: float) -> float:
        """The time now."""
        return time_of(self._store.clock, asked_at_s)

    def lines_of(self, sku: str) -> Lines:
        """Of the sale of this store."""
        return self._store.lines_of(sku)

    async def hold(self, word: str) -> None:
        """An advisory lock on a hash of the word; a clash only makes somebody wait."""
        await self.run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (word,))


@cache
def _translated(sql: str) -> str:
    return sql.replace("?", "%s")


async def open_postgresql(address: str, strategy: ConditionalUpdate) -> PostgresStore:
    """Connect to a database, and make the tables of this strategy if they are not there.

    Raises: DatabaseError.
    """
    schema = f"doorbuster_{strategy.name}"
    try:
        await _make_tables(address, schema, is_guarded=strategy.is_guarded)
        pool = await _open_pool(address, schema)
    except (psycopg.Error, PoolTimeout) as error:
        message = f"{_without_password(address)}: cannot be opened as a shop database ({error})"
        raise DatabaseError(message) from None
    return PostgresStore(address, schema, pool, strategy)


async def _open_pool(address: str, schema: str) -> Pool:
    """Raises: psycopg.Error, PoolTimeout."""
    pool: Pool = AsyncConnectionPool(
        address,
        kwargs={
            "autocommit": True,
            # Statements of a millisecond: compiling one takes 40. Where fresh tables have no
            # statistics yet, the planner would.
            "options": f"-c search_path={schema} -c jit=off",
            "connect_timeout": CONNECT_TIMEOUT_S,
        },
        configure=_configure,
        min_size=CONNECTION_MAX,
        max_size=CONNECTION_MAX,
        timeout=CONNECTION_WAIT_S,
        open=False,
    )
    try:
        await pool.open()
        async with pool.connection(timeout=2 * CONNECT_TIMEOUT_S):
            pass  # The first will do; the others come while it serves.
    except BaseException:
        await pool.close()
        raise
    return pool


async def _answers(address: str) -> bool:
    """Whether the server takes connections."""
    try:
        connection = await AsyncConnection.connect(address, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


async def _configure(connection: AsyncConnection[Any]) -> None:
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)


async def _make_tables(address: str, schema: str, *, is_guarded: bool) -> None:
    connection = await AsyncConnection.connect(address, connect_timeout=CONNECT_TIMEOUT_S)
    async with connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))
        found = await connection.execute("SELECT to_regclass(%s)", (f"{schema}.sale",))
        row = await found.fetchone()
        assert row is not None
        if row[0] is None:
            tables = schema_sql("postgresql", is_guarded=is_guarded)
            script = f"CREATE SCHEMA {schema}; SET LOCAL search_path = {schema};\n{tables}"
            await connection.execute(script)
            return
        query = f"SELECT schema_version FROM {schema}.sale"
        found = await connection.execute(query)
        kept = await found.fetchone()
        if kept is not None and kept[0] != SCHEMA_VERSION:
            message = (
                f"schema {schema}: tables of another version (got {kept[0]}); allowed "
                f"{SCHEMA_VERSION}; give another database, or drop the schema"
            )
            raise DatabaseError(message)


def _without_password(address: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(address)
    return f"postgresql://{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"
