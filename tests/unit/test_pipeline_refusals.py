"""SCORE's pure core: what it refuses, and what it has applied before."""

from __future__ import annotations

import pytest

from schemas.dead_letter import Reason
from schemas.rows import AnnotationScoreRow
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.settings import ProjectSettings
from streams.sinks.sink import MemorySink
from tests.builders import (
    START_MS,
    Document,
    annotation,
    make_pipeline,
    partials,
    record,
    records,
    refused,
    review,
    scores,
    store,
)


def process(pipeline: PartitionPipeline, *events: Document | bytes | None) -> Outcome:
    """Process events at the offsets that follow."""
    first = pipeline.state.position("annotations").offset + 1
    return pipeline.process("annotations", records(events, first_offset=first))


def process_one(pipeline: PartitionPipeline, event: Document) -> AnnotationScoreRow:
    (row,) = scores(process(pipeline, event))
    return row


def process_at(pipeline: PartitionPipeline, event: Document | None, timestamp: int) -> Outcome:
    """Process one event that arrived at ``timestamp``."""
    offset = pipeline.state.position("annotations").offset + 1
    return pipeline.process("annotations", [record(event, offset=offset, timestamp=timestamp)])


class TestRefused:
    def test_from_the_future_beyond_the_skew(self) -> None:
        arrived = START_MS + 10_000
        pipeline = make_pipeline(clock_skew_seconds=5.0)
        reason, detail = refused(pipeline, record(annotation(at=15.001), timestamp=arrived))
        assert reason is Reason.TIME_IN_FUTURE
        assert detail == (
            "submitted_at 2026-01-05T07:00:15.001000Z is more than 5 s after the message arrived "
            "(2026-01-05T07:00:10Z): check the sender's clock"
        )
        assert process_at(pipeline, annotation(at=15), arrived).accepted == 1

    @pytest.mark.parametrize("timestamp", [-1, 0, -(2**63), 95_617_584_000_000, 2**63 - 1])
    def test_insane_arrival_times_neither_raise_nor_refuse(self, timestamp: int) -> None:
        pipeline = make_pipeline()
        assert process_at(pipeline, annotation(at=10**8), timestamp).accepted == 1
        assert len(process_at(pipeline, None, timestamp).dead_letters) == 1

    @pytest.mark.parametrize(
        ("overrides", "detail"),
        [
            ({"label": "emu"}, "label 'emu' is not in the declared label set of project 'animals'"),
            ({"gold": "Cat"}, "gold_label 'Cat' is not in the declared label set of project 'animals'"),
            ({"label": {"kind": "multiclass", "values": ["cat", "cow"]}}, "label 'cow' is not in"),
            ({"label": {"kind": "span", "spans": [{"start": 0, "end": 1, "value": "cat "}]}}, "label 'cat ' is not in"),
        ],
    )
    def test_label_outside_the_declared_set(self, overrides: Document, detail: str) -> None:
        pipeline = make_pipeline(projects={"animals": ProjectSettings(labels=frozenset({"cat", "dog"}))})
        reason, found = refused(pipeline, record(annotation(**overrides)))
        assert reason is Reason.UNKNOWN_LABEL
        assert detail in found

    def test_reviews_are_held_to_arrival_time_and_label_set_too(self) -> None:
        """The latest review decides a task's truth: one from 2099 would decide it for good."""
        pipeline = make_pipeline(projects={"animals": ProjectSettings(labels=frozenset({"cat", "dog"}))})
        late = record(review(reviewed_at="2099-01-01T00:00:00Z"), offset=0)
        emu = record(review(true_label={"kind": "class", "value": "emu"}), offset=1)
        good = record(review(true_label={"kind": "class", "value": "dog"}), offset=2)
        outcome = pipeline.process("reviews", [late, emu, good])
        assert [(letter.reason, letter.detail.split()[0]) for letter in outcome.dead_letters] == [
            (Reason.TIME_IN_FUTURE, "reviewed_at"),
            (Reason.UNKNOWN_LABEL, "true_label"),
        ]
        assert (outcome.accepted, len(outcome.rows["reviews"])) == (1, 1)

    def test_open_label_sets_and_other_projects_are_not_checked(self) -> None:
        pipeline = make_pipeline(
            projects={"animals": ProjectSettings(labels=frozenset({"cat"})), "b": ProjectSettings()}
        )
        events = [
            annotation(event_id="1", label={"kind": "text", "value": "emu"}),
            annotation(event_id="2", label={"kind": "rating", "value": 3}),
            annotation(event_id="3", label="emu", project_id="b"),
            annotation(event_id="4", label="emu", project_id="c"),
        ]
        assert process(pipeline, *events).accepted == 4

    @pytest.mark.parametrize("key", [b"t-2", None, b"\xff"])
    def test_key_mismatch(self, key: bytes | None) -> None:
        reason, _ = refused(make_pipeline(), record(annotation(), key=key))
        assert reason is Reason.KEY_MISMATCH
        outcome = make_pipeline().process("reviews", [record(review(), key=key)])
        assert [letter.reason for letter in outcome.dead_letters] == [Reason.KEY_MISMATCH]

    def test_what_is_refused_changes_nothing_but_counts(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        bad = [
            record(b"x", offset=0),
            record(annotation(at=10**6), offset=1, timestamp=START_MS),
            record(None, offset=2),
        ]
        store(pipeline, pipeline.process("annotations", bad), sink)
        assert (len(pipeline.state.tasks), len(pipeline.state.windows), pipeline.state.windows.watermark_ms) == (
            0,
            0,
            0,
        )
        assert partials(sink) == []
        position = pipeline.state.position("annotations")
        assert (position.offset, position.received, position.dead_letters) == (2, 3, 3)
        assert len(sink.rows("dead_letters")) == 3


class TestReplay:
    def test_messages_applied_before_are_skipped(self) -> None:
        pipeline = make_pipeline()
        messages = records([annotation(event_id=str(i)) for i in range(5)])
        pipeline.process("annotations", messages[:3])
        outcome = pipeline.process("annotations", messages)
        assert (outcome.replayed, outcome.received, outcome.accepted, outcome.duplicates) == (3, 2, 2, 0)
        again = pipeline.process("annotations", messages)
        assert (again.replayed, again.received, dict(again.rows)) == (5, 0, {})
        assert pipeline.state.position("annotations").received == 5

    def test_holes_in_offsets_are_no_matter(self) -> None:
        pipeline = make_pipeline()
        messages = [record(annotation(event_id=str(i)), offset=i * 10) for i in range(3)]
        assert pipeline.process("annotations", messages).accepted == 3
        assert pipeline.state.position("annotations").offset == 20

    def test_the_topics_have_positions_of_their_own(self) -> None:
        pipeline = make_pipeline()
        pipeline.process("annotations", records([annotation()], first_offset=100))
        assert pipeline.process("reviews", records([review()], first_offset=5)).accepted == 1
        assert (pipeline.state.position("annotations").offset, pipeline.state.position("reviews").offset) == (100, 5)

    def test_other_topics_are_a_bug(self) -> None:
        with pytest.raises(ValueError, match="SCORE does not read 'alerts'"):
            make_pipeline().process("alerts", records([annotation()]))

    def test_nothing_is_nothing(self) -> None:
        assert make_pipeline().process("annotations", []) == Outcome()
