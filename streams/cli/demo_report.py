"""What ``labelwatch demo`` prints at the end: segments by hour, what was hidden in the stream, and the counts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.sources.simulate import Simulation

#: Fewer comparisons than this in an hour say nothing about agreement.
MIN_COMPARED: Final = 10
#: Columns that the table needs beside the bars.
_OTHER_COLUMNS: Final = 68
_BARS: Final = "▁▂▃▄▅▆▇█"
_LOW, _HIGH = 0.4, 1.0
_BAD, _WARN = 0.6, 0.75

_HOURS_SQL = """
SELECT project_id, vendor_id,
       sum(annotations), sum(gold_right) / nullIf(sum(gold_seen), 0),
       sum(consensus_agreed) / nullIf(sum(consensus_seen), 0),
       sum(handling_seconds) / sum(annotations),
       groupArray((hour, consensus_seen, consensus_agreed))
FROM quality_by_hour
GROUP BY project_id, vendor_id
ORDER BY project_id, vendor_id
"""
_COUNTS_SQL = """
SELECT sum(received), sum(accepted), sum(duplicates), sum(dead_letters) FROM source_progress_current
"""


def hours_table(client: Client, width: int) -> Table:
    """A line per project and vendor, with its agreement with consensus over time as a bar chart.

    A bar is as many hours as it takes to fit ``width`` columns.
    """
    rows = client.query(_HOURS_SQL).result_rows
    hours = [hour for row in rows for hour, _, _ in row[6]]
    if not hours:
        return Table(title="Nothing was scored")
    first, last = min(hours), max(hours)
    total = int((last - first) / timedelta(hours=1)) + 1
    step = max(1, -(-total // max(12, width - _OTHER_COLUMNS)))
    each = "hour" if step == 1 else f"{step} hours"
    table = Table(
        title=f"Quality by segment, {first:%d %b %H:%M} to {last:%d %b %H:%M} UTC, a bar every {each}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("project", no_wrap=True)
    table.add_column("vendor", no_wrap=True)
    for name in ("answers", "gold", "agree", "AHT s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("agreement with consensus", no_wrap=True)
    previous = None
    for project, vendor, answers, gold, agreement, aht, by_hour in rows:
        if previous not in (None, project):
            table.add_row()
        bars: list[tuple[int, int]] = [(0, 0)] * -(-total // step)
        for hour, seen, agreed in by_hour:
            at = int((hour - first) / timedelta(hours=1)) // step
            bars[at] = (bars[at][0] + seen, bars[at][1] + agreed)
        table.add_row(
            "" if project == previous else project,
            vendor,
            f"{answers:,}",
            _share(gold),
            _share(agreement),
            f"{aht:.1f}",
            _bars(bars) if agreement is not None else Text("free text: no majority to agree with", style="dim"),
        )
        previous = project
    return table


def incidents_table(simulation: Simulation) -> Table:
    """What the simulation had hidden in the stream, and when."""
    table = Table(title="What was hidden in it", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("incident", "where", "from (UTC)", "to"):
        table.add_column(name)
    for incident in simulation.truth().incidents:
        where = ", ".join([*incident.projects, *incident.vendors]) or "everywhere"
        table.add_row(incident.id, where, f"{incident.start:%d %b %H:%M}", f"{incident.end:%d %b %H:%M}")
    return table


def counts(client: Client, seconds: float) -> str:
    """One line: every message is accounted for."""
    received, accepted, duplicates, dead = client.query(_COUNTS_SQL).result_rows[0]
    return (
        f"{received:,} messages: {accepted:,} accepted, {duplicates:,} duplicates dropped, "
        f"{dead:,} dead letters; {seconds:.0f} s in all"
    )


def _share(value: float | None) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(f"{value:.1%}", style=_style(value))


def _style(value: float) -> str:
    return "red" if value < _BAD else "yellow" if value < _WARN else "green"


def _bars(measured: list[tuple[int, int]]) -> Text:
    text = Text()
    for seen, agreed in measured:
        if seen < MIN_COMPARED:
            text.append(" ")
            continue
        value = agreed / seen
        level = min(max((value - _LOW) / (_HIGH - _LOW), 0.0), 0.999)
        text.append(_BARS[int(level * len(_BARS))], style=_style(value))
    return text
