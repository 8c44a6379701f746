"""Stock Faust: a plain agent, raw values."""

from __future__ import annotations

from typing import Any

import click

from benchmarks.peers.faust_app import counting_app, run
from benchmarks.peers.stopwatch import Stopwatch, peer_options


@click.command()
@peer_options
def main(broker: str, group: str, topic: str, messages: int) -> None:
    app = counting_app("kafka", broker, group)
    watch = Stopwatch(messages)
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source)  # type: ignore[untyped-decorator]  # Faust's types are not followed
    async def count(stream: Any) -> None:
        async for _ in stream:
            watch.count(1)

    run(app)


if __name__ == "__main__":
    main()
