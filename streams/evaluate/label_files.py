"""Labels and their truth from delimited files; the first thing wrong ends it with file, row, column and what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.times import parse_utc, to_ms
from streams.evaluate.dataset import Dataset, GivenLabel, first_labels
from streams.sources.source import SourceError
from streams.sources.text_files import Row, Table, parse_number, read_table

#: Where there is no column `time`, a second passes from row to row, from here.
INVENTED_START_MS = to_ms(datetime(2026, 1, 1, tzinfo=UTC))
INVENTED_STEP_MS = 1_000


class Read(NamedTuple):
    """What the files held, and how many rows were later labels of the same labeler on the same task."""

    dataset: Dataset
    repeated: int


def read_dataset(labels_file: Path, truth_file: Path) -> Read:
    """Labels (``item,worker,label[,seconds][,time]``) and truth (``item,truth``), CSV with a header, plain or gzip.

    Raises:
        SourceError: not readable, empty, a missing column, a blank or unusable cell, an item whose truth is given
            twice, or one without a label.
    """
    given = _read_labels(labels_file)
    if len({one.label for one in given}) < 2:
        raise SourceError(f"{labels_file}, column label: always {given[0].label!r}, so there is nothing to decide")
    truth = _read_truth(truth_file, labels_file, {one.task_id for one in given})
    labels = first_labels(given)
    return Read(Dataset(labels, truth), len(given) - len(labels))


def _read_labels(path: Path) -> list[GivenLabel]:
    wanted = ("item", "worker", "label")
    table = _table(path, wanted, "item,worker,label (and seconds and time, if known)")
    item, worker, label = (_column(table, name) for name in wanted)
    has_seconds = "seconds" in table.header
    time = _column(table, "time") if "time" in table.header else None
    given: list[GivenLabel] = []
    for row in table.rows:
        seconds = _seconds(table, row) if has_seconds else None
        at_ms = INVENTED_START_MS + len(given) * INVENTED_STEP_MS if time is None else _time_ms(table, row, time(row))
        given.append(GivenLabel(item(row), worker(row), label(row), at_ms, seconds))
    return given


def _read_truth(path: Path, labels_file: Path, known: set[str]) -> dict[str, str]:
    table = _table(path, ("item", "truth"), "item,truth")
    item, true_label = _column(table, "item"), _column(table, "truth")
    truth: dict[str, str] = {}
    for row in table.rows:
        name, label = item(row), true_label(row)
        if name not in known:
            raise _error(
                table,
                row,
                "item",
                f"{name!r} has no label in {labels_file}. Are the files of one set? Else leave it out",
            )
        if truth.setdefault(name, label) != label:
            raise _error(
                table, row, "truth", f"{label!r}, but an earlier row has {truth[name]!r} for {name!r}: keep one"
            )
    return truth


def _table(path: Path, wanted: tuple[str, ...], columns: str) -> Table:
    table = read_table(path)
    missing = [name for name in wanted if name not in table.header]
    if missing:
        has = ", ".join(table.header[:20]) + (", ..." if len(table.header) > 20 else "")
        raise SourceError(
            f"{path}, header: no column {missing[0]!r}; the file has: {has}. "
            f"Its first row must name the columns {columns}"
        )
    if table.rejected:
        raise SourceError(f"{table.rejected[0]}; give every row as many values as the header, or leave the row out")
    if not table.rows:
        raise SourceError(f"{path}: empty, there is no row below the header. Is it the right file?")
    return table


def _column(table: Table, name: str) -> Callable[[Row], str]:
    index = table.index(name)

    def cell(row: Row) -> str:
        text = row.cells[index].strip()
        if not text:
            raise _error(table, row, name, "blank. Fill it in, or leave the row out")
        return text

    return cell


def _seconds(table: Table, row: Row) -> float | None:
    """Handling time may be unknown (blank), but not nonsense: it would mean that the columns are shifted."""
    text = row.cells[table.index("seconds")].strip()
    seconds = parse_number(text)
    if text and (seconds is None or seconds < 0):
        raise _error(
            table, row, "seconds", f"{text[:40]!r} is not a finite number from 0 up. Leave it blank if unknown"
        )
    return seconds


def _time_ms(table: Table, row: Row, text: str) -> int:
    try:
        return to_ms(parse_utc(text))
    except ValueError as error:
        raise _error(table, row, "time", f"{error}. Write times like 2026-01-05T09:00:00Z") from None


def _error(table: Table, row: Row, column: str, reason: str) -> SourceError:
    return SourceError(f"{table.file}, row {row.number}, column {column}: {reason}")
