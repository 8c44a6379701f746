"""What ``labelwatch evaluate detectors`` shows: one table of all methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streams.evaluate.detectors import BEFORE, HORIZON, SPREAD, Drop, Row


@contextmanager
def methods_bar(*, shown: bool) -> Iterator[Callable[[str], None]]:
    """A bar on stderr that names the method that is running; none where it is not to be ``shown``."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task("labelwatch", total=None)
        yield lambda what: bar.update(task, description=what)


def as_table(
    rows: list[list[Row]], drops: list[Drop], arl: float, *, null_only: bool, times: dict[str, float] | None = None
) -> Table:
    """A line a method; of delays the median and the ninth decile for each drop; ``times`` in microseconds a value."""
    level = drops[0].level
    budget = f"{1_000.0 / arl:.3f} false alarms per 1,000 answers (ARL {arl:,.0f})"
    caption = f"Right answers in control: {level:g}; budget: {budget}. River's defaults, last 10 and always have none."
    if not null_only:
        caption += (
            f" Delays in answers, from a drop after {BEFORE} to {BEFORE + SPREAD} answers, missed: not"
            f" within {HORIZON:,}."
        )
    shown = {of_method[0].method for of_method in rows}
    if away := [name for name in ("adwin", "page_hinkley", "kswin") if name not in shown]:
        caption += f" Not calibrated for this budget: {', '.join(away)}."
    caption += " Of hours, and of many labelers: python -m benchmarks.rule_budgets, few_labelers."
    table = Table(caption=caption, caption_justify="left")
    table.add_column("method")
    for heading in ("runs", "ARL", "false per\n1,000"):
        table.add_column(heading, justify="right")
    for drop in () if null_only else drops:
        for heading in ("p50", "p90", "missed"):
            after = f"{drop.after:g}".replace("0.", ".")
            table.add_column(f"to {after}\n{heading}", justify="right")
    if times:
        table.add_column("us a\nvalue", justify="right")
    for of_method in rows:
        first = of_method[0]
        cells = [first.title, f"{first.runs:,}", run_length(first), f"{first.false_per_1000:.3f}"]
        for row in () if null_only else of_method:
            missed = "-" if row.missed is None else f"{row.missed:.0%}"
            cells += [_delay(row.delay_p50), _delay(row.delay_p90), missed]
        if times:
            cells.append(f"{times[first.method]:.1f}")
        table.add_row(*cells)
    return table


def run_length(row: Row) -> str:
    """The ARL; or that it is long, where there was no false alarm (three and fewer are likely at a third of it).

    >>> run_length(Row("a", "A", 1, arl=6_712.3)), run_length(Row("a", "A", 1, watched=30_000.0))
    ('6,712', '> 10,000')
    """
    return f"> {row.watched / 3.0:,.0f}" if row.arl is None else f"{row.arl:,.0f}"


def _delay(answers: float | None) -> str:
    return "-" if answers is None else f"{answers:,.0f}"


def print_table(table: Table) -> None:
    """On stdout, wide enough for files."""
    Console(width=None if sys.stdout.isatty() else 120).print(table)
