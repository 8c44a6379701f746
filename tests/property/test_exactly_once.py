"""Crashes anywhere, redelivery from anywhere, owners that do not know they lost: the tables come out the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.dead_letter import DeadLetter
from schemas.rows import Row, SourceProgressRow, StateRow
from schemas.topics import DEAD_LETTERS, MEASUREMENTS
from streams import outbox
from streams import pipeline as pipeline_module
from streams.score import FencedError, Score
from streams.settings import PipelineSettings, Settings
from streams.sinks.sink import SinkError
from streams.sinks.tables import identity_of
from streams.state.codecs import decode_position
from tests.builders import Message, annotation, batch, finished, owner_context, records, review
from tests.property.comparable import TABLES, counted, stored
from tests.property.crashing import CrashError, CrashingSink, Fuse

PIPELINE: dict[str, Any] = {
    "out_of_order_seconds": 30,
    "allowed_lateness_seconds": 120,
    "duplicate_horizon_seconds": 900,
}
SETTINGS = Settings(pipeline=PipelineSettings(**PIPELINE, breaker_min_messages=10_000))
Log = Mapping[str, Sequence[Message]]


class AppendingSink(CrashingSink):
    """Forgets row identity: a table that is not a ReplacingMergeTree."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: dict[str, list[Row]] = {}

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await super().write(rows)
        for table, added in rows.items():
            self.appended.setdefault(table, []).extend(added)

    def rows(self, table: str, **equals: Any) -> list[Row]:
        if table in ("annotation_scores", "reviews", "dead_letters"):
            return sorted(self.appended.get(table, []), key=identity_of(table))
        return super().rows(table, **equals)


class Worker:
    """A Score of partition 0, fed from a log without a framework."""

    def __init__(self, sink: CrashingSink, name: str, letters: list[DeadLetter]) -> None:
        self.sink = sink
        self.letters = letters
        self.acknowledged: dict[str, int] = {}
        context = owner_context(
            sink,
            worker=name,
            settings=SETTINGS,
            publish=self._publish,
            acknowledge=self._acknowledge,
            now_ms=lambda: random.getrandbits(40),  # no result may depend on the wall clock
        )
        self.score = Score(context)

    async def _publish(self, messages: Sequence[outbox.Message]) -> None:
        self.sink.fuse.burn()
        self.letters.extend(
            DeadLetter.model_validate_json(message.value or b"")
            for message in messages
            if message.topic == DEAD_LETTERS.name
        )
        self.sink.measured += [message.value or b"" for message in messages if message.topic == MEASUREMENTS.name]
        self.sink.fuse.burn()

    def _acknowledge(self, topic: str, partition: int, offset: int, generation: int) -> None:
        self.sink.fuse.burn()
        (stored,) = self.sink.rows("state", source_partition=partition, kind="position", key=topic)
        assert offset <= decode_position(cast(StateRow, stored).payload).offset, "acknowledged before it was durable"
        assert generation == 1
        self.acknowledged[topic] = offset

    def run(self, log: Log, choose: random.Random) -> None:
        """Read the log to its end, from no later than the stored positions, with checkpoints in between."""
        finished(self.score.assign([0], generation=1))
        at, ends = {}, {}
        for topic in log:
            resume = self.score.next_offset(topic, 0) or 0
            at[topic] = choose.choice([resume, choose.randint(0, resume)])  # the broker may deliver again
        while open_topics := [topic for topic, messages in log.items() if at[topic] < len(messages)]:
            topic = choose.choice(open_topics)
            ends[topic] = len(log[topic]) - 1
            messages = log[topic][at[topic] : at[topic] + choose.randint(1, 12)]
            at[topic] += len(messages)
            self.score.process(batch(messages, topic=topic))
            if choose.random() < 0.4:
                finished(self.score.checkpoint())
        for _ in range(3):  # reviews are applied after one checkpoint, and what they come to is stored by the next
            finished(self.score.checkpoint())
        assert self.acknowledged == ends


