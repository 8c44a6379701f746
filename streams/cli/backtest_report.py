"""What ``labelwatch thresholds backtest`` shows to people. Times are event times, in UTC."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.scope import KEY_FIELDS
from streams.alert_text import METRIC_WORDS, duration, levels
from streams.backtest.backtest import WEEK_MS, Backtest, Ran
from streams.backtest.compare import KINDS, Difference
from streams.backtest.fired import Fired
from streams.backtest.scores import Scores
from streams.cli.dlq_output import printable

#: More are in --json and --log.
_SHOWN: Final = 50
_WEEKS_SHOWN: Final = 8
_STYLES: Final = {"new": "red", "gone": "green", "earlier": "yellow", "later": "yellow", "same": "dim"}


def print_report(result: Backtest, scores: Scores | None, other_scores: Scores | None) -> None:
    """Everything, to standard output."""
    console = Console(width=None if sys.stdout.isatty() else 132, highlight=False)
    span = (
        f"{moment(result.span.since_ms)} to {moment(result.end_ms)} ({duration(result.end_ms - result.span.since_ms)})"
    )
    click.echo(f"Rules of {printable(result.tried.name)} from {span}, on {result.answers:,} answers.")
    alerts = _alerts(result)
    if alerts.row_count:
        console.print(alerts)
    else:
        click.echo("No alert would have fired.")
    total = len(result.differences) if result.other else len(result.tried.fired)
    if total > _SHOWN:
        click.echo(f"{_SHOWN} of {total:,} alerts; --json and --log FILE have all of them.")
    console.print(_rules(result))
    for sentence in _notes(result.tried):
        click.echo(sentence)
    if result.other is not None:
        _print_differences(result, result.other)
    if scores is not None:
        _print_scores(console, result, scores, other_scores)


def warnings(result: Backtest) -> Iterator[str]:
    """What makes the result say less than it seems to."""
    missing_ms = result.first_ms - result.span.from_ms
    if result.first_ms >= result.span.since_ms:
        yield (
            f"history begins at {moment(result.first_ms)}, so there was no warm-up: detectors learn from the very "
            "answers that they judge, and find less at first"
        )
    elif missing_ms > WEEK_MS // 7:
        had = duration(result.span.since_ms - result.first_ms)
        yield f"history begins at {moment(result.first_ms)}: detectors had {had} to warm up, not the time asked for"
    if result.other is not None and not result.other.rules:
        yield (
            f"history has no rules, so {result.other.name} has none either: it began after they came into force. "
            "Hold against a file (--against OLD), or read further back (--source clickhouse)"
        )
    for ran in (result.tried, result.other):
        for name, reason in ran.problems.items() if ran else ():
            yield f"rule {name} of {ran.name if ran else ''} does not run at the volume that it meets: {reason}"


def moment(at_ms: int) -> str:
    """A time to the minute, with its zone.

    >>> moment(1_767_603_600_000)
    '2026-01-05 09:00 UTC'
    """
    return f"{_minute(at_ms)} UTC"


def what_fired(fired: Fired) -> str:
    """What an alert is about, from what to what."""
    rule, figures = fired.alert.rule, fired.alert.figures
    metric = METRIC_WORDS.get(rule.metric, rule.metric.replace("_", " "))
    if figures is None:
        return f"{metric}: nothing comes"
    before, after = levels(rule.metric, figures.baseline, figures.level)
    of = f" of {figures.labelers} labelers" if figures.labelers else ""
    return f"{metric}{of} {before} to {after}"


def whom(fired: Fired) -> str:
    """The scope of an alert in a few words."""
    scope = fired.alert.scope
    names = [getattr(scope, name) for name in reversed(KEY_FIELDS[scope.kind])]
    return " / ".join(name for name in names if name) or ("all work" if scope.text == "all" else scope.text)


def _alerts(result: Backtest) -> Table:
    """Those that would have fired; beside other rules also those that would not have."""
    table = Table(title="Alerts that would have fired")
    for heading in ("fired (UTC)", "rule", "who", "what", "told", "lasted"):
        table.add_column(heading, overflow="fold")
    found = result.differences or [Difference("new", one, None) for one in result.tried.fired]
    if result.other is not None:
        table.add_column(Text(f"against {printable(result.other.name)}"), overflow="fold")
    for one in found[:_SHOWN]:
        fired = one.shown
        cells = [
            _minute(fired.fired_ms),
            fired.key.rule,
            printable(whom(fired)),
            what_fired(fired),
            _told(fired),
            _lasted(fired, result.end_ms),
        ]
        if result.other is not None:
            cells.append(_kind(one))
        table.add_row(*map(Text, cells), style=_STYLES[one.kind] if result.other is not None else "")
    return table


def _kind(one: Difference) -> str:
    return f"{duration(abs(one.later_ms))} {one.kind}" if one.later_ms else one.kind


def _told(fired: Fired) -> str:
    if fired.told_ms is None:
        return f"no: {fired.alert.held or 'held'}"
    return "at once" if fired.told_ms == fired.fired_ms else f"after {duration(fired.told_ms - fired.fired_ms)}"


def _lasted(fired: Fired, end_ms: int) -> str:
    lasted = duration(fired.lasted_ms(end_ms))
    if fired.resolved_ms is None:
        return f"{lasted}, and on"
    return lasted if fired.ended == "recovered" else f"{lasted}, {fired.ended.replace('_', ' ')}"


def _rules(result: Backtest) -> Table:
    """How often each rule fires, beside how often it may be wrong."""
    table = Table("rule", title="By rule and week")
    columns = ["alerts", "a week", "may be wrong\na week"]
    others = result.by_week(result.other) if result.other else {}
    if result.other is not None:
        columns.insert(1, f"against\n{printable(result.other.name)}")
    for heading in columns:
        table.add_column(Text(heading), justify="right")
    table.add_column("week by week" if result.weeks <= _WEEKS_SHOWN else f"the last {_WEEKS_SHOWN} weeks")
    by_week = result.by_week(result.tried)
    budgets = {rule.name: f"{rule.false_alarms_per_week:g}" for rule in result.tried.rules}
    for name in [*by_week, *(name for name in others if name not in by_week)]:
        counts = by_week.get(name, [])
        cells = [
            f"{sum(counts):,}",
            _rate(sum(counts), result),
            budgets.get(name, "-"),
        ]
        if result.other is not None:
            cells.insert(1, f"{sum(others[name]):,}" if name in others else "-")
        table.add_row(Text(name), *map(Text, cells), Text(" ".join(map(str, counts[-_WEEKS_SHOWN:]))))
    return table


def _notes(ran: Ran) -> Iterator[str]:
    silent = sum(one.told_ms is None for one in ran.fired)
    if silent:
        yield f"Of {silent:,} nobody would have been told: quiet hours, or a broader alert said it."
    if ran.calmed:
        yield f"{ran.calmed:,} more were over before they had lasted for as long as their rules ask (for)."
    if ran.open_before:
        yield f"{ran.open_before:,} had fired before, and were still open when it began."


def _print_differences(result: Backtest, other: Ran) -> None:
    found = result.differences
    counts = [f"{sum(one.kind == kind for one in found):,} {kind}" for kind in KINDS]
    click.echo(f"Against {printable(other.name)}: {', '.join(counts)}.")


def _print_scores(console: Console, result: Backtest, scores: Scores, other: Scores | None) -> None:
    table = Table("began (UTC)", "kind", "who", "points", "told after", "by", title="Incidents")
    for incident, alerts, delay_ms in scores.found[:_SHOWN]:
        names = [*incident.labeler_ids[:3], incident.vendor_id, incident.project_id, incident.task_type]
        who = " / ".join(name for name in names if name) or "everybody"
        if len(incident.labeler_ids) > 3:
            who = f"{len(incident.labeler_ids)} labelers: {who}"
        points = "" if incident.points is None else f"{incident.points:g}"
        by = ", ".join(dict.fromkeys(alert.key.rule for alert in alerts))
        cells = (f"{incident.start:%Y-%m-%d %H:%M}", incident.kind, printable(who), points)
        late = "missed" if delay_ms is None else duration(delay_ms)
        table.add_row(*map(Text, (*cells, late, by)), style="red" if delay_ms is None else "")
    if table.row_count:
        console.print(table)
    if scores.outside:
        click.echo(f"Not judged, because they began before or after: {scores.outside:,}.")
    click.echo(_scored(result, result.tried, scores))
    if other is not None and result.other is not None:
        click.echo(_scored(result, result.other, other))


def _scored(result: Backtest, ran: Ran, scores: Scores) -> str:
    found = sum(one.delay_ms is not None for one in scores.found)
    parts = [f"{found} of {len(scores.found)} incidents found{_share('recall', scores.recall)}"]
    if scores.delay_ms is not None:
        parts.append(f"told after {duration(int(scores.delay_ms))} (median)")
    rate = f" ({_rate(len(scores.false), result)} a week)" if result.weeks >= 1 else ""
    parts.append(f"{len(scores.false)} of {scores.told} alerts false{rate}{_share('precision', scores.precision)}")
    return f"{printable(ran.name)}: {'; '.join(parts)}."


def _rate(count: int, result: Backtest) -> str:
    """Of less than a week nobody can tell."""
    return f"{count / result.weeks:.2g}" if result.weeks >= 1 else "-"


def _share(name: str, value: float | None) -> str:
    return "" if value is None else f", {name} {100.0 * value:.0f} %"


def _minute(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1_000, UTC):%Y-%m-%d %H:%M}"
