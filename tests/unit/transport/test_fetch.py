"""Fetching without a broker: what becomes a batch, and what a rebalance or a seek takes back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.errors import IllegalStateError
from faust.transport import by_url

from streams.transport import Transport
from tests.unit.transport.fakes import PLAIN, A, Record, items


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
