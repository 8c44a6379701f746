"""``labelwatch thresholds backtest``: rules on what was measured before, before they wake anybody."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from streams.cli.dlq_output import printable
from streams.cli.out_file import OutFile
from streams.cli.since import Since

if TYPE_CHECKING:
    from detectors.alerts.alert import Transition
    from schemas.incident import Incident
    from schemas.measurements import Measurements, RulesChange
    from streams.backtest.backtest import Backtest, Side, Span
    from streams.backtest.scores import Scores
    from streams.measurement_history import History
    from streams.settings import Settings

_FILE: Final = click.Path(path_type=Path)
CURRENT: Final = "current"


class _Age(click.ParamType):
    """Option type; gives milliseconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from schemas.duration import parse_duration

        try:
            return parse_duration(str(value)) * 1_000
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    epilog="""\b
Exit codes: 0 done, 1 a file is refused, or there is nothing to read, 2 wrong usage.
What is the same as in workers and what is not, and the keys of --json: docs/backtest.md.
\b
Examples:
  labelwatch thresholds backtest thresholds.yaml --since 7d
  labelwatch thresholds backtest new.yaml --since 4w --against current
  labelwatch thresholds backtest new.yaml --since 2026-01-05T00:00:00Z --until 2026-02-02T00:00:00Z \\
      --against old.yaml --incidents truth.csv --plot alerts.png
  labelwatch thresholds backtest new.yaml --since 7d --source kafka --log alerts.jsonl
  labelwatch thresholds backtest new.yaml --since 7d --json | jq '.rules[] | {name, alerts_by_week}'
"""
)
@click.argument("file", type=_FILE)
@click.option(
    "--since", required=True, type=Since(), metavar="WHEN", help="Alerts from then on: 30m, 7d, 4w, or a time."
)
@click.option("--until", type=Since(), metavar="WHEN", help="And before then.  [default: all there is]")
@click.option(
    "--warm-up",
    type=_Age(),
    default="14d",
    show_default=True,
    metavar="AGE",
    help="History that only teaches detectors.",
)
@click.option(
    "--source",
    type=click.Choice(["clickhouse", "kafka"]),
    default="clickhouse",
    show_default=True,
    help="ClickHouse keeps measurements for 400 days, the Kafka topic for 14.",
)
@click.option(
    "--against", metavar="OLD|current", help="Other rules to compare with: a file, or those in force at the time."
)
@click.option("--incidents", type=_FILE, metavar="FILE", help="What really happened, as CSV (docs/backtest.md).")
@click.option("--plot", type=OutFile(), metavar="PNG", help="A timeline of alerts and incidents. Needs matplotlib.")
@click.option("--log", type=OutFile(), metavar="FILE", help="Everything that became of alerts, a JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def backtest(
    file: Path,
    since: int,
    until: int | None,
    warm_up: int,
    source: str,
    against: str | None,
    incidents: Path | None,
    plot: Path | None,
    log: Path | None,
    as_json: bool,
) -> None:
    """Show the alerts that a file of rules would have fired on what was measured since then.

    The stored measurements run through the very detectors and the very life of alerts that workers run. Nobody is told,
    and nothing is changed. Times are event times.
    """
    from streams.backtest.backtest import Side, Span
    from streams.backtest.scores import score
    from streams.cli.backtest_object import as_object
    from streams.cli.backtest_report import moment, print_report, warnings
    from streams.settings import load_settings
    from streams.thresholds import ThresholdsError, load

    if until is not None and until <= since:
        raise click.BadParameter(f"{moment(until)} is not after --since, {moment(since)}", param_hint="'--until'")
    if plot is not None:
        _require_matplotlib()
    try:
        tried = Side(str(file), load(file))
        other = None if against is None else Side(against, None if against == CURRENT else load(Path(against)))
    except ThresholdsError as error:
        raise click.ClickException("\n".join(map(printable, error.lines()))) from None
    known = None if incidents is None else _incidents(incidents)
    settings = load_settings()
    history = open_history(settings, source)
    result = _run(settings, history, Span(since, until, warm_up), tried, other, log)
    for warning in warnings(result):
        click.secho(f"warning: {printable(warning)}", fg="yellow", err=True)
    scores: list[Scores | None] = [
        score(result, ran, known) if ran is not None and known is not None else None
        for ran in (result.tried, result.other)
    ]
    if plot is not None:
        from streams.backtest.timeline import draw

        try:
            draw(result, known or [], plot)
        except OSError as error:
            raise click.ClickException(f"{plot}: cannot be written: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps(as_object(result, *scores)))
    else:
        print_report(result, *scores)


def open_history(settings: Settings, source: str) -> History:
    """Where measurements are read from."""
    from streams.measurement_history import ClickHouseHistory, KafkaHistory

    if source == "kafka":
        return KafkaHistory(settings.kafka, settings.worker.app_id)
    return ClickHouseHistory(settings.clickhouse, settings.worker.app_id)


def _run(
    settings: Settings, history: History, span: Span, tried: Side, other: Side | None, log: Path | None
) -> Backtest:
    from streams.backtest.backtest import backtest as run
    from streams.measurement_history import HistoryError

    try:
        with ExitStack() as stack:
            write = stack.enter_context(_log(log)) if log is not None else lambda transition: None
            read = stack.enter_context(closing(_watched(history, span)))
            result = run(read, settings.worker.app_id, span, tried, other, log=write)
            _refuse_nothing(result, history, settings.worker.app_id)
    except HistoryError as error:
        raise click.ClickException(printable(str(error))) from None
    return result


def _refuse_nothing(result: Backtest, history: History, app_id: str) -> None:
    """End the command where there is nothing to judge by."""
    from streams.cli.backtest_report import moment

    if result.end_ms > result.span.since_ms:
        return
    if history.latest_ms:
        raise click.ClickException(
            f"nothing to read: the latest answer in the {history.name} is of {moment(history.latest_ms)}, and --since "
            f"is {moment(result.span.since_ms)}. Choose an earlier --since; times are those at which answers were given"
        )
    raise click.ClickException(
        f"nothing to read: the {history.name} has no measurements of {app_id}. Workers write them as they score; or "
        "set LABELWATCH_WORKER__APP_ID to the application that did"
    )


@contextmanager
def _log(path: Path) -> Iterator[Callable[[Transition], object]]:
    """A file that gets its name when all is in it."""
    from streams.backtest.log_line import log_line

    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield lambda transition: file.write(log_line(transition))
        part.replace(path)
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _watched(history: History, span: Span) -> Generator[Measurements | RulesChange]:
    """Messages, with a bar on a terminal that says how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar,
        closing(history.read(span.from_ms)) as reading,
    ):
        task = bar.add_task("measurements", total=1.0)
        shown = 0.0
        for message, share in reading:
            yield message
            if share >= shown + 0.001:
                shown = share
                bar.update(task, completed=share)


def _incidents(path: Path) -> list[Incident]:
    from schemas.incident import IncidentsError, read_incidents

    try:
        with path.open(encoding="utf-8", newline="") as file:
            return read_incidents(file, str(path))
    except IncidentsError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{path}: cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = f"{path}: is not text in UTF-8"
    raise click.ClickException(printable(reason))


def _require_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise click.UsageError("--plot needs matplotlib, which is not installed: pip install 'labelwatch[plot]'")
