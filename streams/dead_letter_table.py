"""Dead letters in ClickHouse: what is listed, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from schemas.dead_letter import Origin, Reason
from schemas.rows import DeadLetterRow
from streams.dead_letters import Status
from streams.settings import ClickHouseSettings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_COLUMNS: Final = ", ".join(DeadLetterRow._fields)
_MILLISECONDS: Final = {"DateTime64": "int"}


class TableError(Exception):
    """ClickHouse cannot be used; the message says which address was tried, and what to do."""


class ClickHouseDeadLetterTable:
    """Reads ``dead_letters_current`` and writes ``dead_letters``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def current(self, origins: Iterable[Origin]) -> Mapping[Origin, DeadLetterRow]:
        offsets: dict[tuple[str, int], list[int]] = {}
        for origin in origins:
            offsets.setdefault((origin.topic, origin.partition), []).append(origin.offset)
        found = {}
        for (topic, partition), some in offsets.items():
            rows = self._rows(
                "origin_topic = {topic:String} AND origin_partition = {partition:Int32}"
                " AND origin_offset IN {offsets:Array(UInt64)}",
                {"topic": topic, "partition": partition, "offsets": sorted(some)},
            )
            found.update({Origin(topic=topic, partition=partition, offset=row.origin_offset): row for row in rows})
        return found

    def write(self, rows: Sequence[DeadLetterRow]) -> None:
        self._client.insert(
            "dead_letters",
            [list(row) for row in rows],
            column_names=list(DeadLetterRow._fields),
            settings={"async_insert": 0},
        )

    def select(
        self, *, status: Status | None, reason: Reason | None, since_ms: int | None, limit: int
    ) -> tuple[list[DeadLetterRow], int]:
        """The latest ``limit`` that fit, newest first, and how many fit altogether."""
        conditions = {
            "status = {status:String}": ("status", status.value if status else None),
            "reason = {reason:String}": ("reason", reason.value if reason else None),
            "failed_at >= fromUnixTimestamp64Milli({since:Int64})": ("since", since_ms),
        }
        wanted = {condition: bound for condition, bound in conditions.items() if bound[1] is not None}
        where = " AND ".join(wanted) or "1"
        parameters = dict(wanted.values())
        count = self._client.query(
            f"SELECT count() FROM dead_letters_current WHERE {where}",  # noqa: S608  (conditions are ours)
            parameters=parameters,
        ).result_rows[0][0]
        order = "ORDER BY failed_at DESC, origin_topic, origin_partition, origin_offset LIMIT {limit:UInt64}"
        return self._rows(f"{where} {order}", {**parameters, "limit": limit}), int(count)

    def _rows(self, where: str, parameters: dict[str, Any]) -> list[DeadLetterRow]:
        result = self._client.query(
            f"SELECT {_COLUMNS} FROM dead_letters_current WHERE {where}",  # noqa: S608  (columns and conditions are ours)
            parameters=parameters,
            query_formats=_MILLISECONDS,
        )
        return [DeadLetterRow._make(row) for row in result.result_rows]


@contextmanager
def open_table(settings: ClickHouseSettings) -> Iterator[ClickHouseDeadLetterTable]:
    """The table, for one command.

    Raises:
        TableError: in place of any error of ClickHouse, while connecting or later.
    """
    from streams.sinks.session import ClickHouseUnusableError, session

    try:
        with session(settings) as client:
            yield ClickHouseDeadLetterTable(client)
    except ClickHouseUnusableError as error:
        raise TableError(str(error)) from error
