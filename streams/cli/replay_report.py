"""What ``labelwatch replay`` shows: progress while it runs, the summary and the rejected rows at its end."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

from schemas.times import format_utc
from streams.sources.replay import Progress, ReplayReport
from streams.sources.source import Rejected

PLAIN_EVERY_SECONDS = 5.0
BAR_EVERY_SECONDS = 0.1


@contextmanager
def progress_display(total: int | None, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal, a line every few seconds elsewhere. Both on stderr."""
    if not sys.stderr.isatty():
        yield _plain(total, clock)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s  rejected {task.fields[rejected]:,}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replay", total=total, rate=0.0, rejected=0)
        shown = clock()

        def show(report: ReplayReport) -> None:
            nonlocal shown
            if clock() - shown >= BAR_EVERY_SECONDS:
                shown = clock()
                done = sum(report.by_topic.values()) + report.rejected
                bar.update(task, completed=done, rate=report.per_second, rejected=report.rejected)

        yield show


def _plain(total: int | None, clock: Callable[[], float]) -> Progress:
    shown = clock()

    def show(report: ReplayReport) -> None:
        nonlocal shown
        if clock() - shown < PLAIN_EVERY_SECONDS:
            return
        shown = clock()
        done = sum(report.by_topic.values()) + report.rejected
        of, left = "", ""
        if total:
            of = f" of about {total:,}"
            seconds = report.seconds * max(0, total - done) / done if done else 0.0
            left = f", {seconds:,.0f} s left"
        rate = f"{report.per_second:,.0f}/s"
        click.echo(f"replaying: {done:,}{of}, {rate}, {report.rejected:,} rejected{left}", err=True)

    return show


class RejectsFile:
    """Rejected rows as CSV: file, row, column, reason."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(("file", "row", "column", "reason"))

    def add(self, rejected: Rejected) -> None:
        """Append one."""
        self._writer.writerow((rejected.file, rejected.row, rejected.column or "", rejected.reason))

    def close(self) -> None:
        """Write out and close."""
        self._file.close()


def echo_summary(report: ReplayReport, *, dry_run: bool) -> None:
    """What was sent and what was not, on stdout."""
    verb = "would send" if dry_run else "sent"
    topics = ", ".join(f"{count:,} to {topic}" for topic, count in sorted(report.by_topic.items()))
    rate = "" if dry_run else f" ({report.per_second:,.0f}/s)"
    messages = "message" if report.sent == 1 else "messages"
    click.echo(f"{verb} {report.sent:,} {messages} in {report.seconds:.1f} s{rate}" + (f": {topics}" if topics else ""))
    if report.first_event_ms is not None and report.last_event_ms is not None:
        first, last = (
            format_utc(datetime.fromtimestamp(ms / 1_000, UTC)) for ms in (report.first_event_ms, report.last_event_ms)
        )
        click.echo(f"event time {first} to {last}")
    click.echo(f"rejected {report.rejected:,} {'row' if report.rejected == 1 else 'rows'}")
    for (column, reason), group in sorted(report.groups.items(), key=lambda item: -item[1].count):
        click.echo(f"  {group.count:,} x {f'column {column}: ' if column else ''}{reason}")
        for example in group.examples:
            click.echo(f"      {example}")
    if report.interrupted:
        again = "what is sent again within a day of event time is dropped as a duplicate, older events count again"
        click.echo(f"interrupted: the rest was not sent; {again}", err=True)
