"""``labelwatch topics``: the registered topics against the broker's."""

from __future__ import annotations

import click

#: Narrower terminals are told neither a topic's key nor who writes it.
_ROOMY_COLUMNS = 110


@click.group(
    epilog="""\b
Examples:
  labelwatch topics create --dry-run       what would be created
  labelwatch topics create                 create what is missing
  labelwatch topics list                   what is there, and how far behind the workers are
"""
)
def topics() -> None:
    """Create and list the Kafka topics that labelwatch uses."""


@topics.command()
@click.option("--dry-run", is_flag=True, help="Say what would be created; change nothing.")
def create(dry_run: bool) -> None:
    """Create missing topics. Existing ones are never changed; exits with 1 if one differs."""
    from rich.console import Console
    from rich.table import Table

    from streams.kafka_admin import BrokerError, create_topics
    from streams.settings import load_settings

    settings = load_settings().kafka
    try:
        statuses = create_topics(settings, dry_run=dry_run)
    except BrokerError as error:
        raise click.ClickException(str(error)) from None
    table = Table("topic", "outcome", "partitions", "replicas")
    for status in statuses:
        outcome = "would be created" if status.outcome == "missing" else status.outcome
        table.add_row(status.topic.name, outcome, str(status.partitions), str(status.replication))
    Console().print(table)
    differing = [status.advice for status in statuses if status.advice]
    if differing:
        raise click.ClickException("\n       ".join(differing))


@topics.command("list")
def list_() -> None:
    """Registered topics: what is there, who writes and reads it, and the workers' lag."""
    from rich.console import Console
    from rich.table import Table

    from streams.kafka_admin import BrokerError, describe, group_lag
    from streams.settings import load_settings

    settings = load_settings()
    try:
        statuses = describe(settings.kafka)
        lag = group_lag(settings.kafka, settings.worker.app_id, [s.topic.name for s in statuses])
    except BrokerError as error:
        raise click.ClickException(str(error)) from None
    console = Console()
    roomy = console.width >= _ROOMY_COLUMNS
    table = Table()
    table.add_column("topic", no_wrap=True)
    wide = ("key", "kept", "written by") if roomy else ("kept",)
    for name in ("partitions", *wide, "read by", "lag"):
        words = max(map(len, name.split()))  # headers break between words only
        number = name == "lag"
        table.add_column(name, justify="right" if number else "left", min_width=words, no_wrap=number, overflow="fold")
    for status in statuses:
        topic = status.topic
        there = {"missing": "missing", "differs": f"{status.partitions}, not {status.wanted_partitions}"}
        read_by_workers = topic.copartition is not None
        behind = sum(count for (name, _), count in lag.items() if name == topic.name)
        table.add_row(
            topic.name,
            there.get(status.outcome, str(status.partitions)),
            *((topic.key,) if roomy else ()),
            "latest a key" if topic.compacted else f"{topic.retention_ms // 86_400_000} days",
            *((topic.written_by,) if roomy else ()),
            topic.read_by,
            f"{behind:,}" if read_by_workers and status.outcome != "missing" else "",
        )
    console.print(table)
    if any(status.outcome == "missing" for status in statuses):
        console.print("Create the missing ones with `labelwatch topics create`.")
