"""Every worker's copy of reliability: what it keeps, whom it tells, and what it makes of a broker that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from detectors.consensus import LabelSpace
from detectors.evidence import Evidence
from streams import reliability_copy
from streams.metrics import METRICS
from streams.reliability_copy import ReliabilityCopy
from streams.settings import KafkaSettings
from tests.builders import NOW_MS
from tests.evidence import APP_ID, KeyValue, evidence, record

SPACE = LabelSpace("animals", "image_class")
NESTED = b"[" * 900 + b"]" * 900
Heard = tuple[LabelSpace, str, Mapping[int, Evidence]]


class Listener:
    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def __call__(self, space: LabelSpace, labeler_id: str, parts: Mapping[int, Evidence]) -> None:
        self.heard.append((space, labeler_id, parts))


def make_copy() -> tuple[ReliabilityCopy, Listener]:
    copy, listener = ReliabilityCopy(APP_ID, lambda: NOW_MS), Listener()
    copy.on_record = listener
    return copy, listener


def skipped() -> float:
    value = METRICS.registry.get_sample_value("labelwatch_reliability_copy_skipped_total")
    assert value is not None
    return value


class TestTake:
    def test_a_record_is_kept_and_passed_on(self) -> None:
        copy, listener = make_copy()
        copy.take(*record(evidence(8, 2)))
        assert listener.heard == [(SPACE, "ana", {0: evidence(8, 2)})]
        assert len(copy) == 1

    async def test_whoever_comes_later_is_told_the_latest_of_each(self) -> None:
        copy, _ = make_copy()
        copy.take(*record(evidence(8, 2), version=1))
        copy.take(*record(evidence(9, 2), version=2))
        copy.take(*record(labeler="ben"))
        late = Listener()
        await copy.tell(late)
        assert late.heard == [(SPACE, "ana", {0: evidence(9, 2)}), (SPACE, "ben", {0: evidence()})]

    async def test_telling_many_lets_others_run_and_never_tells_what_is_out_of_date(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reliability_copy, "_CHUNK", 1)
        copy, _ = make_copy()
        for labeler in ("ana", "ben", "cem"):
            copy.take(*record(evidence(1, 1), labeler=labeler, version=1))
        late = Listener()
        copy.on_record = late
        telling = asyncio.create_task(copy.tell(late))
        await asyncio.sleep(0)
        copy.take(*record(evidence(2, 1), labeler="ben", version=2))
        copy.take(record(labeler="cem")[0], None)
        await telling
        assert [(labeler, parts[0].labels) for _, labeler, parts in late.heard] == [("ana", 2), ("ben", 3), ("ben", 3)]

    def test_an_older_record_of_a_worker_that_was_suspended_changes_nothing(self) -> None:
        copy, listener = make_copy()
        copy.take(*record(evidence(9, 2, at=70), version=9))
        copy.take(*record(evidence(9, 2, at=70), version=8))
        copy.take(*record(evidence(99, 2, at=5), version=10))
        assert len(listener.heard) == 1
        copy.take(*record(evidence(10, 2, at=70), version=9))
        assert len(listener.heard) == 2, "of an equal version the last counts"

    @pytest.mark.parametrize("empty", [None, b""])
    async def test_who_is_forgotten_is_not_told_of(self, empty: bytes | None) -> None:
        copy, _ = make_copy()
        key, value = record()
        copy.take(key, value)
        copy.take(key, empty)
        copy.take(key, empty)
        late = Listener()
        await copy.tell(late)
        assert (late.heard, len(copy)) == ([], 0)

    def test_other_applications_are_passed_over(self) -> None:
        copy, listener = make_copy()
        before = skipped()
        copy.take(*record(app_id="another"))
        assert (listener.heard, len(copy), skipped()) == ([], 0, before)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            (None, record()[1]),
            (b"not json", record()[1]),
            (b"{}", record()[1]),
            (b'["labelwatch","animals","image_class","ben"]', record()[1]),
            (record()[0], b"not json"),
            (record()[0], b"[]"),
            (record()[0], record()[1].replace(b'"one_coin"', b'"magic"')),
            (record()[0], record()[1].replace(b"8.0", b'"8.0"')),
            (record()[0], record()[1].replace(b'"accuracy":0.', b'"accuracy":7.')),
            (record()[0], record()[1].replace(b'"schema_version":1', b'"schema_version":2')),
            (
                record()[0],
                record()[1].replace(b'"labels":10,"seen', b'"labels":' + b"[" * 900 + b"]" * 900 + b',"seen'),
            ),
        ],
    )
    def test_what_cannot_be_read_is_counted_and_passed_over(self, key: bytes | None, value: bytes) -> None:
        copy, listener = make_copy()
        copy.take(*record(labeler="cem"))
        before = skipped()
        copy.take(key, value)
        assert skipped() == before + 1
        assert ([heard[1] for heard in listener.heard], len(copy)) == (["cem"], 1)


class Consumer:
    """As much of aiokafka's consumer as the copy uses; ``script`` is what polls return, or raise."""

    log: list[KeyValue]
    script: list[int | BaseException]
    made: list[dict[str, Any]]
    stopped = 0

    def __init__(self, *topics: str, **options: Any) -> None:
        assert topics == ("labeler-reliability",)
        self.made.append(options)
        self.at = 0

    async def start(self) -> None: ...

    async def stop(self) -> None:
        type(self).stopped += 1

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("labeler-reliability", 0)}

    async def end_offsets(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 3)

    async def position(self, _partition: TopicPartition) -> int:
        return self.at

    def last_poll_timestamp(self, _partition: TopicPartition) -> int | None:
        return NOW_MS - 2_500 if self.at else None

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        assert timeout_ms < 5_000
        if not self.script:
            await asyncio.Event().wait()
        step = self.script.pop(0)
        if isinstance(step, BaseException):
            raise step
        part = self.log[self.at : self.at + step]
        self.at += len(part)
        await asyncio.sleep(0)
        return {TopicPartition("labeler-reliability", 0): [SimpleNamespace(key=k, value=v) for k, v in part]}


