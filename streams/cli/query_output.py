"""How ``labelwatch query`` prints rows. Each writer takes names, rows and a limit (0: none), writes to
standard output, and returns how many rows it printed and whether more were there."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from numbers import Number
from typing import Any, Final

from streams.cli.dlq_output import printable

_WIDEST: Final = 100_000
Writer = Callable[[Sequence[str], Iterable[Sequence[Any]], int], tuple[int, bool]]


def format_value(value: object) -> str:
    """A value as a table or CSV shows it: times in UTC with a Z, nothing for NULL.

    >>> format_value(datetime(2026, 1, 5, 9, 0, 0, 250_000, tzinfo=UTC))
    '2026-01-05 09:00:00.250Z'
    >>> format_value({"cat": 2}), format_value(None), format_value(0.1 + 0.2)
    ('{"cat": 2}', '', '0.3')
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case datetime():
            moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
            return moment.isoformat(" ", "milliseconds" if moment.microsecond else "seconds")[:-6] + "Z"
        case dict() | list() | tuple():
            return json.dumps(_plain(value), ensure_ascii=False)
        case bytes():
            return value.decode(errors="backslashreplace")
        case _:
            return str(value)


def _cell(value: object) -> str:
    """As `format_value`, safe on a terminal: labels come from labelers, and may hold what steers it."""
    return printable(format_value(value))


def _plain(value: object) -> object:
    """The value in JSON's own types. Integers above 2^53 stay integers: JSON has no limit, readers may."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else None  # JSON has neither NaN nor infinity
        case Decimal():
            return str(value)
        case datetime():
            return format_value(value).replace(" ", "T")
        case date():
            return value.isoformat()
        case dict():
            return {str(_plain(key)): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return format_value(value)


class _Limited:
    """The first rows; counts them and knows whether there were more."""

    def __init__(self, rows: Iterable[Sequence[Any]], limit: int) -> None:
        self._rows, self._limit = iter(rows), limit
        self.shown, self.cut = 0, False

    def __iter__(self) -> Iterator[Sequence[Any]]:
        for row in islice(self._rows, self._limit or None):
            self.shown += 1
            yield row
        self.cut = bool(self._limit) and next(self._rows, None) is not None

    @property
    def counts(self) -> tuple[int, bool]:
        return self.shown, self.cut


def write_table(names: Sequence[str], rows: Iterable[Sequence[Any]], limit: int) -> tuple[int, bool]:
    """A table for people, numbers to the right; one block a row where a terminal is too narrow for the table."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    limited = _Limited(rows, limit)
    kept = list(limited)
    table = Table()
    for index, name in enumerate(names):
        values = [row[index] for row in kept if row[index] is not None]
        numeric = bool(values) and all(isinstance(v, Number) and not isinstance(v, bool) for v in values)
        table.add_column(Text(printable(name)), justify="right" if numeric else "left", no_wrap=True)
    for row in kept:
        table.add_row(*(Text(_cell(value)) for value in row))  # Text: labels may hold rich's [markup]
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    if console.is_terminal and needed > console.width:
        _write_blocks(names, kept)
    else:  # a pipe has no width: nothing is folded or cut there
        Console(width=max(needed, 1)).print(table)
    return limited.counts


def _write_blocks(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    names = [printable(name) for name in names]
    widest = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        sys.stdout.write(f"{f'-- row {number} ':-<{widest + 20}}\n")
        sys.stdout.writelines(f"{name:<{widest}}  {_cell(v)}\n" for name, v in zip(names, row, strict=True))


def write_json(names: Sequence[str], rows: Iterable[Sequence[Any]], limit: int) -> tuple[int, bool]:
    """One JSON object a line."""
    limited = _Limited(rows, limit)
    for row in limited:
        sys.stdout.write(json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False) + "\n")
    return limited.counts


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], limit: int) -> tuple[int, bool]:
    """CSV with a header, as in RFC 4180 but for plain line ends; NULL is an empty field."""
    limited = _Limited(rows, limit)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in limited:
        writer.writerow([repr(value) if isinstance(value, float) else format_value(value) for value in row])
    return limited.counts


WRITERS: Final[dict[str, Writer]] = {"table": write_table, "json": write_json, "csv": write_csv}
