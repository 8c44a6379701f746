"""One row of a Figure Eight export to one annotation, or to the reason why not."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import datetime

from pydantic import ValidationError

from schemas.events import MAX_ID_CHARS, AnnotationEvent, FeatureValue
from streams.sources.answers import to_gold, to_label
from streams.sources.figure_eight_columns import ColumnRoles
from streams.sources.figure_eight_times import ExportTime, IdOrder, read_time
from streams.sources.rejection import explain
from streams.sources.source import Rejected
from streams.sources.text_files import Row, Table, parse_number

_FIELD_COLUMNS = {
    "event_id": "_id",
    "task_id": "_unit_id",
    "labeler_id": "_worker_id",
    "vendor_id": "_channel",
    "started_at": "_started_at",
    "submitted_at": "_created_at",
}
_BOOLEANS = {"true": True, "false": False, "": None}
MAX_FEATURE_CHARS = 1_000


class RowReader:
    """Reads the rows of one file."""

    def __init__(
        self, table: Table, roles: ColumnRoles, order: IdOrder, project_id: str, task_type: str, vendor_id: str | None
    ) -> None:
        self._file = table.file
        self._roles = roles
        self._order = order
        self._project_id = project_id
        self._task_type = task_type
        self._vendor_id = vendor_id
        self._at = {name: at for at, name in enumerate(table.header)}
        self._label_name = table.header[roles.label]
        self._columns: dict[str, str | None] = {
            **_FIELD_COLUMNS,
            "label": self._label_name,
            "gold_label": f"{self._label_name}_gold",
        }
        pages: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for row in table.rows:
            pages[self._page(row)].add(self._cell(row, "_id"))
        self._page_rows = {page: len(ids) for page, ids in pages.items()}

    def read(self, row: Row, seen: dict[str, str]) -> AnnotationEvent | Rejected:
        """The row's annotation. ``seen`` maps the ids met so far to where they stood, and is added to."""
        for column in ("_id", "_unit_id", "_worker_id"):
            if not self._cell(row, column):
                return self._reject(row, column, "no value")
        judgement = self._cell(row, "_id")
        if judgement in seen:
            return self._reject(row, "_id", f"judgement {judgement[:40]} was read already ({seen[judgement]})")
        try:
            golden = self._boolean(row, "_golden")
        except ValueError as error:
            return self._reject(row, "_golden", str(error))
        times = self._times(row)
        if isinstance(times, Rejected):
            return times
        started_at, submitted_at = times
        roles = self._roles
        try:
            label = to_label(row.cells[roles.label], roles.kind)
        except ValueError as error:
            return self._reject(row, self._label_name, _short(error))
        try:
            gold = None
            if roles.gold is not None and golden is not False:
                gold = to_gold(row.cells[roles.gold], roles.kind, label)
        except ValueError as error:
            return self._reject(row, f"{self._label_name}_gold", _short(error))
        try:
            event = AnnotationEvent(
                event_id=_event_id(self._project_id, judgement),
                task_id=self._cell(row, "_unit_id"),
                labeler_id=self._cell(row, "_worker_id"),
                project_id=self._project_id,
                vendor_id=self._cell(row, "_channel") or self._vendor_id or "",
                task_type=self._task_type,
                label=label,
                started_at=started_at,
                submitted_at=submitted_at,
                active_seconds=(submitted_at - started_at).total_seconds() / self._page_rows[self._page(row)],
                features=self._features(row),
                gold_label=gold,
            )
        except ValidationError as error:
            return self._reject(row, *explain(error, self._columns))
        seen[judgement] = f"{self._file}, row {row.number}"
        return event

    def _times(self, row: Row) -> tuple[datetime, datetime] | Rejected:
        parsed: dict[str, ExportTime] = {}
        for column in ("_started_at", "_created_at"):
            try:
                parsed[column] = read_time(self._cell(row, column))
            except ValueError as error:
                return self._reject(row, column, str(error))
        submitted, started = parsed["_created_at"], parsed["_started_at"]
        judgement = self._cell(row, "_id")
        try:
            number = int(judgement) if judgement.isascii() and judgement.isdigit() else None
            submitted_at = (
                submitted.readings()[0] if submitted.usual else self._order.choose(number, submitted.readings())
            )
        except ValueError as error:
            return self._reject(row, "_created_at", f"{self._cell(row, '_created_at')!r}: {error}")
        # Start and submit of one row were written by the same program, so month and day stand in the same order.
        month_first = submitted_at == submitted.month_first
        started_at = started.month_first if started.usual or month_first else started.day_first
        if started_at is None:
            return self._reject(row, "_started_at", "month and day stand in another order than in _created_at")
        if started_at > submitted_at:
            return self._reject(row, "_created_at", f"submitted at {submitted_at}, before its start at {started_at}")
        if started_at == submitted_at and not (started.has_seconds and submitted.has_seconds):
            return self._reject(
                row, "_created_at", "times without seconds, both in one minute: the handling time is not known"
            )
        return started_at, submitted_at

    def _features(self, row: Row) -> dict[str, FeatureValue]:
        features: dict[str, FeatureValue] = {}
        for name, at in self._roles.features:
            cell = row.cells[at].strip()
            if cell:
                number = parse_number(cell)
                features[name] = cell[:MAX_FEATURE_CHARS] if number is None else number
        return features

    def _page(self, row: Row) -> tuple[str, ...]:
        return tuple(self._cell(row, column) for column in ("_worker_id", "_started_at", "_created_at"))

    def _cell(self, row: Row, column: str) -> str:
        at = self._at.get(column)
        return "" if at is None else row.cells[at].strip()

    def _boolean(self, row: Row, column: str) -> bool | None:
        cell = self._cell(row, column)
        if cell.lower() not in _BOOLEANS:
            raise ValueError(f"{cell[:40]!r} is neither true nor false")
        return _BOOLEANS[cell.lower()]

    def _reject(self, row: Row, column: str | None, reason: str) -> Rejected:
        return Rejected(self._file, row.number, column, reason)


def _event_id(project_id: str, judgement: str) -> str:
    event_id = f"{project_id}:{judgement}"
    return event_id if len(event_id) <= MAX_ID_CHARS else hashlib.sha256(event_id.encode()).hexdigest()


def _short(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return explain(error, {})[1]
    return str(error)
