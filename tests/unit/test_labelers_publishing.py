"""LABELERS tells others: at once what matters, the rest before long, and never more than a message holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detectors.evidence import Evidence
from detectors.labeler_speed import SpeedEvidence
from schemas.reliability import ReliabilityRecord
from streams.labelers import Labelers, LabelersPipeline
from streams.outbox import Message
from streams.sinks.sink import MemorySink
from tests.builders import NOW_MS, START_MS, batch, owner_context
from tests.evidence import evidence, evidence_record, make_labelers, record_of

TOPIC = "labeler-evidence"


def feed(pipeline: LabelersPipeline, *records: object) -> None:
    pipeline.process(TOPIC, records)  # type: ignore[arg-type]  # tests' records are as good


class TestPublishing:
    def published(self, pipeline: LabelersPipeline, now_ms: int) -> list[Message]:
        return pipeline.state.changes(now_ms).messages

    def test_a_record_holds_the_summary_and_every_part(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(8, 2, at=90), source=2, version=7))
        (message,) = self.published(pipeline, NOW_MS)
        assert message[:2] == ("labeler-reliability", None)
        assert message.key == b'["labelwatch","animals","image_class","ana"]'
        record = ReliabilityRecord.model_validate(record_of(message))
        assert record.as_of.isoformat() == "2026-01-05T07:01:00+00:00"
        assert (record.labels, record.form, record.parts[2].version) == (10, "one_coin", 7)
        assert Evidence.from_plain(record.parts[2].evidence) == evidence(8, 2, at=90)

    def test_a_material_change_is_told_at_once(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(80, 20), version=1))
        assert len(self.published(pipeline, NOW_MS)) == 1
        feed(pipeline, evidence_record(evidence(80, 23), offset=1, version=2))
        (message,) = self.published(pipeline, NOW_MS + 1)
        assert record_of(message)["labels"] == 103
        assert self.published(pipeline, NOW_MS + 1) == []

    def test_so_is_an_interval_a_quarter_narrower(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(80, 20, population=(0.8, 10.0)), version=1))
        self.published(pipeline, NOW_MS)
        feed(pipeline, evidence_record(evidence(112, 28, population=(0.8, 10.0)), offset=1, version=2))
        assert self.published(pipeline, NOW_MS + 1) == [], "a sixth"
        feed(pipeline, evidence_record(evidence(176, 44, population=(0.8, 10.0)), offset=2, version=3))
        assert len(self.published(pipeline, NOW_MS + 2)) == 1

    def test_a_small_change_waits(self) -> None:
        pipeline = make_labelers(publish_seconds=5)
        feed(pipeline, evidence_record(evidence(80, 20), version=1))
        self.published(pipeline, NOW_MS)
        feed(pipeline, evidence_record(evidence(80.1, 20), offset=1, version=2))
        assert self.published(pipeline, NOW_MS + 4_999) == []
        assert not pipeline.state.is_due(NOW_MS + 4_999)
        assert pipeline.state.is_due(NOW_MS + 5_000)
        (message,) = self.published(pipeline, NOW_MS + 5_000)
        assert record_of(message)["effective_labels"] == pytest.approx(100.1)
        assert not pipeline.state.is_due(NOW_MS + 20_000), "nothing is new"

    def test_what_is_due_before_the_next_checkpoint_does_not_wait_for_it(self) -> None:
        pipeline = make_labelers(publish_seconds=5, checkpoint_seconds=2)
        feed(pipeline, evidence_record(evidence(80, 20), version=1))
        self.published(pipeline, NOW_MS)
        feed(pipeline, evidence_record(evidence(80.1, 20), offset=1, version=2))
        assert not pipeline.state.is_due(NOW_MS + 2_999)
        assert pipeline.state.is_due(NOW_MS + 3_000)

    def test_without_accuracy_only_time_decides(self) -> None:
        pipeline = make_labelers()
        plain = {"form": "subjective", "counts": {}, "labels": 3}
        feed(pipeline, evidence_record(evidence(**plain), version=1))
        assert len(self.published(pipeline, NOW_MS)) == 1
        feed(pipeline, evidence_record(evidence(**{**plain, "labels": 4}), offset=1, version=2))
        assert self.published(pipeline, NOW_MS + 1) == []
        assert len(self.published(pipeline, NOW_MS + 5_000)) == 1

    def test_whose_answers_are_not_judged_has_a_speed_to_tell_but_no_row(self) -> None:
        pipeline = make_labelers()
        speed = SpeedEvidence(weight=3.0, log_seconds=2.5, spread=-1.0, seen_ms=START_MS)
        for version, at_ms in ((1, START_MS), (2, START_MS + 3 * 60_000)):
            known = Evidence("unjudged", 0, at_ms, speed=speed)
            feed(pipeline, evidence_record(known, offset=version, version=version))
        changes = pipeline.state.changes(NOW_MS)
        assert changes.results["labeler_reliability"] == []
        record = record_of(changes.messages[0])
        assert (record["form"], record["accuracy"]) == ("unjudged", None)
        assert record["parts"]["0"]["evidence"]["speed"] == speed.to_plain()
        assert [row for row in changes.state if row[2] == "reliability"], "and is remembered"

    def test_matrices_too_large_for_a_message_are_cut_to_one_coin(self) -> None:
        names = [f"{number:03}" + "x" * 250 for number in range(28)]
        counts = {(true, 0, answer): 1.0 for true in names for answer in names}
        known = evidence(form="confusion", counts=counts, labels=784)
        pipeline = make_labelers()
        for source in range(3):
            record = evidence_record(known, offset=source, source=source, version=1)
            assert len(record.value or b"") > 400_000, "sent whole"
            feed(pipeline, record)
        (message,) = self.published(pipeline, NOW_MS)
        assert len(message.value or b"") < 1_000_000
        parts = record_of(message)["parts"]
        assert {part["evidence"]["form"] for part in parts.values()} == {"one_coin"}


class TestOwner:
    async def test_publishes_what_waited_though_no_message_came(self) -> None:
        sink, sent, now_ms = MemorySink(), list[Message](), NOW_MS

        async def publish(messages: Sequence[Message]) -> None:
            sent.extend(messages)

        labelers = Labelers(owner_context(sink, "labelwatch.labelers", publish=publish, now_ms=lambda: now_ms))
        await labelers.assign([0], 1)
        for offset, right in enumerate((80.0, 80.1)):
            labelers.process(batch([evidence_record(evidence(right, 20), offset=offset, version=offset)], topic=TOPIC))
            await labelers.checkpoint()
        assert len(sent) == 1
        now_ms += 5_000
        assert await labelers.checkpoint() == 0
        assert [record_of(message)["effective_labels"] for message in sent] == [100.0, 100.1]
        writes = len(sink.writes)
        await labelers.checkpoint()
        assert len(sink.writes) == writes, "nothing is left to do"
        assert sink.rows("source_progress") == [], "evidence is no source"