class TestReading:
    @pytest.fixture
    def consumer(self, monkeypatch: pytest.MonkeyPatch) -> type[Consumer]:
        class Scripted(Consumer):
            log = [record(labeler=labeler) for labeler in ("ana", "ben", "cem", "dora")]
            script: list[int | BaseException] = []
            made: list[dict[str, Any]] = []

        monkeypatch.setattr(reliability_copy, "AIOKafkaConsumer", Scripted)
        return Scripted

    async def read(self, copy: ReliabilityCopy, timeout_seconds: float = 10.0) -> bool:
        reading = asyncio.create_task(copy.run(KafkaSettings(), 0.001))
        try:
            return await copy.restored(timeout_seconds)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def test_is_restored_when_the_end_that_was_at_the_start_is_reached(self, consumer: type[Consumer]) -> None:
        copy, listener = make_copy()
        consumer.script[:] = [1, 2]
        assert await self.read(copy)
        assert [labeler for _, labeler, _ in listener.heard] == ["ana", "ben", "cem"]
        assert copy.age_seconds == 2.5
        assert consumer.stopped == 1

    async def test_a_start_does_not_wait_for_ever(self, consumer: type[Consumer]) -> None:
        copy, listener = make_copy()
        consumer.script[:] = [2]
        assert not await self.read(copy, 0.05)
        assert len(listener.heard) == 2, "what there is, is used"

    async def test_age_counts_from_the_start_until_the_broker_answers(self, consumer: type[Consumer]) -> None:
        copy, _ = make_copy()
        consumer.script[:] = [0, 0]
        assert not await self.read(copy, 0.05)
        assert (consumer.script, copy.age_seconds) == ([], 0.0)

    async def test_reads_from_the_beginning_without_a_group(self, consumer: type[Consumer]) -> None:
        consumer.script[:] = [4]
        assert await self.read(make_copy()[0])
        options = consumer.made[0]
        assert (options["group_id"], options["auto_offset_reset"]) == (None, "earliest")
        assert not options["enable_auto_commit"]

    async def test_goes_on_after_the_broker_was_away(self, consumer: type[Consumer]) -> None:
        copy, listener = make_copy()
        consumer.script[:] = [2, KafkaConnectionError("away"), OSError("refused"), 4]
        assert await self.read(copy)
        assert len(copy) == 4
        assert len(listener.heard) == 6, "the first two again: that changes nothing"
        assert consumer.stopped == 3

    async def test_a_bug_is_not_retried(self, consumer: type[Consumer]) -> None:
        consumer.script[:] = [ZeroDivisionError()]
        with pytest.raises(ZeroDivisionError):
            await make_copy()[0].run(KafkaSettings(), 0.001)

    def test_size_and_age_are_shown(self) -> None:
        copy, _ = make_copy()
        copy.take(*record())
        copy.report(0.0)
        assert METRICS.registry.get_sample_value("labelwatch_reliability_copy_records") == 1
        assert METRICS.registry.get_sample_value("labelwatch_reliability_copy_age_seconds") == 0


def test_the_key_is_plain_json() -> None:
    assert orjson.loads(record(labeler='漢 "b"')[0]) == [APP_ID, "animals", "image_class", '漢 "b"']
