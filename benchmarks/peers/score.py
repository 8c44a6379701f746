"""The whole worker: decode, validate, forecast, consensus, windows, checkpoints, ClickHouse. Not only counting."""

from __future__ import annotations

import asyncio
import os
import signal

import click
import uvloop

from benchmarks.peers.stopwatch import Stopwatch, peer_options
from schemas.topics import ANNOTATIONS
from streams.settings import Settings

_POLL_SECONDS = 0.01


@click.command()
@peer_options
@click.option("--clickhouse", required=True, help="http://host:port")
def main(broker: str, group: str, topic: str, messages: int, clickhouse: str) -> None:
    assert topic == ANNOTATIONS.name, "the worker reads its own topics"
    settings = Settings.model_validate(
        {
            "kafka": {"bootstrap": broker, "session_timeout_seconds": 6},
            "clickhouse": {"url": clickhouse},
            "worker": {"app_id": group},
            "web": {"port": 0},
            "log": {"level": "warning", "format": "json"},
        }
    )
    uvloop.run(_run(settings, Stopwatch(messages)))


async def _run(settings: Settings, watch: Stopwatch) -> None:
    from streams.app import run_worker
    from streams.logs import configure_logging

    configure_logging(settings.log)
    worker = asyncio.create_task(run_worker(settings))
    watching = asyncio.create_task(_watch(watch))
    await asyncio.wait({worker, watching}, return_when=asyncio.FIRST_COMPLETED)
    os.kill(os.getpid(), signal.SIGTERM)
    raise SystemExit("the worker ended before it had scored everything")


async def _watch(watch: Stopwatch) -> None:
    """Count what is durable: the clock stops when the last checkpoint is acknowledged."""
    from streams.metrics import METRICS

    seen = 0
    while True:
        applied = sum(s.value for m in METRICS.messages.collect() for s in m.samples if s.name.endswith("_total"))
        if not seen and applied:
            watch.count(int(applied))  # the first batches start the clock and are not counted
            seen = int(applied)
        durable = sum(s.value for m in METRICS.position.collect() for s in m.samples)
        if seen and durable > seen:
            watch.count(int(durable) - seen)
            seen = int(durable)
        await asyncio.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main()
