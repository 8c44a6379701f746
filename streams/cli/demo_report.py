"""What ``labelwatch demo`` prints at the end: segments by hour, what was hidden, whom not to trust, and the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.sources.simulate import Truth

#: Fewer comparisons than this in an hour say nothing about agreement.
MIN_COMPARED: Final = 10
#: Fewer bars than this show no change; figures give way to them.
_MIN_BARS: Final = 12
#: Hours a bar that people count in.
_STEPS: Final = (1, 2, 3, 4, 6, 8, 12, 24)
#: Blanks between two columns of the table.
_GAP: Final = 2
#: What the bars are called, and what stands in their place, by the room there is.
_BARS_NAMES: Final = ("agreement with consensus", "agreement")
_FREE_TEXTS: Final = ("free text: no majority to agree with", "free text")
_BARS: Final = "▁▂▃▄▅▆▇█"
_LOW, _HIGH = 0.4, 1.0
_BAD, _WARN = 0.6, 0.75
#: A spammer score below it is a spammer's, or nearly.
_BLIND, _DIM = 0.1, 0.3

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
_LABELERS_SQL = """
SELECT labeler_id, project_id, accuracy, accuracy_low, accuracy_high, effective_labels,
       confused_true, confused_answer, confused_share, spammer_score
FROM labeler_leaderboard
WHERE accuracy_high IS NOT NULL
ORDER BY accuracy_high, project_id, labeler_id
LIMIT 8
"""
_COUNTS_SQL = """
SELECT sum(received), sum(accepted), sum(duplicates), sum(dead_letters) FROM source_progress_current
"""


def hours_table(client: Client, width: int) -> Table | str:
    """A line per project and vendor, with its agreement with consensus over time as a bar chart.

    Nothing is cut at ``width`` columns: a bar is as many hours as it takes, and where that leaves too few bars,
    the least telling figures are left out.
    """
    rows = client.query(_HOURS_SQL).result_rows
    hours = [hour for row in rows for hour, _, _ in row[6]]
    if not hours:
        return "Nothing was scored"
    first, last = min(hours), max(hours)
    total = int((last - first) / timedelta(hours=1)) + 1
    names = [("project", [row[0] for row in rows]), ("vendor", [row[1] for row in rows])]
    figures: list[tuple[str, list[Text]]] = [
        ("answers", [Text(f"{row[2]:,}") for row in rows]),
        ("agree", [_share(row[4]) for row in rows]),
        ("gold", [_share(row[3]) for row in rows]),
        ("AHT s", [Text(f"{row[5]:.1f}") for row in rows]),
    ]
    while (room := _room(width, names, figures)) < _MIN_BARS and figures:
        figures.pop()
    step = _step_hours(total, room)
    title = f"Quality by segment, {first:%d %b %H:%M} to {last:%d %b %H:%M} UTC, a bar every "
    table = Table(
        title=title + ("hour" if step == 1 else f"{step} hours"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
    )
    for name, _ in names:
        table.add_column(name, overflow="fold")
    for name, cells in figures:
        wide = _widest(name, cells)
        table.add_column(name, justify="right", no_wrap=True, min_width=wide)
    over_time = next((name for name in _BARS_NAMES if len(name) <= room), "")
    table.add_column(over_time, no_wrap=True, min_width=-(-total // step))
    previous = None
    for at, (project, vendor, _, _, agreement, _, by_hour) in enumerate(rows):
        if previous not in (None, project):
            table.add_row()
        bars = _by_step(by_hour, first, total, step)
        free_text = next((text for text in _FREE_TEXTS if len(text) <= room), "-")
        table.add_row(
            "" if project == previous else project,
            vendor,
            *(cells[at] for _, cells in figures),
            _bars(bars) if agreement is not None else Text(free_text, style="dim"),
        )
        previous = project
    return table


def _widest(name: str, cells: Iterable[Sized]) -> int:
    return max(len(name), *map(len, cells))


def _room(
    width: int, names: Iterable[tuple[str, Sequence[Sized]]], figures: Iterable[tuple[str, Sequence[Sized]]]
) -> int:
    """Columns that are left for the bars."""
    return width - sum(_widest(name, cells) + _GAP for name, cells in (*names, *figures))


def _step_hours(total_hours: int, room: int) -> int:
    """Hours a bar, so that all bars find room: a step that people count in, if a day is enough."""
    needed = max(1, -(-total_hours // max(room, _MIN_BARS)))
    return next((step for step in _STEPS if step >= needed), needed)


def _by_step(
    by_hour: Iterable[tuple[datetime, int, int]], first: datetime, total: int, step: int
) -> list[tuple[int, int]]:
    """Compared and agreed, by bar."""
    bars: list[tuple[int, int]] = [(0, 0)] * -(-total // step)
    for hour, seen, agreed in by_hour:
        at = int((hour - first) / timedelta(hours=1)) // step
        bars[at] = (bars[at][0] + seen, bars[at][1] + agreed)
    return bars


def incidents_table(truth: Truth) -> Table:
    """What the simulation had hidden in the stream, and when."""
    table = Table(title="What was hidden in it", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("incident", overflow="fold")
    table.add_column("where", overflow="fold")
    for name in ("from (UTC)", "to"):
        table.add_column(name, no_wrap=True, min_width=len("05 Jan 00:00"))
    for incident in truth.incidents:
        where = ", ".join([*incident.projects, *incident.vendors]) or "everywhere"
        table.add_row(incident.id, where, f"{incident.start:%d %b %H:%M}", f"{incident.end:%d %b %H:%M}")
    return table


def labelers_table(client: Client, truth: Truth, width: int) -> Table | str:
    """The labelers who are surely worst, as far as was learned from their answers, beside what the simulation knows.

    Of ratings and subjective work there is no interval, and so nothing is sure. Where ``width`` columns do not hold
    everything, the least telling columns are left out; names and incidents take another line before they are cut.
    """
    rows = client.query(_LABELERS_SQL).result_rows
    if not rows:
        return "No labeler was judged"
    known = [_really(truth, labeler_id, project_id) for labeler_id, project_id, *_ in rows]
    columns: dict[str, list[Text]] = {
        "labeler": [Text(row[0]) for row in rows],
        "project": [Text(row[1]) for row in rows],
        "accuracy": [_interval(*row[2:5]) for row in rows],
        "labels": [Text(f"{row[5]:,.0f}") for row in rows],
        "takes for": [_pair(*row[6:9]) for row in rows],
        "spammer": [_dash() if row[9] is None else Text(f"{row[9]:.2f}", style=_blindness(row[9])) for row in rows],
        "really": [share for share, _ in known],
        "because of": [incidents for _, incidents in known],
    }
    for name in ("labels", "spammer", "takes for"):
        if _room(width, (), columns.items()) < 0:
            del columns[name]
    explained = {
        "accuracy": "accuracy: believed at the end, with its 90 % interval; worst by the upper bound first",
        "labels": "labels: what that rests on, those before a change counted for little",
        "takes for": "takes for: the pair confused most, true label first",
        "spammer": "spammer: 0 answers blindly, 1 tells the truth each time",
        "really": "really: share of right answers in the simulation, from first to last",
    }
    table = Table(
        title="Least reliable labelers",
        title_justify="left",
        caption="; ".join(text for name, text in explained.items() if name in columns),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, _GAP - 1, 0, 0),
        pad_edge=False,
    )
    for name, cells in columns.items():
        is_figure = name in ("accuracy", "labels", "spammer", "really")
        wide = _widest(name, cells) if is_figure else None
        table.add_column(
            name, justify="right" if is_figure else "left", no_wrap=is_figure, min_width=wide, overflow="fold"
        )
    for cells_of_row in zip(*columns.values(), strict=True):
        table.add_row(*cells_of_row)
    return table


def _really(truth: Truth, labeler_id: str, project_id: str) -> tuple[Text, Text]:
    """Share of right answers, and what made them wrong."""
    labeler = next((one for one in truth.labelers if one.labeler_id == labeler_id), None)
    if labeler is None:
        return _dash(), _dash()
    periods = [one for one in labeler.accuracy if one.project_id == project_id and one.answered]
    answered = sum(one.answered for one in periods)
    reasons = ["poor from the start"] if any(bad.incident is None for bad in labeler.bad) else []
    reasons += dict.fromkeys(incident for one in periods for incident in one.incidents)
    share = _share(sum(one.right for one in periods) / answered if answered else None)
    return share, Text(", ".join(reasons)) if reasons else _dash()


def _interval(accuracy: float, low: float, high: float) -> Text:
    return Text(f"{accuracy:.0%} ({100 * low:.0f}-{100 * high:.0f})", style=_style(accuracy))


def _pair(true: str, answer: str, share: float | None) -> Text:
    return _dash() if share is None else Text(f"{true} → {answer} {share:.0%}")


def _blindness(score: float) -> str:
    return "red" if score < _BLIND else "yellow" if score < _DIM else "green"


def _dash() -> Text:
    return Text("-", style="dim")


def counts(client: Client, seconds: float) -> str:
    """One line: every message is accounted for."""
    received, accepted, duplicates, dead = client.query(_COUNTS_SQL).result_rows[0]
    return (
        f"{received:,} messages: {accepted:,} accepted, {duplicates:,} duplicates dropped, "
        f"{dead:,} dead letters; {seconds:.0f} s in all"
    )


def _share(value: float | None) -> Text:
    return _dash() if value is None else Text(f"{value:.1%}", style=_style(value))


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
