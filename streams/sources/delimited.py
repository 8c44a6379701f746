"""Delimited files (CSV, TSV, with or without a header), read by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streams.sources.mapped_events import Record, read_records
from streams.sources.mapping import Mapping
from streams.sources.source import Item, Rejected, SourceError
from streams.sources.text_files import Table, read_table


class Delimited:
    """Rows of delimited files as annotations or reviews, by event time.

    Args:
        paths: files with the same columns; an invented clock runs through them in this order.
        mapping: what the columns mean.
        project_id, task_type, vendor_id: where the mapping does not say.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        mapping: Mapping,
        *,
        project_id: str | None = None,
        task_type: str | None = None,
        vendor_id: str | None = None,
    ) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._mapping = mapping
        self._defaults = {"project_id": project_id, "task_type": task_type, "vendor_id": vendor_id}
        self._cached: list[Table] | None = None

    def estimate(self) -> int:
        """How many items there are, exactly.

        Raises:
            SourceError: a file cannot be read.
        """
        return sum(len(table.rows) + len(table.rejected) for table in self._tables())

    def __iter__(self) -> Iterator[Item]:
        """Rejected rows, then events by event time.

        Raises:
            SourceError: a file cannot be read or lacks a column of the mapping, or the mapping is incomplete.
        """
        records: list[Record] = []
        rejected: list[Rejected] = []
        before = 0
        for table in self._tables():
            at = {column: index for index, column in enumerate(table.header)}
            records.extend(
                Record(table.file, row.number, before + row.number - 1, _cells(row.cells, at), "\x1f".join(row.cells))
                for row in table.rows
            )
            rejected.extend(table.rejected)
            before += len(table.rows) + len(table.rejected)
        yield from read_records(records, self._mapping, self._defaults, rejected)

    def _tables(self) -> list[Table]:
        if self._cached is None:
            self._cached = [self._open(path) for path in self._paths]
        return self._cached

    def _open(self, path: Path) -> Table:
        table = read_table(path, delimiter=self._mapping.delimiter, columns=self._mapping.columns)
        for key, column in self._mapping.used_columns():
            if column not in table.header:
                known = ", ".join(table.header[:20])
                raise SourceError(f"{path}, header: no column {column!r} (the mapping's {key}); it has: {known}")
        return table


def _cells(cells: list[str], at: dict[str, int]) -> Callable[[str], str]:
    return lambda column: cells[at[column]]
