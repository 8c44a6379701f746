"""What a sink is, and the one that keeps rows in memory (tests, offline evaluation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from schemas.rows import TABLES, Row
from streams.sinks.tables import KEYS, identity_of, require_known


class SinkError(Exception):
    """Rows can never be written as they are; the message names the table and the reason. Not retryable."""


class SinkStoppedError(Exception):
    """The worker is stopping while the sink is away. What was being written was not acknowledged."""


class Sink(Protocol):
    """Takes rows of ``schemas.rows``. Writing rows again changes nothing; a later version replaces an earlier one.

    It keeps nothing back: when to write, by number of events or by age, is the checkpoint's decision."""

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Write rows by table and return when they are durable. ``state`` goes last, and whole or not at all.

        Raises:
            SinkError: the rows can never be written.
            SinkStoppedError: told to stop while waiting for the sink to come back.
            KeyError: no such table.
        """
        ...

    async def read(self, table: str, **equals: Any) -> list[Row]:
        """Current rows whose columns equal the given values, or one of a list of values, ordered by identity.

        Deleted rows are not there.

        Raises:
            KeyError: no such table or column.
        """
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


class MemorySink:
    """Rows in memory, with ReplacingMergeTree's semantics: of one identity the highest version counts,
    and of equal versions the one written last."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[tuple[Any, ...], Row]] = {table: {} for table in TABLES}
        self.writes: list[dict[str, int]] = []
        """Rows by table of every write, for tests."""

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        for table in rows:
            require_known(table)
        for table, added in rows.items():
            stored, identity = self._rows[table], identity_of(table)
            version = TABLES[table]._fields.index(KEYS[table].version)
            for row in added:
                known = stored.get(key := identity(row))
                if known is None or row[version] >= known[version]:  # type: ignore[operator]  # versions are ints
                    stored[key] = row
        self.writes.append({table: len(added) for table, added in rows.items()})

    async def read(self, table: str, **equals: Any) -> list[Row]:
        return self.rows(table, **equals)

    def rows(self, table: str, **equals: Any) -> list[Row]:
        """As ``read``, without awaiting."""
        require_known(table)
        deleted = KEYS[table].deleted
        if deleted is not None:
            equals = {**equals, deleted: False}
        fields = TABLES[table]._fields
        wanted = [
            (_index(table, fields, column), value if isinstance(value, list) else [value])
            for column, value in equals.items()
        ]
        found = self._rows[table].items()
        return [row for _, row in sorted(found, key=lambda item: item[0]) if all(row[i] in v for i, v in wanted)]

    async def close(self) -> None:
        """Nothing to give up."""


def _index(table: str, fields: tuple[str, ...], column: str) -> int:
    if column not in fields:
        raise KeyError(f"{table} has no column {column!r}")
    return fields.index(column)
