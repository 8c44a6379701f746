"""The batch transport without a broker: committing, positions, declaring topics."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streams.record_batch import PositionError, RecordBatch
from streams.transport import BatchSchema, batch_topic
from tests.unit.transport.fakes import PLAIN, A, Record, items


async def test_streams_cannot_acknowledge_batches(consumer: Any, app: faust.App) -> None:
    app.topics._acking_topics.add("batches")  # as another subscriber with acks would
    consumer._thread.put({A: [Record(n) for n in range(5)]})
    [message] = [message async for _, message in consumer.getmany(0.1)]
    message.incref()
    message.ack(consumer)
    consumer._acked[A].append(4)  # as Faust's compiled stream iterator does, past Consumer.ack
    assert await consumer.commit() is False
    assert consumer._thread.committed == []


async def test_another_subscriber_does_not_turn_acknowledging_on(app: faust.App) -> None:
    app.topics.add(app.topic("batches", "plain"))
    await app.topics._update_indices()
    assert app.topics.acks_enabled_for("plain")
    assert not app.topics.acks_enabled_for("batches")


async def test_commit_sends_one_past_the_acknowledged_offset(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(10)]})
    await items(consumer)
    consumer.acknowledge(A, 9, 5)
    with _producer(consumer):
        assert await consumer.commit_now()
        assert await consumer.commit_now()
    assert consumer._thread.committed == [{A: 10}]


async def test_a_refused_commit_stays_pending(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(10)]})
    await items(consumer)
    consumer.acknowledge(A, 9, 5)
    consumer._thread.accepts = False
    with _producer(consumer):
        assert not await consumer.commit_now()
        consumer._thread.accepts = True
        assert await consumer.commit_now()
    assert consumer._thread.committed[-1] == {A: 10}


def _producer(consumer: Any) -> Any:
    async def flush() -> None: ...

    patch = pytest.MonkeyPatch.context()
    monkeypatch = patch.__enter__()
    monkeypatch.setattr(consumer.app, "producer", SimpleNamespace(flush=flush))
    return _Closing(patch)


@dataclass
class _Closing:
    patch: Any

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None:
        self.patch.__exit__(*error)


async def test_gaps_between_batches_are_not_tracked(consumer: Any) -> None:
    await consumer._add_gap(A, 1, 1_000)
    assert not consumer._gap[A]
    await consumer._add_gap(PLAIN, 1, 3)
    assert len(consumer._gap[PLAIN]) == 1


async def test_a_stored_position_is_vouched_for_once_it_is_known_to_exist(app: faust.App, consumer: Any) -> None:
    async def stored(tps: set[Any]) -> dict[Any, int]:
        assert tps == {A}, "plain topics have no stored positions"
        return {A: 400}

    app.transport.position_provider = stored
    await consumer.perform_seek()
    consumer._thread.end = None
    consumer._thread.put({})
    assert await items(consumer) == []
    assert consumer.acknowledgements.pending() == []
    consumer._thread.end = 400
    consumer._thread.put({})
    await items(consumer)
    assert consumer.acknowledgements.committable(A) == 400


async def test_a_stored_position_beyond_the_end_is_an_error(app: faust.App, consumer: Any) -> None:
    async def stored(_: set[Any]) -> dict[Any, int]:
        return {A: 1_001}

    app.transport.position_provider = stored
    await consumer.perform_seek()
    consumer._thread.put({})
    with pytest.raises(PositionError, match=r"stored position 1001 of batches\[0\] is beyond its end, 1000"):
        await items(consumer)
    assert consumer.acknowledgements.pending() == []


@dataclass
class Standing:
    """The client's account of one partition."""

    position: int = 0
    highwater: int | None = 10
    lso: int | None = None
    has_valid_position: bool = True


