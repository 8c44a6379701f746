"""The batch transport without a broker: bookkeeping of offsets, cutting of batches, Faust's hooks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.errors import IllegalStateError
from faust.transport import by_url
from faust.transport.drivers import TRANSPORTS
from faust.types import TP as FaustTP

from streams.batch_consumer import FetchedRecords
from streams.record_batch import PositionError, RecordBatch
from streams.transport import BatchSchema, Transport, batch_topic

TRANSPORTS.aliases.setdefault("kafka-batch", "streams.transport:Transport")  # as the entry point does once installed

A = FaustTP("batches", 0)
PLAIN = FaustTP("plain", 0)


@dataclass(frozen=True)
class Record:
    offset: int
    topic: str = "batches"
    partition: int = 0
    timestamp: int = 1_700_000_000_000
    timestamp_type: int = 0
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[()] = ()
    checksum: None = None
    serialized_key_size: int = 1
    serialized_value_size: int = 1


# --- Faust's hooks ----------------------------------------------------------------------------------------------


@dataclass
class FakeThread:
    """Stands for the consumer's thread: hands out what a test put in, remembers seeks."""

    fetches: list[FetchedRecords] = field(default_factory=list)
    seeks: dict[Any, int] = field(default_factory=lambda: {A: 0, PLAIN: 0})
    sought: list[tuple[Any, int]] = field(default_factory=list)
    end: int | None = 1_000
    committed: list[dict[Any, int]] = field(default_factory=list)
    accepts: bool = True
    positions: Any = None

    def put(self, records: dict[Any, list[Record]]) -> None:
        fetched = FetchedRecords(records)
        fetched.seeks = dict(self.seeks)
        self.fetches.append(fetched)

    async def getmany(self, *_: Any, **__: Any) -> FetchedRecords:
        return self.fetches.pop(0)

    async def seek_one(self, tp: Any, offset: int) -> None:
        self.sought.append((tp, offset))
        self.seeks[tp] += 1

    async def commit(self, offsets: dict[Any, int]) -> bool:
        self.committed.append(dict(offsets))
        return self.accepts

    async def resume(self, stored: Any, _: Any) -> Any:
        if isinstance(self.positions, Exception):
            raise self.positions
        return {A: (stored.get(A, 0), None)}

    def highwater(self, _: Any) -> int | None:
        return self.end

    def assignment(self) -> set[Any]:
        return {A, PLAIN}


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


async def items(consumer: Any) -> list[Any]:
    return [(tp, message.value) async for tp, message in consumer.getmany(0.1)]


def test_the_scheme_selects_the_transport() -> None:
    assert by_url("kafka-batch://host:9092") is Transport


async def test_a_fetch_becomes_batches_and_plain_messages(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(25)], PLAIN: [Record(7, topic="plain")]})
    got = await items(consumer)
    assert [(v.first_offset, v.last_offset) for tp, v in got if tp == A] == [(0, 9), (10, 19), (20, 24)]
    assert [v for tp, v in got if tp == PLAIN] == [b"v"]
    assert consumer.acknowledge(A, 24, 5)


async def test_messages_carry_the_last_offset_and_the_generation(consumer: Any) -> None:
    consumer._thread.put({A: [Record(3), Record(9)]})
    [message] = [message async for _, message in consumer.getmany(0.1)]
    assert (message.offset, message.generation_id, message.timestamp) == (9, 5, 1_700_000_000.0)


async def test_records_taken_out_before_a_seek_are_not_delivered_after_it(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(5)], PLAIN: [Record(0, topic="plain")]})
    await consumer._thread.seek_one(A, 0)
    assert [tp for tp, _ in await items(consumer)] == [PLAIN]


async def test_a_new_generation_ends_a_fetch(app: faust.App, consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(30)]})
    got = []
    async for tp, message in consumer.getmany(0.1):
        got.append((tp, message.offset))
        app.consumer_generation_id = 6
    assert got == [(A, 9)]


