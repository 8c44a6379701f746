"""Records of any file, by a mapping, to events; or to the reason why not."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath

from pydantic import ValidationError

from schemas.events import MAX_ID_CHARS, AnnotationEvent, FeatureValue, ReviewEvent
from schemas.labels import Label
from schemas.times import to_ms
from streams.sources.answers import LabelKind, infer_kind, to_gold, to_label
from streams.sources.mapped_times import parse_time
from streams.sources.mapping import FILE, FROM_COMMAND_LINE, ROW, Mapping, fill_template
from streams.sources.rejection import explain
from streams.sources.source import Item, Rejected, SourceError
from streams.sources.text_files import parse_number

MAX_FEATURE_CHARS = 1_000
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class Record:
    """One row of one file. ``cell(column)`` is its text there, '' where there is none."""

    file: str
    number: int
    position: int
    """Among the rows of all files, from 0: what an invented clock counts."""
    cell: Callable[[str], str]
    content: str
    """The whole row, for a hash."""


class _RefusedError(Exception):
    """This row cannot become an event; carries the column and the reason."""

    def __init__(self, column: str | None, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def read_records(
    records: Sequence[Record], mapping: Mapping, defaults: dict[str, str | None], rejected: Sequence[Rejected]
) -> Iterator[Item]:
    """Rejected rows, then events by event time.

    Args:
        records: rows of all files, in order.
        mapping: what the columns mean.
        defaults: ``project_id``, ``task_type`` and ``vendor_id`` where the mapping does not say.
        rejected: rows that did not even become records.

    Raises:
        SourceError: neither mapping nor defaults name a project, task type or vendor.
    """
    reader = _Reader(records, mapping, defaults)
    events: list[AnnotationEvent | ReviewEvent] = []
    yield from rejected
    for record in records:
        try:
            events.append(reader.read(record))
        except _RefusedError as error:
            yield Rejected(record.file, record.number, error.column, error.reason)
        except ValidationError as error:
            yield Rejected(record.file, record.number, *explain(error, reader.columns))
    events.sort(key=_event_ms)
    yield from events


def _event_ms(event: AnnotationEvent | ReviewEvent) -> int:
    return to_ms(event.submitted_at if isinstance(event, AnnotationEvent) else event.reviewed_at)


class _Reader:
    def __init__(self, records: Sequence[Record], mapping: Mapping, defaults: dict[str, str | None]) -> None:
        self._mapping = mapping
        self._constants = {name: str(value) for name, value in mapping.constants.items()}
        for name, value in defaults.items():
            if value is not None and name not in mapping.fields:
                self._constants.setdefault(name, value)
        needed = FROM_COMMAND_LINE if mapping.event == "annotation" else ("project_id",)
        for name in needed:
            if name not in mapping.fields and name not in self._constants:
                option = "--" + name.removesuffix("_id").replace("_", "-")
                raise SourceError(
                    f"the mapping names no {name}: add fields.{name} or constants.{name}, or pass {option}"
                )
        self.columns: dict[str, str | None] = dict(mapping.fields)
        self.columns["active_seconds"] = mapping.fields.get("seconds")
        answers = mapping.fields.get("label" if mapping.event == "annotation" else "true_label")
        self._kind: LabelKind = mapping.label.kind or (
            infer_kind([record.cell(answers) for record in records]) if answers else "class"
        )
        self._page_rows = Counter(self._page(record) for record in records) if mapping.page else Counter()
        self._seen: dict[str, Record] = {}

    def read(self, record: Record) -> AnnotationEvent | ReviewEvent:
        """The record's event.

        Raises:
            _RefusedError, ValidationError: there is none.
        """
        if self._mapping.event == "review":
            return self._review(record)
        return self._annotation(record)

    def _annotation(self, record: Record) -> AnnotationEvent:
        submitted_at = self._event_time(record, "submitted_at")
        seconds = self._seconds(record)
        if "started_at" in self._mapping.fields:
            started_at = self._time(record, "started_at")
        else:
            assert seconds is not None  # the mapping was checked for one of the two
            started_at = submitted_at - timedelta(seconds=seconds)
        if self._mapping.page:
            whole = (submitted_at - started_at).total_seconds() if seconds is None else seconds
            seconds = whole / self._page_rows[self._page(record)]
        label = self._label(record, "label")
        assert label is not None
        event_id = self._event_id(record)
        event = AnnotationEvent.model_validate(
            {
                **self._plain(record, "task_id", "labeler_id", "project_id", "vendor_id", "task_type"),
                **({"labeler_kind": kind} if (kind := self._value(record, "labeler_kind")) else {}),
                "event_id": event_id,
                "label": label,
                "gold_label": self._gold(record, label),
                "started_at": started_at,
                "submitted_at": submitted_at,
                "active_seconds": seconds,
                "features": self._features(record),
            }
        )
        self._seen[event_id] = record
        return event

    def _review(self, record: Record) -> ReviewEvent:
        return ReviewEvent.model_validate(
            {
                **self._plain(record, "task_id", "project_id", "reviewer_id"),
                "labeler_id": self._value(record, "labeler_id") or None,
                "true_label": self._label(record, "true_label") if self._value(record, "true_label") else None,
                "accepted": self._boolean(record, "accepted"),
                "reviewed_at": self._event_time(record, "reviewed_at"),
            }
        )

    def _value(self, record: Record, name: str) -> str:
        column = self._mapping.fields.get(name)
        return self._constants.get(name, "") if column is None else record.cell(column).strip()

    def _plain(self, record: Record, *names: str) -> dict[str, str]:
        values = {name: self._value(record, name) for name in names}
        for name, value in values.items():
            if not value:
                raise _RefusedError(self.columns.get(name), "no value")
        return values

    def _event_time(self, record: Record, name: str) -> datetime:
        clock = self._mapping.clock
        if clock is None:
            return self._time(record, name)
        return clock.start + timedelta(seconds=clock.step_seconds * record.position)

    def _time(self, record: Record, name: str) -> datetime:
        try:
            return parse_time(self._value(record, name), self._mapping.time)
        except ValueError as error:
            raise _RefusedError(self.columns.get(name), str(error)) from None

    def _seconds(self, record: Record) -> float | None:
        if "seconds" not in self._mapping.fields and "seconds" not in self._constants:
            return None
        cell = self._value(record, "seconds")
        number = parse_number(cell)
        if number is None or not 0 <= number <= 1e9:
            reason = f"{cell[:40]!r} is not a number of seconds" if cell else "no value"
            raise _RefusedError(self.columns.get("seconds"), reason)
        return float(number)

    def _label(self, record: Record, name: str) -> Label | None:
        column = self._mapping.fields.get(name)
        cell = self._constants.get(name, "") if column is None else record.cell(column)
        try:
            return to_label(cell, self._kind)
        except ValidationError as error:
            raise _RefusedError(column, explain(error, {})[1]) from None
        except ValueError as error:
            raise _RefusedError(column, str(error)) from None

    def _gold(self, record: Record, answer: Label) -> Label | None:
        column = self._mapping.fields.get("gold_label")
        if column is None:
            return None
        try:
            return to_gold(record.cell(column), self._kind, answer)
        except ValidationError as error:
            raise _RefusedError(column, explain(error, {})[1]) from None
        except ValueError as error:
            raise _RefusedError(column, str(error)) from None

    def _boolean(self, record: Record, name: str) -> bool | None:
        cell = self._value(record, name).lower()
        if cell and cell not in _BOOLEANS:
            raise _RefusedError(self.columns.get(name), f"{cell[:40]!r} is neither true nor false")
        return _BOOLEANS.get(cell)

    def _features(self, record: Record) -> dict[str, FeatureValue]:
        features: dict[str, FeatureValue] = {}
        for name, column in self._mapping.feature_columns().items():
            cell = record.cell(column).strip()
            if cell:
                number = parse_number(cell)
                features[name] = cell[:MAX_FEATURE_CHARS] if number is None else number
        return features

    def _page(self, record: Record) -> tuple[str, ...]:
        return (record.file, *(record.cell(column) for column in self._mapping.page or ()))

    def _event_id(self, record: Record) -> str:
        base = PurePath(record.file).name
        if "event_id" in self._mapping.fields or "event_id" in self._constants:
            event_id = self._plain(record, "event_id")["event_id"]
        elif self._mapping.event_id is not None:
            values = {name: record.cell(name).strip() for name in self._mapping.template_columns()}
            event_id = fill_template(self._mapping.event_id, {**values, FILE: base, ROW: str(record.number)})
        else:
            # Rows with a time are the same event if they say the same. Without one, only the place tells them apart.
            place = [base, record.number] if self._mapping.clock is not None else []
            event_id = _digest([self._value(record, "project_id"), record.content, *place])
        if len(event_id) > MAX_ID_CHARS:
            event_id = _digest([event_id])
        earlier = self._seen.get(event_id)
        if earlier is not None:
            same = "the same row" if earlier.content == record.content else "the same event_id"
            reason = f"{same} was read already ({earlier.file}, row {earlier.number})"
            raise _RefusedError(self.columns.get("event_id"), reason)
        return event_id


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
