"""The agents between a pretended Faust and their owners: publishing, failing, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
)
from faust.exceptions import ProducerSendError

from schemas.dead_letter import DeadLetter
from schemas.topics import DEAD_LETTERS
from streams.agents import owner as agent_module
from streams.outbox import Message, letter_message
from streams.record_batch import TP
from streams.sinks.sink import SinkError
from streams.state.claims import Claims
from tests.agent_rig import Rig, Stream, tps
from tests.builders import annotation, batch, make_pipeline, records, review


@pytest.fixture
async def rig() -> Rig:
    return Rig()


def some(count: int = 3, first_offset: int = 0, partition: int = 0) -> Any:
    events = [annotation(event_id=str(first_offset + i)) for i in range(count)]
    return batch(records(events, first_offset=first_offset), partition=partition)


def letters(count: int) -> list[DeadLetter]:
    return make_pipeline().process("annotations", records([b"bad"] * count)).dead_letters


class TestPublish:
    async def test_sent_with_the_key_of_the_message(self, rig: Rig) -> None:
        (letter,) = letters(1)
        await rig.publish([letter_message(letter), Message("labeler-evidence", 3, None, b"{}")])
        sent, evidence = rig.app.producer.sent
        assert sent[:3] == (DEAD_LETTERS.name, None, b"t-1")
        assert DeadLetter.model_validate_json(sent.value or b"") == letter
        assert evidence == ("labeler-evidence", 3, None, b"{}")

    async def test_nothing_is_nothing(self, rig: Rig) -> None:
        await rig.publish([])
        assert rig.app.producer.sent == []

    @pytest.mark.parametrize("where", ["send", "delivery"])
    @pytest.mark.parametrize("error", [KafkaConnectionError, KafkaTimeoutError, NotEnoughReplicasError])
    async def test_while_the_broker_is_away_only_what_is_unsent_is_sent_again(
        self, rig: Rig, where: str, error: type[BaseException]
    ) -> None:
        rig.app.producer.failures = [None, (where, error()), None, (where, error()), (where, error())]
        await rig.publish(list(map(letter_message, letters(3))))
        sent = (DeadLetter.model_validate_json(message.value or b"") for message in rig.app.producer.sent)
        offsets = [letter.origin.offset for letter in sent]
        assert sorted(offsets) == [0, 1, 2], "each once"

    @pytest.mark.parametrize("where", ["send", "delivery"])
    async def test_what_can_never_be_sent_is_raised(self, rig: Rig, where: str) -> None:
        error = MessageSizeTooLargeError()
        rig.app.producer.failures = [("delivery", KafkaConnectionError()), (where, error)]
        with pytest.raises((MessageSizeTooLargeError, ProducerSendError)) as raised:
            await rig.publish(list(map(letter_message, letters(2))))
        assert error in (raised.value, raised.value.__cause__)


class TestConsume:
    async def test_batches_are_applied_and_checkpointed_by_size(self) -> None:
        rig = Rig(checkpoint_events=5)
        await rig.assign(0)
        await rig.app.body(Stream(some(3), some(3, 3), some(3, 6)))
        assert rig.app.consumer.acknowledged == [(TP("annotations", 0), 5, 1)]
        assert rig.agent.owner.pending_messages == 3
        assert rig.failure() is None

    async def test_an_error_ends_the_worker_and_never_leaves_the_agent(self, rig: Rig) -> None:
        await rig.assign(0)
        broken = SimpleNamespace(topic="annotations", partition=0, records=[object()], last_offset=0, generation=1)
        await rig.app.body(Stream(some(3), broken, some(3, 3)))
        assert isinstance(rig.failure(), AttributeError)
        assert rig.health.check(0).reasons[0].startswith("fatal: AttributeError")
        assert rig.app.consumer.acknowledged == []
        assert await rig.agent.owner.checkpoint() == 0

    async def test_the_first_error_stands(self, rig: Rig) -> None:
        rig.agents.fail(SinkError("first"))
        rig.agents.fail(SinkError("second"))
        assert str(rig.failure()) == "first"

    async def test_batches_of_lost_partitions_are_passed_over(self, rig: Rig) -> None:
        await rig.assign(1)
        await rig.app.body(Stream(some(3)))
        assert (rig.failure(), rig.agent.owner.pending_messages) == (None, 0)


class TestPositions:
    async def test_restores_and_tells_where_to_go_on(self, rig: Rig) -> None:
        assert await rig.assign(0) == {}
        await rig.app.body(Stream(some(3), batch(records([review()]), topic="reviews")))
        await rig.app.on_revoked(rig.app, tps(0))
        assert rig.agent.owner.partitions == {}
        assert await rig.assign(0) == {TP("annotations", 0): 3, TP("reviews", 0): 1}

    async def test_state_that_cannot_be_read_ends_the_worker(self, rig: Rig) -> None:
        async def refuse(table: str, **_equals: object) -> list[Any]:
            raise SinkError("state refused")

        rig.sink.read = refuse  # type: ignore[method-assign]  # one broken sink, once
        with pytest.raises(SinkError):
            await rig.assign(0)
        assert isinstance(rig.failure(), SinkError)


class TestStop:
    async def test_makes_durable_and_commits_what_was_applied(self, rig: Rig) -> None:
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        await rig.agents.stop()
        assert rig.app.consumer.acknowledged == [(TP("annotations", 0), 2, 1)]
        assert rig.app.consumer.commits == 1

    async def test_takes_no_more_batches(self, rig: Rig) -> None:
        await rig.assign(0)
        await rig.agents.stop()
        await rig.app.body(Stream(some(3)))
        assert rig.agent.owner.pending_messages == 0

    async def test_after_a_failure_nothing_is_stored(self, rig: Rig) -> None:
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        rig.agents.fail(SinkError("away"))
        await rig.agents.stop()
        await rig.app.on_revoked(rig.app, tps(0))
        assert (rig.app.consumer.acknowledged, rig.app.consumer.commits, rig.sink.rows("state")) == ([], 0, [])

    async def test_says_so_when_the_checkpoint_under_way_failed(self, rig: Rig) -> None:
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        gate = asyncio.Event()

        async def refuse(_rows: object) -> None:
            await gate.wait()
            raise SinkError("refused")

        rig.sink.write = refuse  # type: ignore[method-assign,assignment]  # one broken sink, once
        under_way = asyncio.create_task(rig.agent.checkpoint_or_fail())
        await asyncio.sleep(0)
        stopping = asyncio.create_task(rig.agents.stop())
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(SinkError, match="refused"):
            await stopping
        await under_way
        assert rig.app.consumer.commits == 0


class TestTick:
    async def run_ticks(self, rig: Rig, until: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(agent_module, "TICK_SECONDS", 0)
        tick = asyncio.gather(*rig.agents.ticks())
        async with asyncio.timeout(10):
            while not until():  # noqa: ASYNC110  # a turn of the loop is what is waited for
                await asyncio.sleep(0)
        tick.cancel()

    async def test_checkpoints_by_age(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rig = Rig(checkpoint_seconds=1e-9)
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        await self.run_ticks(rig, lambda: bool(rig.app.consumer.acknowledged), monkeypatch)
        assert rig.app.consumer.acknowledged == [(TP("annotations", 0), 2, 1)]

    async def test_never_after_a_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker takes seconds to end; what is in memory may be incomplete by then."""
        rig = Rig(checkpoint_seconds=1e-9)
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        rig.agents.fail(SinkError("away"))
        turns = iter(range(50))
        await self.run_ticks(rig, lambda: next(turns, None) is None, monkeypatch)
        assert rig.sink.rows("state") == []
        assert rig.app.consumer.acknowledged == []

    @pytest.mark.parametrize(("lag", "ok", "idle"), [(1, False, set()), (None, True, set()), (0, True, {0})])
    async def test_lag_is_what_the_transport_says(self, rig: Rig, lag: int | None, ok: bool, idle: set[int]) -> None:
        """Behind the last message may be a transaction's marker: an end that no position reaches."""
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        annotations, reviews = TP("annotations", 0), TP("reviews", 0)
        rig.app.consumer.lags = {(annotations, 3): lag, (reviews, 0): 0}
        rig.agent.report(1_000)
        assert rig.agent.read_to_end == idle
        rig.agent.report(2_000)
        rig.health.beat(2_000)
        assert rig.health.check(2_000).ok is ok

    async def test_a_failed_checkpoint_ends_the_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rig = Rig(checkpoint_seconds=1e-9)
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        await Claims(rig.sink, "labelwatch", "worker-2").take(0, 0)
        await self.run_ticks(rig, rig.agents.failed.done, monkeypatch)
        assert type(rig.failure()).__name__ == "FencedError"

    async def test_the_heart_beats_while_a_checkpoint_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ClickHouse may be away for an hour: then nothing moves, but the event loop does turn, and health says so."""
        rig = Rig(checkpoint_seconds=1e-9)
        await rig.assign(0)
        await rig.app.body(Stream(some(3)))
        waiting = asyncio.Event()

        async def never(_rows: object) -> None:
            waiting.set()
            await asyncio.Event().wait()

        rig.sink.write = never  # type: ignore[method-assign,assignment]  # ClickHouse is away
        beats: list[float] = []
        rig.health.beat = lambda now: beats.append(now)  # type: ignore[method-assign]  # count them
        await self.run_ticks(rig, lambda: waiting.is_set() and len(beats) > 10, monkeypatch)
        waited = len(beats)
        assert waited > 10