async def test_a_fetch_that_outlasts_a_rebalance_delivers_what_it_took_out_after_the_seek(
    app: faust.App, consumer: Any
) -> None:
    async def rebalance_meanwhile(*_: Any, **__: Any) -> Any:
        consumer.stop_flow()
        app.consumer_generation_id = 6
        await consumer.perform_seek()
        await consumer._thread.seek_one(A, 0)
        consumer.resume_flow()
        consumer._thread.put({A: [Record(n) for n in range(5)]})
        return consumer._thread.fetches.pop(0)

    consumer._getmany = rebalance_meanwhile
    [(_, batch)] = await items(consumer)
    assert (batch.first_offset, batch.generation) == (0, 6)
    assert consumer.acknowledge(A, 4, 6)


async def test_a_fetch_that_waits_for_the_flow_belongs_to_the_generation_after_it(
    app: faust.App, consumer: Any
) -> None:
    consumer.stop_flow()
    consumer._thread.put({A: [Record(n) for n in range(5)]})

    def resume() -> None:
        app.consumer_generation_id = 6
        consumer.resume_flow()

    consumer.loop.call_soon(resume)
    [(_, batch)] = await items(consumer)
    assert (batch.first_offset, batch.generation) == (0, 6)


async def test_a_stopped_flow_ends_a_fetch(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(30)]})
    got = []
    async for tp, message in consumer.getmany(0.1):
        got.append((tp, message.offset))
        consumer.stop_flow()
    assert got == [(A, 9)]


async def test_records_of_a_partition_paused_meanwhile_are_read_again(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(30)]})
    got = []
    async for _, message in consumer.getmany(0.1):
        got.append(message.offset)
        consumer.pause_partitions({A})
    assert got == [9]
    assert consumer._thread.sought == [(A, 10)]


async def test_records_of_a_partition_with_a_full_buffer_are_still_delivered(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(30)]})
    got = []
    async for _, message in consumer.getmany(0.1):
        got.append(message.offset)
        consumer.on_buffer_full(A)
    assert got == [9, 19, 29]


async def test_a_drained_buffer_ends_the_wait_for_an_active_partition(consumer: Any) -> None:
    async def wait(event: asyncio.Event, timeout: float) -> None:  # the real one gives up after `timeout`
        await event.wait()

    consumer.wait = wait
    consumer._set_active_tps({A})
    consumer.on_buffer_full(A)
    consumer._thread.put({A: [Record(0)]})
    consumer.loop.call_soon(consumer.on_buffer_drop, A)
    async with asyncio.timeout(10):
        assert [tp for tp, _ in await items(consumer)] == [A]


async def test_a_fetch_that_arrives_while_the_flow_is_stopped_is_undone(consumer: Any) -> None:
    consumer._thread.put({A: [Record(n) for n in range(5)]})
    consumer._getmany = _stopping_the_flow(consumer, consumer._getmany)
    assert await items(consumer) == []
    consumer.resume_flow()
    consumer._getmany = consumer._thread.getmany
    consumer._thread.put({A: [Record(n) for n in range(5)]})
    assert [value.first_offset for _, value in await items(consumer)] == [0]


async def test_undoing_a_fetch_yields_to_a_newer_assignment_but_not_to_other_errors(consumer: Any) -> None:
    for error in (IllegalStateError("gone"), RuntimeError("state store is away")):
        consumer.resume_flow()
        consumer._thread.positions = error
        consumer._thread.put({A: [Record(0)]})
        consumer._getmany = _stopping_the_flow(consumer, consumer._thread.getmany)
        if isinstance(error, IllegalStateError):
            assert await items(consumer) == []
        else:
            with pytest.raises(RuntimeError, match="state store"):
                await items(consumer)


def _stopping_the_flow(consumer: Any, getmany: Any) -> Any:
    async def fetch(*args: Any, **kwargs: Any) -> Any:
        records = await getmany(*args, **kwargs)
        consumer.stop_flow()
        return records

    return fetch


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
