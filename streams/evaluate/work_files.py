"""Annotations of any source, as the model of handling times takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detectors.expected_time import Work
from schemas.events import AnnotationEvent
from streams.sources.answers import LabelKind
from streams.sources.delimited import Delimited
from streams.sources.figure_eight import FigureEight
from streams.sources.json_lines import JsonLines
from streams.sources.mapping import load_mapping
from streams.sources.source import Rejected, Source
from streams.timed_work import timed_work


class ReadWorks(NamedTuple):
    """Annotations in the source's order, and the rows that are none."""

    works: list[Work]
    rejected: list[Rejected]


def open_source(
    kind: str,
    files: Sequence[Path],
    mapping: Path | None,
    project_id: str,
    task_type: str,
    vendor_id: str,
    *,
    label_column: str | None = None,
    label_kind: LabelKind | None = None,
) -> Source:
    """The source of a kind (``figure-eight``, ``csv`` or ``jsonl``); what the mapping or the file says wins.

    Raises:
        SourceError: the mapping is missing or refused.
        ValueError: no such kind, or ``csv`` without a mapping.
    """
    if kind == "figure-eight":
        return FigureEight(
            files, project_id, task_type, vendor_id=vendor_id, label_column=label_column, label_kind=label_kind
        )
    read = None if mapping is None else load_mapping(mapping)
    if kind == "jsonl":
        return JsonLines(files, read, project_id=project_id, task_type=task_type, vendor_id=vendor_id)
    if kind != "csv" or read is None:
        raise ValueError(f"{kind!r} is no kind of source, or has no mapping")
    return Delimited(files, read, project_id=project_id, task_type=task_type, vendor_id=vendor_id)


def read_works(source: Source) -> ReadWorks:
    """All annotations of a source; reviews say nothing of time, and are left out.

    Raises:
        SourceError: the source cannot be read.
    """
    works: list[Work] = []
    rejected: list[Rejected] = []
    for item in source:
        if isinstance(item, AnnotationEvent):
            works.append(timed_work(item))
        elif isinstance(item, Rejected):
            rejected.append(item)
    return ReadWorks(works, rejected)
