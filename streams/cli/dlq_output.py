"""How ``labelwatch dlq`` shows things. What a message held is never printed raw: it may steer a terminal."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from schemas.rows import DeadLetterRow

if TYPE_CHECKING:
    from streams.dead_letters import ReplayReport

FORMATS: Final = ("table", "json", "csv")
_SHOWN_CHARS: Final = 60


def printable(text: str) -> str:
    """Control characters and the like as escapes.

    >>> print(printable("red \\x1b[31m"))
    red \\x1b[31m
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def age(of: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits.

    >>> now = datetime(2026, 1, 5, tzinfo=UTC)
    >>> age(datetime(2026, 1, 2, 23, tzinfo=UTC), now), age(datetime(2026, 1, 4, 23, tzinfo=UTC), now), age(now, now)
    ('2d', '1h', '0s')
    """
    seconds = max(0, int((now - of).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def print_letters(letters: Sequence[DeadLetterRow], form: str, now: datetime) -> None:
    """To standard output: a table, one JSON object a line, or CSV with a header."""
    if form == "table":
        _print_table(letters, now)
        return
    records = [_record(letter) for letter in letters]
    if form == "json":
        for record in records:
            click.echo(json.dumps(record, ensure_ascii=False))
        return
    writer = csv.DictWriter(sys.stdout, DeadLetterRow._fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)


def _record(letter: DeadLetterRow) -> dict[str, Any]:
    record = {name: printable(value) if isinstance(value, str) else value for name, value in letter._asdict().items()}
    failed_at = datetime.fromtimestamp(letter.failed_at / 1_000, UTC)
    return {**record, "failed_at": failed_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


def _print_table(letters: Sequence[DeadLetterRow], now: datetime) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("age", "reason", "detail", "origin", "first bytes", "status")
    for letter in letters:
        start = printable(letter.first_bytes[: _SHOWN_CHARS + 1])
        start = start if len(start) <= _SHOWN_CHARS else start[:_SHOWN_CHARS] + "..."
        cells = (
            age(datetime.fromtimestamp(letter.failed_at / 1_000, UTC), now),
            letter.reason,
            printable(letter.detail),
            f"{letter.origin_topic}/{letter.origin_partition} at {letter.origin_offset}",
            f"{start} ({letter.payload_bytes:,} bytes)",
            letter.status,
        )
        table.add_row(*(Text(cell) for cell in cells))  # Text: no markup is read out of a message
    Console().print(table)


def print_replay(report: ReplayReport, *, dry_run: bool) -> None:
    """What a replay did, per reason and as a sum."""
    from rich.console import Console
    from rich.table import Table

    from streams.dead_letters import Action

    shown = [action for action in Action if report.counts[action]]
    if not shown:
        click.echo("No dead letters to replay.")
        return
    table = Table(
        "reason", *(action.value for action in shown), title="Dry run: nothing was changed" if dry_run else ""
    )
    for reason in sorted({reason for reason, _ in report.by_reason}):
        table.add_row(reason, *(f"{report.by_reason.get((reason, action), 0):,}" for action in shown))
    table.add_section()
    table.add_row("all", *(f"{report.counts[action]:,}" for action in shown))
    Console().print(table)
