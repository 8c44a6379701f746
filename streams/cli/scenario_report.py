"""What ``labelwatch evaluate detectors --scenario`` shows: incidents by kind, and false alerts by rule."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from detectors.incident_match import GRACE_MS
from streams.evaluate.scenario.play import LEAST_ANSWERS, LEAST_POINTS, Found, Played


@contextmanager
def runs_bar(runs: int, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """A bar on stderr: how many runs are done; it takes their number, parts of them counted."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
        task = bar.add_task(f"{runs} runs", total=runs)
        yield lambda done: bar.update(task, completed=done)


def as_tables(played: Sequence[Played]) -> Group:
    """Recall, delay and names by kind of incident; false alerts a week by rule."""
    weeks = sum(one.weeks for one in played)
    found = [one for run in played for one in run.found]
    parts: list[Table] = []
    if found:
        parts.append(_incidents(found))
    parts.append(_false_alerts(played, weeks))
    return Group(*parts)


def _incidents(found: Sequence[Found]) -> Table:
    caption = (
        f"Due: costs {LEAST_POINTS:g} points and more, on {LEAST_ANSWERS} answers and more. Delays in minutes of event"
        f" time from an incident's start, of those found. Named: the first message that names a cause names the right"
        " one, of those found; at once: the very first message does."
    )
    table = Table(title="Incidents", caption=caption, caption_justify="left", title_justify="left")
    table.add_column("kind")
    for heading in ("incidents", "found", "due", "due, found", "delay p50", "delay p90", "named", "at once"):
        table.add_column(heading, justify="right")
    kinds = list(dict.fromkeys(one.true.incident.kind for one in found))
    for kind in kinds:
        table.add_row(kind, *_cells([one for one in found if one.true.incident.kind == kind]))
    table.add_section()
    table.add_row("all", *_cells(found))
    return table


def _cells(found: Sequence[Found]) -> Iterator[str]:
    due = [one for one in found if one.is_due]
    delays = sorted(one.delay_minutes for one in found if one.delay_minutes is not None)
    named = [one.is_named for one in found if one.is_named is not None]
    at_once = [one.is_named_at_once for one in found if one.is_named_at_once is not None]
    yield f"{len(found):,}"
    yield f"{sum(bool(one.told) for one in found) / len(found):.0%}"
    yield f"{len(due):,}"
    yield f"{sum(bool(one.told) for one in due) / len(due):.0%}" if due else "-"
    yield f"{quantile(delays, 0.5):,.0f}" if delays else "-"
    yield f"{quantile(delays, 0.9):,.0f}" if delays else "-"
    yield f"{sum(named) / len(named):.0%}" if named else "-"
    yield f"{sum(at_once) / len(at_once):.0%}" if at_once else "-"


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that at least this share is not above.

    >>> quantile([1.0, 2.0, 3.0], 0.5), quantile([1.0, 2.0, 3.0], 0.9)
    (2.0, 3.0)
    """
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def _false_alerts(played: Sequence[Played], weeks: float) -> Table:
    grace = f"{GRACE_MS // 3_600_000} h"
    caption = (
        f"{len(played)} runs, {weeks:.1f} simulated weeks, {sum(one.answers for one in played):,} answers. False: of no"
        f" incident, from its start until {grace} after its end. Warm-up included. Stale: of them, found in time, told"
        " when it was over."
    )
    table = Table(title="False alerts", caption=caption, caption_justify="left", title_justify="left")
    table.add_column("rule")
    table.add_column("alerts", justify="right")
    table.add_column("a week", justify="right")
    table.add_column("stale", justify="right")
    counts = Counter(told.fired.rule for one in played for told in one.false)
    stale = Counter(told.fired.rule for one in played for told in one.stale)
    for rule, count in counts.most_common():
        table.add_row(rule, f"{count:,}", f"{count / weeks:.2f}", f"{stale[rule]:,}")
    table.add_section()
    table.add_row("all", f"{counts.total():,}", f"{counts.total() / weeks:.2f}", f"{stale.total():,}")
    return table
