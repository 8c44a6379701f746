"""What ``labelwatch forecast`` shows: sentences and a table for people, one object for programs. Times are UTC."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from detectors.capacity import DAY_MS
from schemas.times import format_utc
from streams.cli.dlq_output import printable
from streams.work_forecast import Deadline, Forecast

#: People come in campaigns if they came on fewer than this share of the days, or if the ends of the date's 90 %
#: interval are this factor apart, and days. More than half of such dates were missed in back-tests; a steady team's
#: factor is 2.
CAMPAIGNS_BELOW: Final = 0.5
UNEVEN_FACTOR: Final = 5.0
UNEVEN_FROM_MS: Final = 3 * DAY_MS
#: A history that ends so long before the forecast begins may be one that goes on no more.
SILENT_MS: Final = 7 * DAY_MS
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SHADES: Final = " ░▒▓█"


def moment(at_ms: float) -> str:
    """A time to the minute, with its zone.

    >>> moment(1_767_603_600_000), moment(math.inf)
    ('2026-01-05 09:00 UTC', 'in over 100 years')
    """
    if math.isinf(at_ms):
        return "in over 100 years"
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M} UTC"


def as_object(forecast: Forecast) -> dict[str, Any]:
    """The forecast under the names that docs/capacity.md explains."""
    question, history, deadline = forecast.question, forecast.history, forecast.deadline
    return {
        "project_id": question.project_id,
        "as_of": _iso(question.now_ms),
        "history_from": _iso(history.from_ms),
        "history_annotations": history.annotations,
        "history_labelers": history.labelers,
        "history_labeler_hours": round(history.hours, 4),
        "history_by_days": history.supply.knows_hours,
        "history_units": len(history.supply.labelers),
        "history_units_worked": history.worked,
        "labelers_usual": round(history.supply.usual_labelers, 2),
        "labeler_hours_by_hour_of_week": [[round(float(hours), 4) for hours in day] for day in history.week],
        "tasks": question.tasks,
        "overlap": question.overlap,
        "tasks_begun": forecast.begun.tasks,
        "annotations_given": forecast.begun.answers,
        "annotations_missing": forecast.missing,
        "seconds_per_annotation": round(forecast.seconds, 3),
        "labeler_hours": {name: round(hours, 4) for name, hours in forecast.hours._asdict().items()},
        "labelers": question.labelers,
        "done_at": {name: _iso(at) for name, at in forecast.done._asdict().items()},
        "deadline": None if deadline is None else _iso(deadline.at_ms),
        "probability_by_deadline": None if deadline is None else round(deadline.probability, 4),
        "labelers_needed_50": None if deadline is None else deadline.labelers_50,
        "labelers_needed_90": None if deadline is None else deadline.labelers_90,
        "seed": question.seed,
        "warnings": warnings(forecast),
    }


def print_object(found: dict[str, Any]) -> None:
    """On stdout, in one line."""
    click.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))


def _iso(at_ms: float) -> str | None:
    if math.isinf(at_ms):
        return None
    return format_utc(datetime.fromtimestamp(round(at_ms / 1_000), UTC))


def warnings(forecast: Forecast) -> list[str]:
    """What a person should know before they promise anything."""
    question, history = forecast.question, forecast.history
    said = []
    if not history.supply.knows_hours:
        said.append(
            "less than three days of history: nothing is known of hours of the day, and the date is taken as if work"
            " went on around the clock"
        )
    elif _in_campaigns(forecast):
        said.append(
            f"people came unevenly, and on {history.worked} of {len(history.supply.labelers)} days: in back-tests on"
            " such campaigns the date was missed more often than not; trust the labeler-hours, not the date"
        )
    if (silent := question.now_ms - history.last_ms) >= SILENT_MS:
        said.append(f"nobody has worked for {silent // DAY_MS} days: the date supposes that they come again")
    return said


def _in_campaigns(forecast: Forecast) -> bool:
    history, now_ms = forecast.history, forecast.question.now_ms
    if history.worked < CAMPAIGNS_BELOW * len(history.supply.labelers):
        return True
    soonest, latest = (at - now_ms for at in (forecast.done.low_90, forecast.done.high_90))
    return latest > UNEVEN_FROM_MS and latest > UNEVEN_FACTOR * soonest


def print_report(forecast: Forecast) -> None:
    """Sentences and figures on stdout, warnings on stderr."""
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    console.print(printable(sentence(forecast)), markup=False, soft_wrap=not sys.stdout.isatty())
    console.print(_figures(forecast))
    console.print(_week(forecast))
    for said in warnings(forecast):
        click.echo(f"Note: {said}.", err=True)


def sentence(forecast: Forecast) -> str:
    """What comes out, in words."""
    question, hours, done = forecast.question, forecast.hours, forecast.done
    who = "those who came" if question.labelers is None else f"{question.labelers:,} labelers"
    said = (
        f"{forecast.missing:,} annotations are missing, about {_hours(hours.median)} labeler-hours of work. "
        f"With {who} they are done by {moment(done.median)} in 5 of 10 cases, by {moment(done.high_90)} in 19 of 20."
    )
    return said if forecast.deadline is None else f"{said} {_of_deadline(forecast, forecast.deadline)}"


def _of_deadline(forecast: Forecast, deadline: Deadline) -> str:
    said = f"By {moment(deadline.at_ms)} they are with a probability of {deadline.probability:.0%}"
    if deadline.labelers_90 is None:
        return f"{said}; nobody has been coming at such times, so that no number of labelers would be sure to do it."
    time = "a day" if forecast.history.supply.knows_hours else "at a time"
    return f"{said}; to be so in 9 of 10 cases takes {deadline.labelers_90:,} labelers {time}."


def _figures(forecast: Forecast) -> Table:
    table = Table(caption=_made_from(forecast), caption_justify="left")
    for heading in ("", "5 %", "25 %", "median", "75 %", "95 %"):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("labeler-hours that remain", *map(_hours, forecast.hours))
    table.add_row("done (UTC)", *(moment(at).removesuffix(" UTC").replace(" ", "\n", 1) for at in forecast.done))
    if forecast.deadline is not None:
        needed = [forecast.deadline.labelers_50, forecast.deadline.labelers_90]
        low, high = ("-" if count is None else f"{count:,}" for count in needed)
        table.add_section()
        table.add_row("labelers needed for the deadline", "", "", f"{low}\nin 5 of 10", "", f"{high}\nin 9 of 10")
    return table


def _made_from(forecast: Forecast) -> str:
    question, history = forecast.question, forecast.history
    unit = "day" if history.supply.knows_hours else f"{history.supply.unit_ms / 3_600_000:.1f} h"
    return (
        f"{question.tasks:,} tasks x {question.overlap} annotations, {forecast.begun.answers:,} given already on "
        f"{forecast.begun.tasks:,} begun tasks; {forecast.seconds:.1f} s an annotation. Made from "
        f"{history.annotations:,} annotations by {history.labelers:,} labelers in {_hours(history.hours)} "
        f"labeler-hours from {moment(history.from_ms)} to {moment(question.now_ms)}; "
        f"{history.supply.usual_labelers:.1f} labelers a "
        f"worked {unit}, {history.worked:,} of {len(history.supply.labelers):,} worked; seed {question.seed}."
    )


def _week(forecast: Forecast) -> Table:
    """When labeler-hours came, by hour of the week."""
    week = forecast.history.week
    most = float(week.max()) or 1.0
    table = Table(title="When labeler-hours came, UTC", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    table.add_column("0     6     12    18    ", no_wrap=True)
    table.add_column("hours", justify="right")
    for name, day in zip(_DAYS, week, strict=True):
        cells = (math.ceil(float(hours) / most * (len(_SHADES) - 1)) for hours in day)
        table.add_row(name, "".join(_SHADES[cell] for cell in cells), _hours(float(day.sum())))
    return table


def _hours(hours: float) -> str:
    """Three digits, or all that stand before the point.

    >>> _hours(0.1234), _hours(12.345), _hours(1234.5)
    ('0.123', '12.3', '1,234')
    """
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