def make_log(seed: int, size: int, *, reviews_that_tell: bool = False) -> Log:
    """Annotations with duplicates, revisions, bad messages and long pauses; and reviews.

    Of reviews that tell, those of one task agree, so that what is known in the end does not depend on their order.
    """
    choose = random.Random(seed)
    annotations: list[Any] = []
    now = 0.0
    for number in range(size):
        now += choose.choice([1, 10, 60, 60, 700])
        task = choose.randrange(4)
        event = annotation(
            at=now - choose.choice([0, 0, 0, 50, 1_000]),
            took=choose.randrange(1, 100),
            event_id=f"e-{number}",
            task_id=f"t-{task}",
            labeler_id=f"l-{choose.randrange(3)}",
            label=choose.choice(["cat", "dog"]),
            gold="cat" if task == 0 else None,
            vendor_id=f"v-{task % 2}",
        )
        annotations.append(event)
        if choose.random() < 0.2:
            annotations.append(choose.choice([event, annotations[0], b"bad", None]))
    of_task = (lambda i: i % 4) if reviews_that_tell else (lambda i: 100 + i)
    reviews: list[Any] = [review(task_id=f"t-{of_task(i)}", at=50_000 + i) for i in range(size // 4)] + [b"bad"]
    return {"annotations": records(annotations), "reviews": records(reviews)}


def uninterrupted(log: Log) -> tuple[dict[str, list[Row]], set[str]]:
    sink, letters = CrashingSink(), list[DeadLetter]()
    Worker(sink, "steady", letters).run(log, random.Random(0))
    return stored(sink), {letter.model_dump_json() for letter in letters}


def with_crashes(log: Log, choose: random.Random, crashes: int, sink: CrashingSink) -> set[str]:
    """Run with so many crashes at random places, then to the end; the dead letters that were published."""
    letters = list[DeadLetter]()
    for number in range(crashes):
        sink.fuse = Fuse(choose.randint(1, 60))
        try:
            Worker(sink, f"worker-{number}", letters).run(log, choose)
        except CrashError:
            continue
    sink.fuse = Fuse(0)
    Worker(sink, "last", letters).run(log, choose)
    return {letter.model_dump_json() for letter in letters}


@example(27, 4, 0)  # a class is first seen between two checkpoints
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 6))
def test_crashes_and_redelivery_leave_no_trace(seed: int, size: int, crashes: int) -> None:
    log = make_log(seed, size)
    expected, expected_letters = uninterrupted(log)
    sink = CrashingSink()
    letters = with_crashes(log, random.Random(seed), crashes, sink)
    found = stored(sink)
    for table in TABLES:
        assert found[table] == expected[table], table
    assert letters == expected_letters
    for row in found["source_progress"]:
        assert isinstance(row, SourceProgressRow)
        assert row.received == row.accepted + row.duplicates + row.dead_letters == len(log[row.topic])


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 6))
def test_crashes_among_reviews_count_nothing_twice(seed: int, size: int, crashes: int) -> None:
    log = make_log(seed, size, reviews_that_tell=True)
    steady, crashed = CrashingSink(), CrashingSink()
    Worker(steady, "steady", []).run(log, random.Random(0))
    with_crashes(log, random.Random(seed), crashes, crashed)
    assert counted(crashed) == counted(steady)


def test_every_single_place_survives_a_crash() -> None:
    log = make_log(seed=7, size=60)
    expected, _ = uninterrupted(log)
    place = 0
    while True:
        place += 1
        sink = CrashingSink()
        sink.fuse = Fuse(place)
        try:
            Worker(sink, "first", []).run(log, random.Random(1))
        except CrashError:
            sink.fuse = Fuse(0)
            Worker(sink, "second", []).run(log, random.Random(2))
        else:
            break
        assert stored(sink) == expected, place
    assert place > 50, "there were not enough places for this to mean anything"


class TestTheGuardsMatter:
    """With a guard taken out the comparison fails: it can."""

    def differs(self, sink: Callable[[], CrashingSink], *only: str) -> bool:
        """Whether any of ten histories with crashes ends with other tables than without."""
        found = []
        for seed in range(10):
            log = make_log(seed, size=40)
            made = sink()
            with_crashes(log, random.Random(seed), 4, made)
            expected, _ = uninterrupted(log)
            kept = stored(made)
            found.append(any(kept[table] != expected[table] for table in only or TABLES))
        return any(found)

    def test_nothing_differs_with_all_guards(self) -> None:
        assert not self.differs(CrashingSink)

    def test_without_skipping_what_was_applied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        expected, _ = uninterrupted(log := make_log(seed=3, size=40))
        monkeypatch.setattr(pipeline_module, "unread", lambda records, last_offset: records)
        sink = CrashingSink()
        with_crashes(log, random.Random(3), 4, sink)
        found = stored(sink)
        assert found["source_progress"] != expected["source_progress"]
        assert found["annotation_scores"] != expected["annotation_scores"]

    def test_without_row_identity(self) -> None:
        assert self.differs(AppendingSink, "annotation_scores")

    def test_with_state_before_results(self) -> None:
        class StateFirst(CrashingSink):
            """Writes the results of a checkpoint only after its state."""

            def __init__(self) -> None:
                super().__init__()
                self.held: dict[str, Sequence[Row]] = {}

            async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
                if "annotation_scores" in rows or "window_partials" in rows:
                    self.held = dict(rows)
                    return
                held, self.held = self.held, {}
                await super().write(rows)
                await super().write(held)

        assert self.differs(StateFirst)


