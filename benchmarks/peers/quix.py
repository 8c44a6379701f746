"""Quix Streams: a dataframe that counts, raw values."""

from __future__ import annotations

import tempfile

import click
from quixstreams import Application

from benchmarks.peers.stopwatch import Stopwatch, peer_options


@click.command()
@peer_options
def main(broker: str, group: str, topic: str, messages: int) -> None:
    watch = Stopwatch(messages)
    app = Application(
        broker_address=broker, consumer_group=group, auto_offset_reset="earliest", loglevel="ERROR",
        auto_create_topics=False, state_dir=tempfile.mkdtemp(prefix="labelwatch-bench-"),
        consumer_extra_config={"session.timeout.ms": 6_000, "heartbeat.interval.ms": 2_000},
    )  # fmt: skip
    frame = app.dataframe(app.topic(topic, key_deserializer="bytes", value_deserializer="bytes"))
    frame.update(lambda _: watch.count(1))
    app.run()


if __name__ == "__main__":
    main()
