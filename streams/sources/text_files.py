"""Text files, plain or gzip, and the tables in them: every error names the file, the row and the column."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from streams.sources.source import Rejected, SourceError

log = structlog.get_logger()

_GZIP_MAGIC = b"\x1f\x8b"
#: A cell larger than this is an unbalanced quote that swallowed the rows after it.
MAX_CELL_CHARS = 1_000_000
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number in the file (from 1, header excluded) and one cell a column."""

    number: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A delimited file as it stands: all cells are text, rows of the wrong width are set apart."""

    file: str
    header: tuple[str, ...]
    rows: list[Row]
    rejected: list[Rejected] = field(default_factory=list)

    def index(self, column: str) -> int:
        """Position of a column.

        Raises:
            SourceError: the file has no such column; names those it has.
        """
        try:
            return self.header.index(column)
        except ValueError:
            known = ", ".join(self.header[:40]) + (", ..." if len(self.header) > 40 else "")
            raise SourceError(f"{self.file}: no column {column!r}; the file has: {known}") from None


def read_text(path: Path) -> str:
    """The file's text: gzip by its first bytes or its name, UTF-8 (with or without BOM), else Latin-1 with a warning.

    Raises:
        SourceError: missing, not readable, or a broken gzip file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror})") from None
    if data.startswith(_GZIP_MAGIC) or path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise SourceError(f"{path}: not a whole gzip file ({error}); copy or download it again") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        log.warning("source.not_utf8", file=str(path), byte=error.start, read_as="latin-1")
        return data.decode("latin-1")


def read_table(path: Path, *, delimiter: str = ",", columns: Sequence[str] | None = None) -> Table:
    """A delimited file. ``columns`` names the columns of a file without a header; blank lines are skipped.

    Raises:
        SourceError: not readable, empty, a column named twice, or quotes that do not balance.
    """
    text = read_text(path)
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = tuple(columns) if columns is not None else None
    rows: list[Row] = []
    rejected: list[Rejected] = []
    number = 0
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = tuple(cell.strip() for cell in cells)
                continue
            number += 1
            if len(cells) != len(header):
                reason = f"row has {len(cells)} values, the {'mapping' if columns else 'header'} has {len(header)}"
                rejected.append(Rejected(str(path), number, None, reason))
            else:
                rows.append(Row(number, cells))
    except csv.Error as error:
        where = "header" if header is None else f"row {number + 1}"
        raise SourceError(f"{path}, {where}: not a delimited table ({error}); check its quotes") from None
    if header is None:
        raise SourceError(f"{path}: empty, there is not even a header")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise SourceError(f"{path}, header: column {twice[0]!r} is named more than once")
    return Table(str(path), header, rows, rejected)


def parse_number(cell: str) -> int | float | None:
    """The cell as a finite number, or None. Integers stay integers.

    >>> parse_number("44100"), parse_number("0.5254"), parse_number("1e999"), parse_number("1_000")
    (44100, 0.5254, None, None)
    """
    cell = cell.strip()
    if len(cell) > 40 or not _NUMBER.fullmatch(cell):
        return None
    value = float(cell)
    if value in (float("inf"), float("-inf")):
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
