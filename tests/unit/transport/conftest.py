"""A batch consumer on fakes."""

from __future__ import annotations

from typing import Any

import faust
import pytest

from streams.transport import batch_topic
from tests.unit.transport.fakes import PLAIN, A, FakeThread


@pytest.fixture
async def app(tmp_path: Any) -> faust.App:
    app = faust.App("unit", broker="kafka-batch://127.0.0.1:1", web_enabled=False, datadir=str(tmp_path))
    app.transport.batch_max_records = 10
    batch_topic(app, "batches")
    return app


@pytest.fixture
async def consumer(app: faust.App) -> Any:
    async def nothing(*_: Any) -> None: ...

    consumer = app.transport.create_consumer(nothing, on_partitions_revoked=nothing, on_partitions_assigned=nothing)
    consumer._thread.thread_loop.close()  # made by Faust, and never run here
    consumer._thread = FakeThread()
    app.consumer = consumer
    app.consumer_generation_id = 5
    consumer._set_active_tps({A, PLAIN})
    consumer.acknowledgements.assign(A, position=0, committed=None, generation=5)
    return consumer