class GatedSink(CrashingSink):
    """Waits at a gate before a table is written; what was waited at is known."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self.table = table
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        if self.table in rows:
            self.reached.set()
            await self.opened.wait()
        await super().write(rows)


def zombie_and_heir(sink: CrashingSink) -> tuple[Worker, Worker]:
    return Worker(sink, "zombie", []), Worker(sink, "heir", [])


class TestFencing:
    log = make_log(seed=5, size=20)

    def applied(self, worker: Worker) -> None:
        assert worker.score.process(batch(self.log["annotations"]))

    async def test_a_zombie_writes_nothing(self) -> None:
        sink = CrashingSink()
        zombie, heir = zombie_and_heir(sink)
        await zombie.score.assign([0], 1)
        self.applied(zombie)
        await heir.score.assign([0], 1)
        with pytest.raises(FencedError, match=r"another worker has claimed source partitions \[0\]; this one stops"):
            await zombie.score.checkpoint()
        assert all(sink.rows(table) == [] for table in TABLES)
        assert zombie.acknowledged == {}
        await heir.score.checkpoint()
        heir.run(self.log, random.Random(0))
        assert stored(sink) == uninterrupted(self.log)[0]

    async def test_a_zombie_that_was_overtaken_between_results_and_state_writes_no_state(self) -> None:
        sink = GatedSink("annotation_scores")
        zombie, heir = zombie_and_heir(sink)
        await zombie.score.assign([0], 1)
        self.applied(zombie)
        checkpoint = asyncio.create_task(zombie.score.checkpoint())
        await sink.reached.wait()
        await heir.score.assign([0], 1)
        sink.opened.set()
        with pytest.raises(FencedError):
            await checkpoint
        assert sink.rows("annotation_scores") != []
        assert [row for row in sink.rows("state") if row.kind != "intent"] == []
        assert zombie.acknowledged == {}
        last = Worker(sink, "last", [])
        last.run(self.log, random.Random(0))
        assert stored(sink) == uninterrupted(self.log)[0]

    async def test_a_zombie_does_not_recover(self) -> None:
        sink = CrashingSink()
        zombie, heir = zombie_and_heir(sink)
        await zombie.score.assign([0], 1)
        self.applied(zombie)
        await heir.score.assign([0], 1)
        with pytest.raises(FencedError):
            await zombie.score.checkpoint()
        assert zombie.score.process(batch(self.log["reviews"], topic="reviews")) is None
        assert await zombie.score.checkpoint() == 0
        assert all(sink.rows(table) == [] for table in TABLES)

    @pytest.mark.parametrize("table", ["annotation_scores"])
    async def test_a_partition_revoked_during_a_checkpoint_writes_no_state(self, table: str) -> None:
        sink = GatedSink(table)
        worker = Worker(sink, "worker", [])
        await worker.score.assign([0], 1)
        self.applied(worker)
        checkpoint = asyncio.create_task(worker.score.checkpoint())
        await sink.reached.wait()
        worker.score.forget([0])
        sink.opened.set()
        assert await checkpoint == 0
        assert [row for row in sink.rows("state") if row.kind != "intent"] == []
        assert worker.acknowledged == {}

    async def test_a_partition_revoked_and_assigned_again_meanwhile_starts_over(self) -> None:
        sink = GatedSink("annotation_scores")
        worker = Worker(sink, "worker", [])
        await worker.score.assign([0], 1)
        self.applied(worker)
        checkpoint = asyncio.create_task(worker.score.checkpoint())
        await sink.reached.wait()
        worker.score.forget([0])
        await worker.score.assign([0], 2)
        sink.opened.set()
        assert await checkpoint == 0
        assert [row for row in sink.rows("state") if row.kind != "intent"] == []
        assert worker.score.next_offset("annotations", 0) is None
        assert worker.acknowledged == {}


async def test_after_a_failed_checkpoint_nothing_is_stored_any_more() -> None:
    """Its effects have left memory: a later position would skip them."""

    class Refusing(CrashingSink):
        refuse = True

        async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
            if "annotation_scores" in rows and self.refuse:
                raise SinkError("no")
            await super().write(rows)

    log = make_log(seed=5, size=20)
    sink = Refusing()
    worker = Worker(sink, "worker", [])
    await worker.score.assign([0], 1)
    worker.score.process(batch(log["annotations"][:10]))
    with pytest.raises(SinkError):
        await worker.score.checkpoint()
    sink.refuse = False
    assert worker.score.process(batch(log["annotations"][10:])) is None
    assert await worker.score.checkpoint() == 0
    assert [row for row in sink.rows("state") if row.kind != "intent"] == []
    assert worker.acknowledged == {}
    Worker(sink, "next", []).run(log, random.Random(0))
    assert stored(sink) == uninterrupted(log)[0]
