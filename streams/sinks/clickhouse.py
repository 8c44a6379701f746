"""The sink that writes to ClickHouse, by column, in inserts that can be repeated.

`write` waits as long as ClickHouse is away, so whoever awaits it stops consuming; nothing is dropped.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from schemas.rows import TABLES, Row
from streams.settings import ClickHouseSettings
from streams.sinks.connection import connect_async, message_of
from streams.sinks.retry import Backoff, Kind, OnRetry, classify, retry
from streams.sinks.session import explain_foreign, remedy
from streams.sinks.sink import SinkError
from streams.sinks.tables import KEYS, LAST, require_known

if TYPE_CHECKING:
    from clickhouse_connect.datatypes.base import ClickHouseType
    from clickhouse_connect.driver.asyncclient import AsyncClient

T = TypeVar("T")

log = structlog.get_logger()

MAX_ROWS: Final = 100_000
"""Rows of one insert, `state` excepted. Ten times what is cheapest, a tenth of what ClickHouse cuts in pieces."""
_CONCURRENT_INSERTS: Final = 4
_INSERT_SETTINGS: Final = {
    "async_insert": 0,  # 1 by default since 26.2, and then an insert may return before its rows are there
    "max_partitions_per_insert_block": 0,  # history that is replayed spans more than a hundred months
}


def log_retry(attempt: int, error: str, pause: float) -> None:
    """What is done about a retry when nobody else listens."""
    log.warning("sink.retry", attempt=attempt, error=error[:500], pause_seconds=round(pause, 3))


class ClickHouseSink:
    """Writes rows to one database; see `streams.sinks.sink.Sink` for the methods all sinks have.

    It connects when first used, and belongs to the event loop that does so.

    Args:
        stop: when set, retrying ends with SinkStoppedError. Never, if None.
        backoff: pauses between tries.
        jitter: randomness for the pauses, in [0, 1).
        on_retry: called before each pause; logs by default.
        max_rows: rows of one insert, `state` excepted.
    """

    def __init__(
        self,
        settings: ClickHouseSettings,
        *,
        stop: asyncio.Event | None = None,
        backoff: Backoff = Backoff(),  # noqa: B008  (immutable)
        jitter: Callable[[], float] = random.random,
        on_retry: OnRetry = log_retry,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._settings = settings
        self._stop = stop or asyncio.Event()
        self._backoff, self._jitter, self._on_retry = backoff, jitter, on_retry
        self._max_rows = max_rows
        self._client: AsyncClient | None = None
        self._types: dict[str, dict[str, ClickHouseType]] = {}
        self._connecting = asyncio.Lock()
        self._inserts = asyncio.Semaphore(_CONCURRENT_INSERTS)

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        for table in rows:
            require_known(table)
        results = await asyncio.gather(
            *(
                self._insert(table, some[start : start + self._max_rows])
                for table, some in rows.items()
                if table != LAST
                for start in range(0, len(some), self._max_rows)
            ),
            return_exceptions=True,  # a failure must not leave other inserts running behind the caller's back
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if rows.get(LAST):
            await self._insert(LAST, rows[LAST])

    async def read(self, table: str, **equals: Any) -> list[Row]:
        require_known(table)
        await self._retry(table, self._connect)
        types = self._types[table]
        for column in equals:
            if column not in types:
                raise KeyError(f"{table} has no column {column!r}")
        conditions = (
            f"{column} IN {{{column}:Array({types[column].base_type})}}"
            if isinstance(value, list)
            else f"{column} = {{{column}:{types[column].base_type}}}"
            for column, value in equals.items()
        )
        where = " AND ".join(conditions) or "1"
        columns, order = ", ".join(types), ", ".join(KEYS[table].identity)
        found = await self.fetch(
            f"SELECT {columns} FROM {table} FINAL WHERE {where} ORDER BY {order}",  # noqa: S608  (names are ours)
            equals,
            formats={"DateTime64": "int"},
        )
        return [TABLES[table]._make(row) for row in found]

    async def fetch(
        self, sql: str, parameters: Mapping[str, Any] | None = None, *, formats: Mapping[str, str] | None = None
    ) -> list[tuple[Any, ...]]:
        """The result's rows; times are aware UTC. Waits for ClickHouse as `write` does.

        Args:
            sql: with ClickHouse's own placeholders, such as ``{app_id:String}``.
            parameters: their values.
            formats: how types are returned, such as ``{"DateTime64": "int"}`` for milliseconds.

        Raises:
            SinkError: ClickHouse refuses the query.
            SinkStoppedError: told to stop while waiting for ClickHouse.
        """

        async def run() -> list[tuple[Any, ...]]:
            client = await self._connect()
            result = await client.query(
                sql,
                parameters=dict(parameters or {}),
                query_formats=dict(formats or {}),
                tz_mode="aware",
            )
            return [tuple(row) for row in result.result_rows]

        return await self._retry("query", run)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _insert(self, table: str, rows: Sequence[Row]) -> None:
        if not rows:
            return
        columns = list(zip(*rows, strict=True))

        async def run() -> None:
            from clickhouse_connect.driver.insert import InsertContext

            client = await self._connect()
            types = self._types[table]
            # One block for one part: clickhouse-connect would cut at 2 MB.
            context = InsertContext(
                table,
                list(types),
                list(types.values()),
                data=columns,
                column_oriented=True,
                settings=_INSERT_SETTINGS,
                block_size=len(rows) if table == LAST else None,
            )
            await client.data_insert(context)

        async with self._inserts:
            await self._retry(table, run)

    async def _retry(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        where = f"ClickHouse at {self._settings.url}, database {self._settings.database}, {what}"
        try:
            return await retry(
                operation,
                backoff=self._backoff,
                jitter=self._jitter,
                stop=self._stop,
                on_retry=lambda attempt, error, pause: self._on_retry(attempt, f"{where}: {error}", pause),
            )
        except Exception as error:
            if classify(error) is not Kind.PERMANENT:
                raise
            foreign = explain_foreign(error, self._settings)
            raise SinkError(foreign or f"{where}: {message_of(error)}{remedy(error)}") from error

    async def _connect(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                client = await connect_async(self._settings)
                try:
                    self._types = await self._read_types(client)
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def _read_types(self, client: AsyncClient) -> dict[str, dict[str, ClickHouseType]]:
        from clickhouse_connect.datatypes.registry import get_from_name

        result = await client.query(
            "SELECT table, name, type FROM system.columns WHERE database = {database:String} ORDER BY table, position",
            parameters={"database": self._settings.database},
        )
        types: dict[str, dict[str, ClickHouseType]] = {}
        for table, name, type_name in result.result_rows:
            types.setdefault(table, {})[name] = get_from_name(type_name)
        for table, row in TABLES.items():
            if tuple(types.get(table, {})) != row._fields:
                raise SinkError(
                    f"ClickHouse at {self._settings.url}, database {self._settings.database}: table {table} does"
                    " not have this release's columns; run `labelwatch migrate`"
                )
        return types
