"""The batch transport without a broker: bookkeeping of offsets, cutting of batches, Faust's hooks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from aiokafka.errors import IllegalStateError
from faust.transport import by_url
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP as FaustTP

from streams.batch_consumer import ConsumerThread, FetchedRecords
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
    rebalances: int = 1
    is_assigned: bool = True
    assigned: set[Any] = field(default_factory=lambda: {A, PLAIN})
    call_thread: Any = None

    def __post_init__(self) -> None:
        async def call(function: Any, *args: Any) -> Any:
            return function(*args)

        self.call_thread = call

    def require_assignment(self, rebalances: int) -> None:
        ConsumerThread.require_assignment(cast(Any, self), rebalances)

    async def give_back(self, records: FetchedRecords) -> None:
        await ConsumerThread.give_back(cast(Any, self), records)

    def _give_back(self, records: FetchedRecords) -> None:
        ConsumerThread._give_back(cast(Any, self), records)

    def _ensure_consumer(self) -> Any:
        return SimpleNamespace(assignment=self.assignment)

    def _seek_all(self, positions: dict[Any, int]) -> None:
        for tp, offset in positions.items():
            self.sought.append((tp, offset))
            self.seeks[tp] += 1

    def revoke(self) -> None:
        self.rebalances += 1
        self.is_assigned = False

    def assign(self) -> None:
        self.rebalances += 1
        self.is_assigned = True

    def put(self, records: dict[Any, list[Record]]) -> None:
        fetched = FetchedRecords(records)
        fetched.seeks = dict(self.seeks)
        self.fetches.append(fetched)

    async def getmany(self, *_: Any, **__: Any) -> FetchedRecords:
        return self.fetches.pop(0)

    async def seek_one(self, tp: Any, offset: int) -> None:
        self._seek_all({tp: offset})

    async def commit(self, offsets: dict[Any, int]) -> bool:
        self.committed.append(dict(offsets))
        return self.accepts

    async def resume(self, stored: Any, _: Any, rebalances: int) -> Any:
        self.require_assignment(rebalances)
        return {A: (stored.get(A, 0), None)}

    def highwater(self, _: Any) -> int | None:
        return self.end

    def assignment(self) -> set[Any]:
        return self.assigned


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


async def _fetch_into_a_stopped_flow(consumer: Any, meanwhile: Any = lambda: None) -> list[Any]:
    """What a fetch delivers, and then where the client was moved, if the flow stops before the fetch returns."""

    async def fetch(*_: Any, **__: Any) -> Any:
        records = consumer._thread.fetches.pop(0)
        consumer.stop_flow()
        meanwhile()
        return records

    consumer._thread.put({A: [Record(n) for n in range(5, 10)], PLAIN: [Record(7, topic="plain")]})
    consumer._thread.sought.clear()
    consumer._getmany = fetch
    assert await items(consumer) == []
    return list(consumer._thread.sought)


async def test_a_fetch_that_arrives_while_the_flow_is_stopped_is_given_back(app: faust.App, consumer: Any) -> None:
    async def stored(_: set[Any]) -> dict[Any, int]:
        raise AssertionError("the provider is not asked: it may be at work for Faust's own seek")

    app.transport.position_provider = stored
    assert await _fetch_into_a_stopped_flow(consumer) == [(A, 5), (PLAIN, 7)]
    consumer.resume_flow()
    consumer._getmany = consumer._thread.getmany
    consumer._thread.put({A: [Record(n) for n in range(5, 10)]})
    assert [value.first_offset for _, value in await items(consumer)] == [5]


async def test_what_was_moved_or_lost_since_a_fetch_is_not_given_back(consumer: Any) -> None:
    sought = await _fetch_into_a_stopped_flow(consumer, lambda: consumer._thread._seek_all({A: 3}))
    assert sought == [(A, 3), (PLAIN, 7)]
    consumer.resume_flow()
    assert await _fetch_into_a_stopped_flow(consumer, lambda: consumer._thread.assigned.discard(A)) == [(PLAIN, 7)]


async def test_a_revoked_assignment_asks_for_no_positions(app: faust.App, consumer: Any) -> None:
    """Until the group is joined again the client names partitions as assigned that are another worker's by now."""
    asked: list[Any] = []

    async def stored(tps: set[Any]) -> dict[Any, int]:
        asked.append(tps)
        consumer._thread.revoke()
        return {A: 400}

    app.transport.position_provider = stored
    with pytest.raises(IllegalStateError, match="revoked"):
        await consumer.perform_seek()
    with pytest.raises(IllegalStateError, match="revoked"):
        await consumer.perform_seek()
    assert len(asked) == 1
    assert consumer.acknowledgements.committable(A) is None
    consumer._thread.put({})
    assert await items(consumer) == []
    assert consumer.acknowledgements.pending() == [], "a position of before is not vouched for"


async def test_positions_of_one_assignment_do_not_move_the_next(app: faust.App, consumer: Any) -> None:
    async def stored(_: set[Any]) -> dict[Any, int]:
        consumer._thread.revoke()
        consumer._thread.assign()
        return {A: 400}

    app.transport.position_provider = stored
    with pytest.raises(IllegalStateError, match="looked up again"):
        await consumer.perform_seek()


async def test_an_assignment_counts_as_a_move_and_a_revocation_is_noted_before_faust_acts(consumer: Any) -> None:
    thread = consumer._new_consumer_thread()
    thread.thread_loop.close()  # made by Faust, and never run here
    states = []

    async def notes(*_: Any) -> None:
        states.append((thread.rebalances, thread.is_assigned, thread.seeks[A]))

    thread.consumer = SimpleNamespace(threadsafe_partitions_revoked=notes, threadsafe_partitions_assigned=notes)
    await thread.on_partitions_assigned({A}, 1)
    await thread.on_partitions_revoked({A})
    await thread.on_partitions_assigned({A}, 2)
    assert states == [(1, True, 1), (2, False, 1), (3, True, 2)]


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