@pytest.mark.parametrize(
    ("standing", "taken", "next_offset", "lag"),
    [
        (Standing(4), 4, 4, 6),
        (Standing(10), 10, 4, 6),
        (Standing(10), 10, 10, 0),
        (Standing(10), 9, 9, 0),
        (Standing(10), None, 0, 0),
        (Standing(9), 9, 9, 1),
        (Standing(8, lso=8), 8, 8, 0),
        (Standing(8, lso=-1), 8, 8, 2),
        (Standing(0, has_valid_position=False), None, 3, 7),
        (Standing(0, highwater=None), None, 3, None),
        (None, None, 3, None),
    ],
    ids=[
        "not fetched", "not processed", "all done", "a marker at the end", "all expired", "one not fetched",
        "the rest is of an open transaction", "the broker names no stable end", "no position", "no end", "lost",
    ],
)  # fmt: skip
async def test_lag_counts_what_can_still_be_delivered(
    consumer: Any, standing: Standing | None, taken: int | None, next_offset: int, lag: int | None
) -> None:
    thread = _thread_on(consumer, standing)
    if taken is not None:
        thread.taken[A] = taken
    assert thread.lag(A, next_offset) == lag


def _thread_on(consumer: Any, standing: Standing | None) -> Any:
    thread = consumer._new_consumer_thread()
    thread.thread_loop.close()  # made by Faust, and never run here
    assignment = SimpleNamespace(state_value=lambda tp: standing if tp == A else None)
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    thread._consumer = SimpleNamespace(_subscription=subscription, seek=lambda *_: None)
    return thread


async def test_what_was_taken_out_and_moved_back_is_not_waited_for(
    consumer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(*_: Any) -> Any:
        return {A: [Record(n) for n in range(7)]}

    monkeypatch.setattr(AIOKafkaConsumerThread, "_fetch_records", fetched)
    thread = _thread_on(consumer, Standing(10))
    await thread._fetch_records()
    assert thread.lag(A, 6) == 4, "the last one is still to be processed"
    assert thread.lag(A, 7) == 0
    thread._seek_all({A: 0})
    assert thread.lag(A, 0) == 0, "nothing of what came before will be delivered"


async def test_messages_of_aborted_transactions_are_not_read(app: faust.App, consumer: Any) -> None:
    thread = consumer._new_consumer_thread()
    thread.thread_loop.close()  # made by Faust, and never run here
    client = thread._create_worker_consumer(app.transport)
    client._closed = True  # never started
    assert client._isolation_level == "read_committed"


async def test_a_provider_that_does_not_answer_is_an_error(app: faust.App, consumer: Any) -> None:
    async def stored(_: set[Any]) -> dict[Any, int]:
        await consumer.loop.create_future()
        raise AssertionError

    app.transport.position_provider = stored
    app.conf.broker_request_timeout = 0.01
    with pytest.raises(PositionError, match="no stored positions"):
        await consumer.perform_seek()


async def test_a_seek_back_makes_later_offsets_unknown_again(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(10)]})
    await items(consumer)
    await consumer.seek(A, 4)
    assert not consumer.acknowledge(A, 9, 5)
    assert consumer._read_offset[A] == 4


# --- declaring topics -------------------------------------------------------------------------------------------


async def test_batch_topics_are_declared_per_application(app: faust.App, tmp_path: Any) -> None:
    other = faust.App("other", broker="kafka-batch://127.0.0.1:1", datadir=str(tmp_path))
    topic = batch_topic(app, "reviews", partitions=8, buffer_batches=1)
    assert app.transport.batch_topics == {"batches", "reviews"}
    assert other.transport.batch_topics == set()
    stream_side = aiter(topic.clone(is_iterator=False))  # what an agent reads from
    assert (stream_side.acks, stream_side.partitions, stream_side.queue.maxsize) == (False, 8, 2)
    with pytest.raises(ValueError, match="at least one topic"):
        batch_topic(app)


async def test_a_batch_passes_the_schema_without_a_codec(app: faust.App) -> None:
    batch = RecordBatch("batches", 0, [Record(1)], 1, 1, 5)
    message = SimpleNamespace(value=batch, topic="batches", headers=None)
    event = await BatchSchema().compile(app)(message)
    assert event.value is batch


async def test_another_transport_is_named_in_the_error(app: faust.App) -> None:
    message = SimpleNamespace(value=b"{}", topic="batches", headers=None)
    with pytest.raises(TypeError, match="does not start with kafka-batch://"):
        await BatchSchema().compile(app)(message, propagate=True)
