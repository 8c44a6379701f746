"""A Faust worker for the transport's tests, run as its own process; configured by one JSON argument.

It appends a JSON line per event to its log file. Tests read that file and kill the process as they please.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import faust
import mode
from faust.transport.drivers import TRANSPORTS

from streams.transport import RecordBatch, Transport, batch_topic

TRANSPORTS.aliases.setdefault("kafka-batch", "streams.transport:Transport")  # as the entry point does once installed


class Log:
    """One line of JSON per event, visible to the test at once."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115 - open as long as the process lives

    def write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")


def build(config: dict[str, Any], log: Log) -> faust.App:
    app = faust.App(
        config["group"],
        broker=f"kafka-batch://{config['broker']}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=3,
        broker_heartbeat_interval=0.75,
        broker_commit_interval=config.get("commit_interval", 0.2),
        broker_request_timeout=20,
        stream_wait_empty=config.get("wait_empty", False),
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=0,  # makes Faust itself choose round robin: the transport must keep its assignor
        agent_supervisor=mode.CrashingSupervisor,
        datadir=config["datadir"],
    )
    transport = app.transport
    assert isinstance(transport, Transport)
    transport.batch_max_records = config.get("batch_max_records", 100)
    if "stored" in config:

        async def stored(tps: set[Any]) -> dict[Any, int]:
            log.write(event="provider", tps=sorted(tps))
            if config["stored"] == "fail":
                raise RuntimeError("state store is away")
            return {tp: config["stored"][str(tp.partition)] for tp in tps if str(tp.partition) in config["stored"]}

        transport.position_provider = stored

    @app.on_partitions_assigned.connect
    async def assigned(_: Any, assigned: set[Any], **__: Any) -> None:
        log.write(event="assigned", tps=sorted(assigned), pid=os.getpid())

    last_seen: dict[Any, Any] = {}

    @app.on_partitions_revoked.connect
    async def revoked(_: Any, revoked: set[Any], **__: Any) -> None:
        log.write(event="revoked", tps=sorted(revoked))
        if config.get("acknowledge") == "on_revoke":
            for tp, batch in last_seen.items():
                log.write(event="late", accepted=app.consumer.acknowledge(tp, batch.last_offset, batch.generation))

    @app.on_before_shutdown.connect
    async def shutdown(_: Any, **__: Any) -> None:
        if config.get("acknowledge") == "on_shutdown":
            for tp, batch in last_seen.items():
                app.consumer.acknowledge(tp, batch.last_offset, batch.generation)
            log.write(event="late", committed=await app.consumer.commit_now())

    async def read(stream: Any) -> None:
        async for event in stream.noack().events():
            batch: RecordBatch = event.value
            keys = [record.key.decode() for record in batch.records] if config.get("keys") else None
            log.write(
                event="batch", topic=batch.topic, partition=batch.partition, first=batch.first_offset,
                last=batch.last_offset, n=len(batch), keys=keys, generation=batch.generation,
                buffered=stream.channel.queue.qsize(), resident_kb=resident_kb(),
            )  # fmt: skip
            last_seen[batch.tp] = batch
            if delay := config.get("delay_seconds"):
                await asyncio.sleep(delay)
            if config.get("fail_at") is not None and batch.first_offset <= config["fail_at"] <= batch.last_offset:
                raise RuntimeError("agent failed on purpose")
            until = config.get("acknowledge_until")
            if config.get("acknowledge", "always") == "always" and (until is None or batch.last_offset <= until):
                app.consumer.acknowledge(batch.tp, batch.last_offset, batch.generation)

    for name in config["topics"]:
        app.agent(batch_topic(app, name), name=f"read-{name}")(read)

    if plain := config.get("plain_topic"):

        @app.agent(
            app.topic(plain, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
            name="plain",
        )
        async def read_plain(stream: Any) -> None:
            async for event in stream.events():
                log.write(event="plain", offset=event.message.offset, value=event.value.decode())

    return app


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    config = json.loads(sys.argv[1])
    app = build(config, Log(config["log"]))
    worker = faust.Worker(app, loglevel="WARNING", redirect_stdouts=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
