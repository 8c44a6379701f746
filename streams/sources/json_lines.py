"""JSON Lines: records read by a mapping, or labelwatch's own events as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from schemas.events import AnnotationEvent, ReviewEvent
from schemas.times import to_ms
from streams.sources.mapped_events import Record, read_records
from streams.sources.mapping import Mapping
from streams.sources.rejection import explain
from streams.sources.source import Item, Rejected
from streams.sources.text_files import read_text


class JsonLines:
    """Lines of JSON files as annotations or reviews, by event time. Rows are lines; blank ones are skipped.

    Args:
        paths: files; an invented clock runs through them in this order.
        mapping: what the keys mean; None if the lines are labelwatch's own annotations and reviews.
        project_id, task_type, vendor_id: where the mapping does not say.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        mapping: Mapping | None = None,
        *,
        project_id: str | None = None,
        task_type: str | None = None,
        vendor_id: str | None = None,
    ) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._mapping = mapping
        self._defaults = {"project_id": project_id, "task_type": task_type, "vendor_id": vendor_id}
        self._cached: list[tuple[str, int, str]] | None = None

    def estimate(self) -> int:
        """How many items there are, exactly.

        Raises:
            SourceError: a file cannot be read.
        """
        return len(self._lines())

    def __iter__(self) -> Iterator[Item]:
        """Rejected lines, then events by event time.

        Raises:
            SourceError: a file cannot be read, or the mapping is incomplete.
        """
        rejected: list[Rejected] = []
        objects: list[tuple[str, int, int, str, dict[str, Any]]] = []
        for position, (file, number, line) in enumerate(self._lines()):
            try:
                value = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                rejected.append(Rejected(file, number, None, f"not JSON: {error}"))
                continue
            if not isinstance(value, dict):
                rejected.append(Rejected(file, number, None, "not a JSON object"))
                continue
            objects.append((file, number, position, line, value))
        if self._mapping is None:
            yield from _own_events(objects, rejected)
            return
        records = [
            Record(file, number, position, _values(value), line) for file, number, position, line, value in objects
        ]
        yield from read_records(records, self._mapping, self._defaults, rejected)

    def _lines(self) -> list[tuple[str, int, str]]:
        if self._cached is None:
            self._cached = [
                (str(path), number, line)
                for path in self._paths
                # Not splitlines: JSON strings may hold U+2028 and the like as they are.
                for number, line in enumerate(read_text(path).split("\n"), start=1)
                if line.strip()
            ]
        return self._cached


def _own_events(
    objects: Sequence[tuple[str, int, int, str, dict[str, Any]]], rejected: Sequence[Rejected]
) -> Iterator[Item]:
    events: list[tuple[int, AnnotationEvent | ReviewEvent]] = []
    yield from rejected
    for file, number, _, _, value in objects:
        try:
            if "reviewer_id" in value:
                review = ReviewEvent.model_validate(value)
                events.append((to_ms(review.reviewed_at), review))
            else:
                annotation = AnnotationEvent.model_validate(value)
                events.append((to_ms(annotation.submitted_at), annotation))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]["loc"]
            name = str(first[0]) if first else None
            yield Rejected(file, number, *explain(error, {name: name} if name else {}))
    events.sort(key=lambda pair: pair[0])
    yield from (event for _, event in events)


def _values(value: dict[str, Any]) -> Callable[[str], str]:
    return lambda path: _text(_at(value, path))


def _at(value: Any, path: str) -> Any:
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def _text(value: Any) -> str:
    """As a cell of a table would hold it: lists and objects stay JSON, null is blank."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
