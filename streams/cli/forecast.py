"""``labelwatch forecast``: how much work remains, when it will be done, and how many people a deadline takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from streams.cli.since import Since, since_ms

if TYPE_CHECKING:
    from streams.settings import ClickHouseSettings
    from streams.work_forecast import Forecast, Question


class _Moment(click.ParamType):
    """Option type: a time in ISO 8601; gives milliseconds since the epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from schemas.times import parse_utc, to_ms

        if isinstance(value, int):
            return value
        try:
            return to_ms(parse_utc(str(value).strip()))
        except ValueError as error:
            self.fail(f"{error}. Write a time such as 2026-02-01T17:00:00Z", param, ctx)


@click.command(
    epilog="""\b
Examples:
  labelwatch forecast --project captions --tasks 2000 --overlap 3
  labelwatch forecast --project captions --tasks 2000 --overlap 3 --deadline 2026-02-01T17:00:00Z
  labelwatch forecast --project captions --tasks 2000 --overlap 3 --labelers 12 --since 8w
  labelwatch forecast --project captions --tasks 500 --overlap 5 --json | jq .done_at.high_90
\b
Exit codes: 0 forecast made, 1 no such project, no history or no ClickHouse, 2 wrong usage.
Keys of --json, and what the forecast can and cannot do: docs/capacity.md.
"""
)
@click.option("--project", required=True, metavar="P", help="The project, as in its annotations.")
@click.option(
    "--tasks",
    required=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Tasks still to be finished, begun ones among them: answers that they already have are taken off.",
)
@click.option(
    "--overlap",
    required=True,
    type=click.IntRange(1, 1_000),
    metavar="K",
    help="Annotations that each task needs, of different labelers.",
)
@click.option(
    "--labelers",
    type=click.IntRange(min=1),
    metavar="M",
    help="Plan with M labelers on each day that is worked. Default: with those who came.",
)
@click.option(
    "--deadline", type=_Moment(), metavar="T", help="Count the labelers needed by then; 2026-02-01T17:00:00Z."
)
@click.option(
    "--since", default="4w", show_default=True, metavar="WHEN", help="History that counts: an age (14d, 8w) or a time."
)
@click.option(
    "--as-of", type=Since(), metavar="WHEN", help="Forecast from then on, not knowing what followed.  [default: now]"
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the simulation: same seed, same answer.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def forecast(
    project: str,
    tasks: int,
    overlap: int,
    labelers: int | None,
    deadline: int | None,
    since: str,
    as_of: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Forecast the remaining labeler-hours, the finishing date and the labelers that a deadline takes.

    Handling times of the project's people give the hours that N x K annotations take, less those given; the hours at
    which people came give the date. All times are UTC. Intervals: in 5 of 10 cases, and in 9 of 10, it comes out
    within, as far as work goes on as it did. It does so for teams; crowds that come in campaigns finish late.
    """
    from streams.cli.forecast_report import as_object, print_object, print_report
    from streams.settings import load_settings
    from streams.work_forecast import Question

    now_ms = time.time_ns() // 1_000_000 if as_of is None else as_of
    try:
        start_ms = since_ms(since, now_ms)
    except ValueError as error:
        raise click.BadParameter(f"{error}. Write an age (14d, 8w) or a time", param_hint="'--since'") from None
    question = Question(project, tasks, overlap, now_ms, start_ms, labelers, deadline, seed)
    _refuse(question)
    answer = _answer(question, load_settings().clickhouse)
    if as_json:
        print_object(as_object(answer))
    else:
        print_report(answer)


def _refuse(question: Question) -> None:
    from streams.cli.forecast_report import moment

    if question.since_ms >= question.now_ms:
        raise click.BadParameter(
            f"{moment(question.since_ms)} is not before {moment(question.now_ms)}, from when on is forecast",
            param_hint="'--since'",
        )
    if question.deadline_ms is not None and question.deadline_ms <= question.now_ms:
        raise click.BadParameter(
            f"{moment(question.deadline_ms)} has passed: the forecast is made from {moment(question.now_ms)} on",
            param_hint="'--deadline'",
        )


def _answer(question: Question, settings: ClickHouseSettings) -> Forecast:
    from streams.cli.clickhouse import clickhouse_client, read_only
    from streams.cli.dlq_output import printable
    from streams.work_forecast import NoHistoryError, answer
    from streams.work_history import WorkHistory

    try:
        with clickhouse_client(settings, use_database=True) as client:
            return answer(question, WorkHistory(client, read_only(client), question.project_id, question.now_ms))
    except NoHistoryError as error:
        raise click.ClickException(printable(str(error))) from None
