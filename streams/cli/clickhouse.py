"""``labelwatch migrate`` and ``labelwatch query``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from streams.cli.dlq_output import printable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.settings import ClickHouseSettings


@contextmanager
def clickhouse_client(settings: ClickHouseSettings, *, use_database: bool) -> Iterator[Client]:
    """A client; ClickHouse's errors while connecting or using it end the command with exit code 1."""
    from streams.sinks.session import ClickHouseUnusableError, session

    try:
        with session(settings, use_database=use_database) as client:
            yield client
    except ClickHouseUnusableError as error:
        raise click.ClickException(_shown(str(error))) from None


def _shown(message: str) -> str:
    """A message that may quote data, safe on a terminal; its lines stay lines."""
    return "\n".join(map(printable, message.splitlines()))


@click.command(
    epilog="""\b
Examples:
  labelwatch migrate --status              what was applied, and what is pending
  labelwatch migrate --dry-run             what would be applied
  labelwatch migrate                       apply it; run again to resume after a failure
"""
)
@click.option("--dry-run", is_flag=True, help="Say what would be applied; change nothing.")
@click.option("--status", "show_status", is_flag=True, help="List every migration and when it was applied.")
def migrate(dry_run: bool, show_status: bool) -> None:
    """Create ClickHouse's database, tables and views, or bring them up to date."""
    from deploy.clickhouse.migrate import MigrationError, status
    from deploy.clickhouse.migrate import migrate as apply
    from deploy.clickhouse.retention import apply_retention
    from streams.settings import load_settings

    settings = load_settings().clickhouse
    try:
        with clickhouse_client(settings, use_database=False) as client:
            if show_status:
                for one in status(client):
                    when = f"applied {one.applied_at:%Y-%m-%d %H:%M:%S} UTC" if one.applied_at else "pending"
                    click.echo(f"{one.number:04d} {one.name:<24} {when}")
                return
            applied = apply(client, dry_run=dry_run)
            verb = "would apply" if dry_run else "applied"
            for one in applied:
                click.echo(f"{verb} {one.number:04d} {one.name}")
            if not applied:
                click.echo(f"Nothing to apply: database {settings.database} is up to date.")
            if not dry_run and apply_retention(client, settings.retention_days):
                click.echo(f"annotation_scores keeps its rows for {settings.retention_days} days now")
    except MigrationError as error:
        from streams.sinks.connection import message_of

        raise click.ClickException(_shown(message_of(error))) from None


@click.command(
    epilog="""\b
Examples:
  labelwatch query "SELECT * FROM quality_by_hour WHERE hour >= now() - INTERVAL 1 DAY ORDER BY hour"
  labelwatch query --format csv "SELECT * FROM task_confidence_current" > confidence.csv
  echo "SELECT reason, count() FROM dead_letters_current GROUP BY reason" | labelwatch query -
"""
)
@click.argument("sql")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="A table to read, one JSON object a line, or CSV with a header.",
)
@click.option(
    "--max-rows",
    type=click.IntRange(min=0),
    help="Rows to print, 0 for all.  [default: 1000 for a table, else all]",
)
def query(sql: str, form: str, max_rows: int | None) -> None:
    """Run one read-only statement on ClickHouse; `-` reads it from standard input.

    Results go to standard output; the number of rows and seconds go to standard error.
    """
    import time

    from streams.cli.query_output import WRITERS
    from streams.settings import load_settings

    statement = (sys.stdin.read() if sql == "-" else sql).strip().rstrip(";")
    if not statement:
        raise click.UsageError("the statement is empty")
    limit = max_rows if max_rows is not None else 1_000 if form == "table" else 0
    settings = load_settings().clickhouse
    with clickhouse_client(settings, use_database=True) as client:
        started = time.perf_counter()
        with client.query_rows_stream(statement, settings=read_only(client), tz_mode="aware") as rows:
            names: tuple[str, ...] = tuple(rows.source.column_names)
            shown, cut = WRITERS[form](names, rows, limit)
        seconds = time.perf_counter() - started
    click.echo(f"{shown:,} row{'' if shown == 1 else 's'} in {seconds:.2f} s", err=True)
    if cut:
        click.echo(f"Cut after {limit:,} rows: there are more; raise --max-rows or add a LIMIT.", err=True)


def read_only(client: Client) -> dict[str, int]:
    """2: reads only, yet what the client sets for itself is allowed. A user who is read-only anyway may not set it."""
    current = client.server_settings.get("readonly")
    return {} if current is not None and current.value != "0" else {"readonly": 2}
