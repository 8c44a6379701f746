"""Our transport: an agent that counts record batches and acknowledges them."""

from __future__ import annotations

from typing import Any

import click

from benchmarks.peers.faust_app import counting_app, run  # before the transport: it chooses the event loop
from benchmarks.peers.stopwatch import Stopwatch, peer_options
from streams.transport import batch_topic


@click.command()
@peer_options
def main(broker: str, group: str, topic: str, messages: int) -> None:
    app = counting_app("kafka-batch", broker, group)
    watch = Stopwatch(messages)

    @app.agent(batch_topic(app, topic))  # type: ignore[untyped-decorator]  # Faust's types are not followed
    async def count(stream: Any) -> None:
        async for event in stream.noack().events():
            batch = event.value
            watch.count(len(batch))
            app.consumer.acknowledge(batch.tp, batch.last_offset, batch.generation)

    run(app)


if __name__ == "__main__":
    main()
