"""aiokafka's own `getmany`: what any asyncio consumer pays at least."""

from __future__ import annotations

import click
import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.peers.stopwatch import Stopwatch, peer_options


async def _consume(broker: str, group: str, topic: str, watch: Stopwatch) -> None:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=6_000, heartbeat_interval_ms=2_000,
    )  # fmt: skip
    await consumer.start()
    while True:
        records = await consumer.getmany(timeout_ms=1_000)
        if records:
            watch.count(sum(map(len, records.values())))


@click.command()
@peer_options
def main(broker: str, group: str, topic: str, messages: int) -> None:
    uvloop.run(_consume(broker, group, topic, Stopwatch(messages)))


if __name__ == "__main__":
    main()
