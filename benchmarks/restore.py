"""How long a worker takes to take over a source partition: read its state from ClickHouse and build it in memory.

    python -m benchmarks.restore [--tasks 100000] [--json]

State is written as checkpoints write it, by a real sink to the embedded engine, and restored as an assignment does.
"""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from aiokafka.structs import ConsumerRecord
from rich.console import Console
from rich.table import Table

from benchmarks.messages import annotation_messages
from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, DEAD_LETTERS
from streams.outbox import Message
from streams.owner import OwnerContext
from streams.record_batch import RecordBatch
from streams.score import Score
from streams.settings import ClickHouseSettings, Settings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.connection import connect
from streams.state.claims import Claims

ANSWERS_PER_TASK = 3
BATCH = 1_000
CHECKPOINT = 50_000


@dataclass(frozen=True)
class Figures:
    """Seconds and sizes of one run."""

    open_tasks: int
    apply_seconds: float
    checkpoint_seconds: float
    restore_seconds: float
    resident_mb: float


def _records(count: int) -> list[ConsumerRecord[bytes, bytes]]:
    arrived_ms = int(time.time() * 1_000)
    return [
        ConsumerRecord(ANNOTATIONS.name, 0, offset, arrived_ms, 0, key, value, None, len(key), len(value), ())
        for offset, (key, value) in enumerate(annotation_messages(count))
    ]


async def measure(settings: Settings, tasks: int) -> Figures:
    """Fill a partition's state through checkpoints, then take it over as another worker would."""
    sink = ClickHouseSink(settings.clickhouse)
    first = _score(settings, sink, "first")
    await first.assign([0], 1)
    apply_seconds = checkpoint_seconds = 0.0
    records = _records(tasks * ANSWERS_PER_TASK)
    for start in range(0, len(records), BATCH):
        part = records[start : start + BATCH]
        began = time.perf_counter()
        first.process(RecordBatch(ANNOTATIONS.name, 0, part, part[0].offset, part[-1].offset, 1))
        apply_seconds += time.perf_counter() - began
        if first.pending_messages >= CHECKPOINT:
            checkpoint_seconds += await _timed_checkpoint(first)
    checkpoint_seconds += await _timed_checkpoint(first)
    second = _score(settings, sink, "second")
    began = time.perf_counter()
    await second.assign([0], 2)
    restore_seconds = time.perf_counter() - began
    open_tasks = len(second.partitions[0].pipeline.state.tasks)
    assert open_tasks == len(first.partitions[0].pipeline.state.tasks)
    await sink.close()
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return Figures(open_tasks, apply_seconds, checkpoint_seconds, restore_seconds, resident_mb)


async def _timed_checkpoint(score: Score) -> float:
    began = time.perf_counter()
    await score.checkpoint()
    return time.perf_counter() - began


def _score(settings: Settings, sink: ClickHouseSink, worker_id: str) -> Score:
    async def publish(messages: Sequence[Message]) -> None:
        assert all(message.topic != DEAD_LETTERS.name for message in messages), "the benchmark's messages are all good"

    context = OwnerContext(
        settings=settings,
        sink=sink,
        claims=Claims(sink, settings.worker.app_id, worker_id),
        publish=publish,
        acknowledge=lambda *_: None,
        now_ms=lambda: int(time.time() * 1_000),
    )
    return Score(context)


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--tasks", default=100_000, show_default=True, type=click.IntRange(min=1_000))
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of a table")
def main(tasks: int, as_json: bool) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="labelwatch-bench-") as folder,
        EmbeddedStack(Path(folder), kafka_port=0, clickhouse_port=0) as stack,
    ):
        clickhouse = ClickHouseSettings(url=stack.clickhouse_url)
        client = connect(clickhouse, use_database=False)
        migrate(client)
        client.close()
        # The benchmark's stream spans hours: nothing is given up before it was restored.
        settings = Settings.model_validate(
            {"clickhouse": clickhouse.model_dump(), "pipeline": {"duplicate_horizon_seconds": 31 * 86_400}}
        )
        figures = asyncio.run(measure(settings, tasks))
    if as_json:
        click.echo(json.dumps(asdict(figures)))
        return
    table = Table(title="Taking over one source partition")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in asdict(figures).items():
        table.add_row(name.replace("_", " "), f"{value:,.2f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
