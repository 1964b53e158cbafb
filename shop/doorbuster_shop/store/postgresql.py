"""The store in PostgreSQL: many connections, so that many transactions are open at once."""

from __future__ import annotations

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
    Row,
    Session,
    StoreError,
    StoreUnavailableError,
    UnstorableTextError,
    Values,
    schema_sql,
)
from doorbuster_shop.store.store import Store
from doorbuster_shop.store.strategies.conditional_update import ConditionalUpdate

CONNECTION_MAX = 16
"""Transactions open at once. More than a few per core only make each other wait."""
CONNECTION_WAIT_S = 5.0
"""How long a request waits for a free connection before the shop says that it is overloaded."""
CONNECT_TIMEOUT_S = 5

_CREATION_LOCK = 0x646F6F72
"""Two shops that open an empty database at once take turns."""


class PostgresStore(Store):
    """A pool of connections; each strategy has a schema of its own in the database.

    READ COMMITTED: each statement sees what was committed when it began. Where that is not enough,
    rows and words are locked.
    """

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]], strategy: ConditionalUpdate
    ) -> None:
        super().__init__(strategy)
        self._pool = pool

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """BEGIN and COMMIT on a connection of one's own."""
        return self._connected(is_transaction=True)

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """A connection in autocommit mode."""
        return self._connected(is_transaction=False)

    @asynccontextmanager
    async def _connected(self, *, is_transaction: bool) -> AsyncIterator[Session]:
        try:
            async with self._pool.connection() as connection:
                if is_transaction:
                    async with connection.transaction():
                        yield PostgresSession(connection)
                else:
                    yield PostgresSession(connection)
        except UniqueViolation as error:
            raise DuplicateKeyError(str(error)) from error
        except psycopg.DataError as error:
            raise UnstorableTextError(str(error)) from error
        except (psycopg.OperationalError, PoolTimeout) as error:
            message = f"PostgreSQL: {type(error).__name__}: {error}"
            raise StoreUnavailableError(message) from error
        except psycopg.Error as error:
            message = f"PostgreSQL: {type(error).__name__}: {error}"
            raise StoreError(message) from error

    async def close_database(self) -> None:
        """Close all connections."""
        await self._pool.close()


class PostgresSession:
    """One connection of the pool."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

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
        pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            address,
            kwargs={
                "autocommit": True,
                "options": f"-c search_path={schema}",
                "connect_timeout": CONNECT_TIMEOUT_S,
            },
            configure=_configure,
            min_size=CONNECTION_MAX,
            max_size=CONNECTION_MAX,
            timeout=CONNECTION_WAIT_S,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=2 * CONNECT_TIMEOUT_S)
        except PoolTimeout:
            await pool.close()
            raise
    except (psycopg.Error, PoolTimeout) as error:
        message = f"{_without_password(address)}: cannot be opened as a shop database ({error})"
        raise DatabaseError(message) from None
    return PostgresStore(pool, strategy)


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
