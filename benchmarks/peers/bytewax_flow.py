"""bytewax: its Kafka source into a sink that counts the lists of messages it is given."""

from __future__ import annotations

from typing import Any

import bytewax.operators as op
import click
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from benchmarks.peers.stopwatch import Stopwatch, peer_options


class _CountingPartition(StatelessSinkPartition[Any]):  # type: ignore[misc]  # bytewax's types are not followed
    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def write_batch(self, items: list[Any]) -> None:
        self._watch.count(len(items))


class _CountingSink(DynamicSink[Any]):  # type: ignore[misc]  # bytewax's types are not followed
    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _CountingPartition:
        return _CountingPartition(self._watch)


@click.command()
@peer_options
def main(broker: str, group: str, topic: str, messages: int) -> None:
    del group  # bytewax assigns partitions itself and keeps offsets in its own store
    flow = Dataflow("count")
    op.output("out", op.input("in", flow, KafkaSource([broker], [topic])), _CountingSink(Stopwatch(messages)))
    run_main(flow)


if __name__ == "__main__":
    main()
