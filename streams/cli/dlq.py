"""``labelwatch dlq``: what was refused and why, and sending it again."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from schemas.dead_letter import Reason
from streams.cli.dlq_output import FORMATS, print_letters, print_replay
from streams.cli.since import Since

if TYPE_CHECKING:
    from streams.dead_letters import Validate
    from streams.settings import Settings

_REASON = click.Choice([reason.value for reason in Reason])


@click.group(
    epilog="""\b
Examples:
  labelwatch dlq list                                    what is still open, the latest first
  labelwatch dlq list --reason unknown_label --since 24h --format csv
  labelwatch dlq replay --dry-run                        what a replay would do
  labelwatch dlq replay --on-error requeue               send again what is good by now, keep the rest
"""
)
def dlq() -> None:
    """Dead letters: messages that were refused for good, with reason, origin and payload."""


@dlq.command("list")
@click.option("--reason", type=_REASON, metavar="REASON", help=f"Only these: {', '.join(_REASON.choices)}.")
@click.option("--since", type=Since(), metavar="WHEN", help="30m, 24h, 7d, or a time such as 2026-01-05T09:00:00Z.")
@click.option(
    "--status",
    type=click.Choice(["open", "replayed", "dropped", "all"]),
    default="open",
    show_default=True,
    help="What became of them.",
)
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
def list_(reason: str | None, since: int | None, status: str, limit: int, form: str) -> None:
    """List dead letters, the latest first."""
    from streams.dead_letter_table import TableError, open_table
    from streams.dead_letters import Status
    from streams.settings import load_settings

    now = datetime.now(UTC)
    try:
        with open_table(load_settings().clickhouse) as table:
            letters, total = table.select(
                status=None if status == "all" else Status(status),
                reason=Reason(reason) if reason else None,
                since_ms=since,
                limit=limit,
            )
    except TableError as error:
        raise click.ClickException(str(error)) from None
    print_letters(letters, form, now)
    if total > len(letters):
        click.echo(f"{len(letters):,} of {total:,}; raise --limit to see more", err=True)
    elif form == "table":
        click.echo(f"{total:,} dead letter{'' if total == 1 else 's'}", err=True)


@dlq.command()
@click.option(
    "--on-error",
    type=click.Choice(["stop", "requeue", "drop"]),
    default="stop",
    show_default=True,
    help="One that is still bad: end here with exit code 1, put it back with one more attempt, or give it up.",
)
@click.option("--reason", type=_REASON, metavar="REASON", help="Only these; the others keep their place.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Deal with N at most.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; send, write and commit nothing.")
def replay(on_error: str, reason: str | None, limit: int | None, dry_run: bool) -> None:
    """Send dead letters again that are good by now, each to the topic and partition it came from.

    Exit codes: 0 done, 1 stopped at one that is still bad, or broker or ClickHouse away. Safe to run again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from streams.dead_letter_table import TableError, open_table
    from streams.dead_letter_topic import KafkaDeadLetterTopic
    from streams.dead_letters import OnError, Replay
    from streams.kafka_admin import BrokerError
    from streams.settings import load_settings

    settings = load_settings()
    progress = Progress(
        TextColumn("dead letters"), BarColumn(), MofNCompleteColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
    run = None
    try:
        with (
            open_table(settings.clickhouse) as table,
            KafkaDeadLetterTopic(settings.kafka, group=f"{settings.worker.app_id}-dlq") as topic,
            progress,
        ):
            run = Replay(
                topic, table, validator(settings), OnError(on_error),
                reason=Reason(reason) if reason else None, limit=limit, dry_run=dry_run,
            )  # fmt: skip
            task = progress.add_task("", total=topic.pending)
            for read in run.run():
                progress.advance(task, read)
    except (TableError, BrokerError) as error:
        if run is not None:
            print_replay(run.report, dry_run=dry_run)
            raise click.ClickException(f"{error}. The last batch may be incomplete: run it again") from None
        raise click.ClickException(str(error)) from None
    print_replay(run.report, dry_run=dry_run)
    if run.report.first_bad is not None:
        raise click.ClickException(
            f"{'would stop' if dry_run else 'stopped'} at {run.report.first_bad}\n"
            "Mend its cause and run again, or choose --on-error requeue (keep it) or drop (give it up)."
        )


def validator(settings: Settings) -> Validate:
    """Whether SCORE would accept a message that arrived now: its own rules, on a state that is thrown away."""
    from typing import NamedTuple

    from streams.decode import Refusal
    from streams.pipeline import PartitionPipeline
    from streams.state.partition_state import PartitionState

    class Arriving(NamedTuple):
        offset: int
        timestamp: int
        key: bytes | None
        value: bytes | None

    def validate(topic: str, key: bytes | None, payload: bytes) -> Refusal | None:
        pipeline = PartitionPipeline(PartitionState("", 0, settings.pipeline), settings.projects)
        outcome = pipeline.process(topic, [Arriving(0, time.time_ns() // 1_000_000, key, payload)])
        for letter in outcome.dead_letters:
            return Refusal(letter.reason, letter.detail)
        return None

    return validate
