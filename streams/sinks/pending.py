"""Rows that were added and not yet written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from schemas.rows import Row
from streams.sinks.tables import require_known


class Pending:
    """Rows by table, and since when the oldest of them waits. ``clock`` gives seconds; its zero does not matter."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._rows: dict[str, list[Row]] = {}
        self._since: float | None = None
        self.count = 0

    def add(self, table: str, rows: Sequence[Row]) -> None:
        require_known(table)
        if not rows:
            return
        self._rows.setdefault(table, []).extend(rows)
        self.count += len(rows)
        if self._since is None:
            self._since = self._clock()

    def oldest_age(self, now: float) -> float:
        """Seconds that the oldest row has waited at ``now`` (of the same clock); 0 when there is none."""
        return 0.0 if self._since is None else max(0.0, now - self._since)

    def take(self) -> tuple[Mapping[str, list[Row]], float | None]:
        """Everything, with the time of the oldest; nothing is pending afterwards."""
        taken = self._rows, self._since
        self._rows, self._since, self.count = {}, None, 0
        return taken

    def restore(self, rows: Mapping[str, list[Row]], since: float | None) -> None:
        """Put back what ``take`` returned, before whatever was added since: later rows must stay later."""
        for table, earlier in rows.items():
            self._rows[table] = earlier + self._rows.get(table, [])
            self.count += len(earlier)
        if since is not None:
            self._since = since
