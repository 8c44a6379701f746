"""The batch transport: Faust agents that receive whole record batches of one partition.

Registered as ``kafka-batch`` in Faust's own entry-point group ``faust.transports``; a broker URL
``kafka-batch://host:port`` selects it. An application declares its topics and reads batches::

    app = faust.App("labelwatch", broker="kafka-batch://127.0.0.1:9092", agent_supervisor=mode.CrashingSupervisor)
    annotations = batch_topic(app, "annotations")

    @app.agent(annotations)
    async def score(stream):
        async for event in stream.noack().events():
            batch: RecordBatch = event.value
            ...  # process, flush, store the position
            app.consumer.acknowledge(batch.tp, batch.last_offset, batch.generation)

Nothing that a stream does acknowledges: not the end of an iteration, not an exception. Only ``acknowledge``
does, and ``await app.consumer.commit_now()`` commits at once. Delivery is at least once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import faust
from faust.transport.conductor import Conductor as FaustConductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.batch_consumer import Consumer
from streams.record_batch import BATCH_MAX_RECORDS, PositionError, RecordBatch

__all__ = ["BatchSchema", "Consumer", "PositionError", "PositionProvider", "RecordBatch", "Transport", "batch_topic"]

#: Batches that wait for one agent at most; fetching pauses at three quarters. 16 batches are up to 16,000 records.
BUFFER_MAX_BATCHES = 16

PositionProvider = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]
"""Given the partitions now owned, the next offset to read of those that have one; others resume as committed."""

_batch_topics: WeakKeyDictionary[faust.App, set[str]] = WeakKeyDictionary()


class BatchSchema(faust.Schema):  # type: ignore[misc]  # Faust's types are not followed
    """Passes a `RecordBatch` through to the stream; no codec runs."""

    def compile(self, app: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:
        """The function that turns a message into a stream's event."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            if not isinstance(message.value, RecordBatch):
                raise TypeError(
                    f"{message.topic} is declared as a batch topic, but the broker URL does not start with kafka-batch://"
                )
            return create_event(None, message.value, None, message)

        return decode


def batch_topic(app: Any, *names: str, partitions: int | None = None, buffer_batches: int = BUFFER_MAX_BATCHES) -> Any:
    """Declare ``names`` as batch topics of ``app``; the Faust topic for its agents.

    ``buffer_batches`` bounds the batches that wait for an agent (at least 2).
    """
    if not names:
        raise ValueError("batch_topic needs the name of at least one topic")
    _batch_topics.setdefault(app, set()).update(names)
    # acks=False: streams neither track nor acknowledge these messages, and a stop does not wait for them.
    topic = app.topic(*names, schema=BatchSchema(), partitions=partitions, acks=False)
    topic.maxsize = max(2, buffer_batches)  # app.topic() takes a maxsize and drops it
    return topic


class Conductor(FaustConductor):  # type: ignore[misc]  # Faust's types are not followed
    """Keeps stream acknowledgements off for batch topics, whoever else subscribes to them."""

    async def _update_indices(self) -> Iterable[str]:
        names: Iterable[str] = await super()._update_indices()
        self._acking_topics.difference_update(_batch_topics.get(self.app, ()))
        return names


class Transport(driver.Transport):  # type: ignore[misc]  # Faust's types are not followed
    """Faust's aiokafka transport with a consumer that reads in batches.

    Set ``position_provider`` and ``batch_max_records`` on ``app.transport`` before the worker starts. The provider
    runs after each assignment and before the first record flows, so it is also the place to load state.
    """

    Consumer = Consumer
    Conductor = Conductor

    batch_max_records: int = BATCH_MAX_RECORDS
    position_provider: PositionProvider | None = None

    @property
    def batch_topics(self) -> set[str]:
        """Names of the application's batch topics."""
        return _batch_topics.setdefault(self.app, set())
