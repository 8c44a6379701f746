"""SCORE as the owner of partitions: what it accepts, the order of a checkpoint, and what a failure leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from schemas.dead_letter import DeadLetter
from schemas.rows import Row, SourceProgressRow, WindowPartialRow
from schemas.topics import DEAD_LETTERS
from streams.breaker import BreakerOpenError
from streams.outbox import Message
from streams.score import Score
from streams.settings import PipelineSettings, Settings
from streams.sinks.sink import MemorySink, SinkError
from streams.state.claims import Claims
from tests.builders import NOW_MS, annotation, batch, owner_context, records, review


class Rig:
    """A Score on a sink in memory that notes the order of everything it does."""

    def __init__(self, sink: MemorySink | None = None, settings: Settings | None = None) -> None:
        self.did: list[Any] = []
        self.sent: list[Message] = []
        self.fail_at: str | None = None
        self.now_ms = NOW_MS
        rig = self

        class NotingSink(MemorySink):
            async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
                what = "state" if "state" in rows else "claims" if "partition_claims" in rows else "results"
                rig.note(what)
                await super().write(rows)

        self.sink = sink or NotingSink()
        context = owner_context(
            self.sink,
            settings=settings or Settings(),
            publish=self._publish,
            acknowledge=lambda *position: self.did.append(position),
            now_ms=lambda: self.now_ms,
        )
        self.score = Score(context)

    def note(self, what: str) -> None:
        if what == self.fail_at:
            raise SinkError(f"{what} refused")
        self.did.append(what)

    async def _publish(self, messages: Sequence[Message]) -> None:
        self.note("messages")
        self.sent.extend(messages)

    @property
    def letters(self) -> list[DeadLetter]:
        return [DeadLetter.model_validate_json(m.value or b"") for m in self.sent if m.topic == DEAD_LETTERS.name]

    def take(self) -> list[Any]:
        """What was done since the last call."""
        did, self.did = self.did, []
        return did


@pytest.fixture
def rig() -> Rig:
    return Rig()


def some(count: int = 3, *, first_offset: int = 0, partition: int = 0, generation: int = 1, prefix: str = "e") -> Any:
    events = [annotation(event_id=f"{prefix}-{first_offset + i}") for i in range(count)]
    return batch(records(events, first_offset=first_offset), partition=partition, generation=generation)


class TestCheckpoint:
    async def test_messages_results_state_acknowledgement_in_this_order(self, rig: Rig) -> None:
        await rig.score.assign([0], 1)
        rig.take()
        rig.score.process(some())
        rig.score.process(batch(records([b"bad"], first_offset=3)))
        rig.score.process(batch(records([review()]), topic="reviews"))
        assert rig.score.pending_messages == 5
        assert await rig.score.checkpoint() == 5
        intent = "state"
        order = [intent, "messages", "results", "state", ("annotations", 0, 3, 1), ("reviews", 0, 0, 1)]
        assert rig.take() == order
        assert rig.score.pending_messages == 0
        assert [letter.origin.offset for letter in rig.letters] == [3]

    async def test_nothing_to_do_is_not_written(self, rig: Rig) -> None:
        await rig.score.assign([0], 1)
        rig.take()
        assert await rig.score.checkpoint() == 0
        assert rig.take() == []

    async def test_what_was_applied_before_is_acknowledged_again(self, rig: Rig) -> None:
        await rig.score.assign([0], 1)
        rig.score.process(some())
        await rig.score.checkpoint()
        rig.take()
        outcome = rig.score.process(some())
        assert outcome is not None
        assert (outcome.replayed, outcome.received) == (3, 0)
        assert await rig.score.checkpoint() == 0
        assert rig.take()[-1] == ("annotations", 0, 2, 1)

    async def test_all_partitions_at_once(self, rig: Rig) -> None:
        await rig.score.assign([0, 1, 2], 1)
        rig.take()
        rig.score.process(some(partition=0))
        rig.score.process(some(partition=2))
        await rig.score.checkpoint()
        assert rig.take()[1:] == ["messages", "results", "state", ("annotations", 0, 2, 1), ("annotations", 2, 2, 1)]

    @pytest.mark.parametrize("place", ["messages", "results", "state"])
    async def test_after_a_failure_nothing_is_acknowledged_or_stored(self, rig: Rig, place: str) -> None:
        await rig.score.assign([0], 1)
        rig.score.process(some())
        rig.fail_at = place
        with pytest.raises(SinkError, match=f"{place} refused"):
            await rig.score.checkpoint()
        rig.fail_at = None
        rig.take()
        assert rig.score.process(some(first_offset=3)) is None, "nothing is owned any more"
        assert await rig.score.checkpoint() == 0
        assert rig.take() == []
        assert {row.kind for row in rig.sink.rows("state")} <= {"intent"}

        await rig.score.assign([0], 2)
        assert rig.score.next_offset("annotations", 0) is None, "it starts over"


class TestOwnership:
    async def test_batches_of_others_and_of_other_generations_are_left_alone(self, rig: Rig) -> None:
        await rig.score.assign([0], 5)
        assert rig.score.process(some(partition=1, generation=5)) is None
        assert rig.score.process(some(generation=4)) is None
        assert rig.score.pending_messages == 0
        assert rig.score.process(some(generation=5)) is not None

    async def test_a_kept_partition_keeps_its_state_in_the_new_generation(self, rig: Rig) -> None:
        await rig.score.assign([0, 1], 1)
        rig.score.process(some(partition=0))
        rig.take()
        await rig.score.assign([0, 2], 2)
        assert rig.take() == ["claims"], "only what is new is claimed"
        assert sorted(rig.score.partitions) == [0, 2]
        assert rig.score.next_offset("annotations", 0) == 3
        assert rig.score.process(some(first_offset=3, generation=2)) is not None
        await rig.score.checkpoint()
        assert rig.take()[-1] == ("annotations", 0, 5, 2)

    async def test_what_was_not_stored_is_left_to_the_next_owner(self, rig: Rig) -> None:
        await rig.score.assign([0], 1)
        rig.score.process(some(3))
        await rig.score.checkpoint()
        rig.score.process(some(3, first_offset=3))
        rig.score.forget([0])
        assert await rig.score.checkpoint() == 0
        heir = Rig(rig.sink)
        await heir.score.assign([0], 2)
        assert heir.score.next_offset("annotations", 0) == 3
        outcome = heir.score.process(some(3, first_offset=3, generation=2))
        assert outcome is not None
        assert outcome.accepted == 3

    async def test_a_partition_without_state_is_read_as_committed(self, rig: Rig) -> None:
        await rig.score.assign([0], 1)
        assert rig.score.next_offset("annotations", 0) is None
        rig.score.process(some())
        assert rig.score.next_offset("annotations", 0) == 3
        assert rig.score.next_offset("reviews", 0) is None

    async def test_partitions_have_states_of_their_own(self, rig: Rig) -> None:
        await rig.score.assign([0, 1], 1)
        rig.score.process(some(partition=0))
        rig.score.process(some(partition=1))
        await rig.score.checkpoint()
        heir = Rig(rig.sink)
        await heir.score.assign([1], 2)
        assert list(heir.score.partitions[1].pipeline.state.tasks) == [("animals", "t-1")]
        assert {row[1] for row in rig.sink.rows("state")} == {0, 1}


class Gated(MemorySink):
    """Holds back one read of a table, by its number, until told to go on: ClickHouse said "not now"."""

    def __init__(self, table: str, number: int) -> None:
        super().__init__()
        self.table, self.number, self.reads = table, number, 0
        self.waiting, self.go_on = asyncio.Event(), asyncio.Event()

    async def read(self, table: str, **equals: Any) -> list[Row]:
        if table == self.table:
            self.reads += 1
            if self.reads == self.number:
                self.waiting.set()
                await self.go_on.wait()
        await asyncio.sleep(0)
        return await super().read(table, **equals)


class TestAssigningWhileItIsAsked:
    """Restores wait for ClickHouse; meanwhile anything may be asked and taken away."""

    async def test_a_second_assignment_does_not_replace_a_state_that_has_applied_batches(self) -> None:
        sink = Gated("state", number=2)
        rig = Rig(sink)
        first = asyncio.create_task(rig.score.assign([0], 1))
        second = asyncio.create_task(rig.score.assign([0], 1))
        await first
        rig.score.process(some(3))
        sink.go_on.set()
        assert await second
        assert rig.score.next_offset("annotations", 0) == 3
        rig.score.process(some(3, first_offset=3))
        await rig.score.checkpoint()
        assert sum(cast(WindowPartialRow, row).annotations for row in sink.rows("window_partials")) == 6
        assert sink.reads == 1, "what is owned is not restored"

    @pytest.mark.parametrize("table", ["partition_claims", "state"])
    async def test_what_was_forgotten_while_it_was_restored_is_not_owned(self, table: str) -> None:
        sink = Gated(table, number=2)  # of partition 1
        rig = Rig(sink)
        assigning = asyncio.create_task(rig.score.assign([0, 1, 2], 1))
        await sink.waiting.wait()
        rig.score.forget([0, 1, 2])
        other = Claims(sink, "labelwatch", "worker-2")
        for partition in (0, 1, 2):
            await other.take(partition, NOW_MS)
        sink.go_on.set()
        assert not await assigning
        assert await other.stale() == set(), "the owner is left alone"
        assert rig.score.partitions == {}
        assert await rig.score.assign([0], 2)

    async def test_an_assignment_that_waited_behind_a_forgotten_one_begins_nothing(self) -> None:
        sink = Gated("state", number=1)
        rig = Rig(sink)
        first, second = (asyncio.create_task(rig.score.assign([0], 1)) for _ in range(2))
        await sink.waiting.wait()
        rig.score.forget([0])
        after = asyncio.create_task(rig.score.assign([1], 2))
        sink.go_on.set()
        assert tuple(await asyncio.gather(first, second, after)) == (False, False, True)
        assert list(rig.score.partitions) == [1]
        assert [row[1] for row in sink.rows("partition_claims")] == [0, 1]

    async def test_letting_go_of_what_is_not_wanted_stops_no_assignment_behind_it(self) -> None:
        sink = Gated("state", number=2)
        rig = Rig(sink)
        await rig.score.assign([0], 1)
        first = asyncio.create_task(rig.score.assign([1], 2))
        await sink.waiting.wait()
        second = asyncio.create_task(rig.score.assign([2], 3))
        third = asyncio.create_task(rig.score.assign([2], 4))
        sink.go_on.set()
        assert all(await asyncio.gather(first, second, third))
        assert list(rig.score.partitions) == [2]


class TestIdle:
    async def idle_after(self, seconds: float) -> tuple[Rig, list[Any]]:
        rig = Rig(settings=Settings(pipeline=PipelineSettings(idle_partition_seconds=60)))
        await rig.score.assign([0, 1], 1)
        rig.score.process(some(partition=0))
        rig.score.process(some(partition=1))
        await rig.score.checkpoint()
        rig.now_ms += int(seconds * 1_000)
        await rig.score.note_idle({0})
        return rig, [row.is_idle for row in rig.sink.rows("source_progress") if isinstance(row, SourceProgressRow)]

    async def test_a_partition_read_to_its_end_and_silent_holds_nothing_back(self) -> None:
        assert (await self.idle_after(59.999))[1] == [False, False]
        assert (await self.idle_after(60))[1] == [True, False], "1 is not read to its end"

    async def test_it_is_said_once_and_taken_back_by_the_next_message(self) -> None:
        rig, _ = await self.idle_after(60)
        rig.take()
        await rig.score.note_idle({0})
        assert rig.take() == []
        rig.score.process(some(first_offset=3))
        await rig.score.checkpoint()
        row = rig.sink.rows("source_progress", source_partition=0)[0]
        assert isinstance(row, SourceProgressRow)
        assert (row.is_idle, row.last_offset) == (False, 5)

    async def test_a_partition_revoked_meanwhile_is_passed_over(self) -> None:
        rig, _ = await self.idle_after(60)
        rig.score.forget([0])
        rig.take()
        await rig.score.note_idle({0})
        assert rig.take() == []


class TestBatchesThatFail:
    settings = Settings(pipeline=PipelineSettings(breaker_min_messages=10, breaker_bad_share=0.5))

    async def test_the_breaker_stops_before_anything_of_the_batch_is_durable(self) -> None:
        rig = Rig(settings=self.settings)
        await rig.score.assign([0], 1)
        rig.score.process(some(2))
        await rig.score.checkpoint()
        rig.score.process(some(3, first_offset=2))
        rig.take()
        with pytest.raises(BreakerOpenError, match="20 of the last 20 messages are bad"):
            rig.score.process(batch(records([b"bad"] * 20, first_offset=5)))
        assert await rig.score.checkpoint() == 0
        assert rig.take() == []
        heir = Rig(rig.sink)
        await heir.score.assign([0], 2)
        assert heir.score.next_offset("annotations", 0) == 2, "the bad messages are still to be read"

    async def test_a_bug_in_the_middle_of_a_batch_leaves_nothing_of_it(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await rig.score.assign([0, 1], 1)
        rig.score.process(some(partition=1))
        pipeline = rig.score.partitions[0].pipeline
        retire, calls = pipeline.state.retire, []

        def broken(sequence: int, now_ms: int) -> None:
            calls.append(sequence)
            if len(calls) == 2:
                raise ZeroDivisionError
            retire(sequence, now_ms)

        monkeypatch.setattr(pipeline.state, "retire", broken)
        with pytest.raises(ZeroDivisionError):
            rig.score.process(some(3))
        assert await rig.score.checkpoint() == 3
        assert {row[1] for row in rig.sink.rows("state")} == {1}, "the other partition is whole"
