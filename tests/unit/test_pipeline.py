"""SCORE's pure core: what becomes of an annotation, in the order in which it is done."""

from __future__ import annotations

from typing import Any

import pytest

from detectors.sketches import bucket
from schemas.rows import AnnotationScoreRow, ReviewRow, TaskConfidenceRow
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.sinks.sink import MemorySink
from tests.builders import (
    HOSTILE_IDS,
    START_MS,
    Document,
    annotation,
    make_pipeline,
    partials,
    record,
    records,
    restored,
    review,
    score_all,
    scores,
    store,
    window_sums,
)


def process(pipeline: PartitionPipeline, *events: Document | bytes | None) -> Outcome:
    """Process events at the offsets that follow."""
    first = pipeline.state.position("annotations").offset + 1
    return pipeline.process("annotations", records(events, first_offset=first))


def process_one(pipeline: PartitionPipeline, event: Document) -> AnnotationScoreRow:
    (row,) = scores(process(pipeline, event))
    return row


def answers(*labels: Any, **overrides: Any) -> list[Document]:
    """Answers to one task by as many labelers, a second apart."""
    return [
        annotation(event_id=f"e-{i}", labeler_id=f"labeler-{i}", label=label, at=30.0 + i, **overrides)
        for i, label in enumerate(labels)
    ]


class TestRows:
    def test_one_annotation_gives_this_row(self) -> None:
        event = annotation(at=30.0015, took=20.25, gold="dog", labeler_kind="model")
        assert process_one(make_pipeline(partition=3), event) == AnnotationScoreRow(
            project_id="animals",
            task_type="image_class",
            vendor_id="acme",
            submitted_at=START_MS + 30_001,
            event_id="e-1",
            task_id="t-1",
            labeler_id="ana",
            labeler_kind="model",
            label_kind="class",
            label="cat",
            gold_label="dog",
            gold_correct=False,
            agrees_with_consensus=None,
            started_at=START_MS + 9_751,
            handling_seconds=20.25,
            expected_handling_seconds=None,
            is_revision=False,
            is_late=False,
            ingested_at=START_MS + 86_400_000,
            source_partition=3,
            source_offset=0,
            probability_right=0.0,
        )

    def test_one_task_gives_this_row(self) -> None:
        """Two of three strangers: see tests/unit/test_confusion.py for the posterior."""
        pipeline = make_pipeline(partition=3)
        sink = score_all(pipeline, records(answers("cat", "cat", "dog")))
        (row,) = sink.rows("task_confidence")
        assert isinstance(row, TaskConfidenceRow)
        assert 0.5 < row.confidence < row.raw_confidence
        assert row == TaskConfidenceRow(
            project_id="animals",
            task_id="t-1",
            task_type="image_class",
            consensus_label="cat",
            confidence=pipeline.state.tasks[("animals", "t-1")].confidence,
            labels=3,
            gold_label=None,
            last_submitted_at=START_MS + 32_000,
            source_partition=3,
            version=2,
            raw_confidence=pytest.approx(0.76),  # type: ignore[arg-type]
            entropy=pytest.approx(0.551, abs=1e-3),  # type: ignore[arg-type]
            posterior={"cat": row.raw_confidence, "dog": pytest.approx(0.24)},  # type: ignore[dict-item]
            truth=None,
            truth_source="",
            is_subjective=False,
        )

    def test_the_probability_that_an_answer_is_right_is_of_its_arrival(self) -> None:
        outcome = process(make_pipeline(), *answers("cat", "cat", "cat", "dog"))
        chances = [row.probability_right or 0.0 for row in scores(outcome)]
        assert 0.5 < chances[0] < chances[1] < chances[2] < 1.0
        assert 0.0 < chances[3] < 0.5

    def test_what_never_stood_and_what_is_free_has_no_such_probability(self) -> None:
        text = annotation(event_id="t", labeler_id="bob", label={"kind": "text", "value": "a"})
        outcome = process(make_pipeline(), annotation(event_id="2", at=40), annotation(event_id="1", at=30), text)
        assert [row.probability_right is None for row in scores(outcome)] == [False, True, True]

    def test_one_review_gives_this_row(self) -> None:
        pipeline = make_pipeline(partition=3)
        verdicts = [review(accepted=False, labeler_id="ana"), review(reviewer_id="", task_id="t-1"), review()]
        outcome = pipeline.process("reviews", records(verdicts, first_offset=7))
        assert (outcome.received, outcome.accepted, len(outcome.dead_letters)) == (3, 2, 1)
        first, second = outcome.rows["reviews"]
        arrived = START_MS + 86_400_000
        assert first == ReviewRow(
            "animals",
            "t-1",
            "ana",
            "rob",
            START_MS + 600_000,
            None,
            False,
            arrived,
            source_partition=3,
            source_offset=7,
        )
        assert second[2:3] + second[5:7] == ("", "cat", None)
        assert outcome.dead_letters[0].origin.model_dump() == {"topic": "reviews", "partition": 3, "offset": 8}

    @pytest.mark.parametrize("name", HOSTILE_IDS)
    def test_ids_may_hold_anything(self, name: str) -> None:
        ids: Document = dict.fromkeys(
            ("event_id", "task_id", "labeler_id", "project_id", "vendor_id", "task_type"), name
        )
        pipeline, sink = make_pipeline(), MemorySink()
        score_all(pipeline, [record(annotation(**ids, label=name))], sink)
        again = restored(pipeline, sink)
        process(again, annotation(**ids, label=name), annotation(**ids | {"event_id": "2"}, label="other"))
        assert [row.is_revision for row in scores(process(again, annotation(**ids | {"event_id": "3"})))] == [True]


class TestHandlingTime:
    def test_forecast_comes_before_learning(self) -> None:
        pipeline = make_pipeline()
        found = [
            process_one(pipeline, annotation(event_id=f"e-{i}", at=2_000.0 * i, took=took))
            for i, took in enumerate((10.0, 1_000.0, 5.0))
        ]
        assert (found[0].expected_handling_seconds, found[0].handling_low_90, found[0].handling_p_value) == (None,) * 3
        assert found[1].expected_handling_seconds == pytest.approx(10.0, rel=0.3), "labelers get faster"
        assert found[1].time_flag == "idle"
        assert 10.0 < (found[2].expected_handling_seconds or 0.0) < 100.0, "a lunch is learned as a long time only"

    def test_a_page_is_forecast_whole_before_any_of_it_is_learned(self) -> None:
        pipeline = make_pipeline()
        process(pipeline, annotation(event_id="before", at=-100.0, took=10.0))
        page = [annotation(event_id=f"e-{i}", task_id=f"t-{i}", took=50.0) for i in range(3)]
        expected = {process_one(pipeline, event).expected_handling_seconds or 0.0 for event in page}
        assert max(expected) < 13.5
        later = process_one(pipeline, annotation(event_id="later", task_id="t-9", at=100.0, took=51.0))
        assert (later.expected_handling_seconds or 0.0) > 14.0

    def test_an_impossible_time_is_flagged_and_not_learned(self) -> None:
        pipeline = make_pipeline()
        process(pipeline, annotation(event_id="before", at=-100.0, took=10.0))
        found = process_one(pipeline, annotation(event_id="bot", active_seconds=0.001))
        assert (found.time_flag, found.handling_p_value, found.is_too_fast) == ("impossible", None, None)
        assert found.expected_handling_seconds is not None
        after = process_one(pipeline, annotation(event_id="after", at=100.0, took=10.0))
        assert after.expected_handling_seconds == pytest.approx(found.expected_handling_seconds, rel=0.01)

    def test_windows_count_intervals_and_unusual_times(self) -> None:
        rows = [annotation(event_id=f"e-{i}", at=0.1 * i, active_seconds=10.0 + i % 3) for i in range(100)]
        rows.append(annotation(event_id="slow", at=10.5, active_seconds=5_000.0))
        (partial,) = partials(score_all(make_pipeline(), records(rows)))
        assert partial.interval_seen == 100, "all but the first"
        assert 0 < partial.covered_50 < partial.covered_90 < 100
        assert partial.n_too_slow >= 1
        assert partial.n_time_flagged == 1
        assert partial.width_90_log_micro > 0

    @pytest.mark.parametrize("overrides", [{"project_id": "other"}, {"task_type": "other"}])
    def test_a_queue_is_a_project_and_a_task_type_and_a_new_one_is_like_the_others(self, overrides: Document) -> None:
        pipeline = make_pipeline()
        for i in range(100):
            process(pipeline, annotation(event_id=f"e-{i}", at=-1_000.0 + i, took=10.0 + i % 3))
        first = process_one(pipeline, annotation(event_id="first", took=90.0, **overrides))
        assert first.expected_handling_seconds == pytest.approx(11.0, rel=0.5)
        for i in range(100):
            process(pipeline, annotation(event_id=f"o-{i}", at=100.0 + i, took=90.0 + i % 3, **overrides))
        there = process_one(pipeline, annotation(event_id="there", at=300.0, **overrides))
        here = process_one(pipeline, annotation(event_id="here", at=301.0))
        assert there.expected_handling_seconds == pytest.approx(91.0, rel=0.2)
        assert here.expected_handling_seconds == pytest.approx(11.0, rel=0.2)

    def test_microseconds_are_exact_integers(self) -> None:
        sink = score_all(
            make_pipeline(),
            records(
                [annotation(event_id="a", active_seconds=0.3), annotation(event_id="b", at=31.0, active_seconds=0.6)]
            ),
        )
        (partial,) = partials(sink)
        assert (partial.handling_microseconds, type(partial.handling_microseconds)) == (900_000, int)
        assert partial.handling_sketch == {bucket(0.3): 1, bucket(0.6): 1}
        assert (partial.forecast_seen, type(partial.forecast_microseconds)) == (1, int)
        assert partial.forecast_error_microseconds == abs(600_000 - partial.forecast_microseconds)


class TestAgreement:
    def test_with_the_others_only(self) -> None:
        outcome = process(make_pipeline(), *answers("cat", "cat", "dog", "dog"))
        assert [row.agrees_with_consensus for row in scores(outcome)] == [None, True, False, False]

    def test_a_labeler_does_not_agree_with_herself(self) -> None:
        pipeline = make_pipeline()
        process(pipeline, annotation(event_id="1"))
        assert process_one(pipeline, annotation(event_id="2")).agrees_with_consensus is None

    def test_ratings_have_a_consensus(self) -> None:
        ratings = [{"kind": "rating", "value": value} for value in (4, 4.0, 5)]
        sink = score_all(make_pipeline(), records(answers(*ratings)))
        (row,) = sink.rows("task_confidence")
        assert isinstance(row, TaskConfidenceRow)
        assert (row.consensus_label, row.labels, row.version) == ("4", 3, 2)
        assert partials(sink)[0].label_histogram == {"4": 2, "5": 1}

    @pytest.mark.parametrize(
        "label", [{"kind": "text", "value": "a"}, {"kind": "span", "spans": [{"start": 0, "end": 1, "value": "a"}]}]
    )
    def test_text_and_spans_have_none(self, label: Document) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        outcome = process(pipeline, *answers(label, label, label))
        assert [row.agrees_with_consensus for row in scores(outcome)] == [None] * 3
        store(pipeline, outcome, sink)
        assert sink.rows("task_confidence") == []
        assert partials(sink)[0].consensus_seen == 0

    def test_text_on_a_task_of_classes_neither_agrees_nor_disagrees(self) -> None:
        outcome = process(make_pipeline(), *answers("cat", "cat", {"kind": "text", "value": "cat"}))
        assert [row.agrees_with_consensus for row in scores(outcome)] == [None, True, None]

    def test_text_of_a_gold_task_is_right_or_wrong(self) -> None:
        text = {"kind": "text", "value": "a dog"}
        pipeline, sink = make_pipeline(), MemorySink()
        outcome = process(pipeline, *answers(text, {"kind": "text", "value": "a cat"}, gold_label=text))
        assert [row.gold_correct for row in scores(outcome)] == [True, False]
        store(pipeline, outcome, sink)
        (task,) = sink.rows("task_confidence")
        assert isinstance(task, TaskConfidenceRow)
        assert (task.gold_label, task.consensus_label, task.confidence) == ("a dog", "", 0.0)

    def test_gold_is_compared_as_an_answer(self) -> None:
        many = [{"kind": "multiclass", "values": values} for values in (["a", "b"], ["b", "a", "a"])]
        assert process_one(make_pipeline(), annotation(label=many[0], gold=many[1])).gold_correct
        assert partials(score_all(make_pipeline(), [record(annotation(label=many[1]))]))[0].label_histogram == {
            "a": 1, "b": 1,
        }  # fmt: skip


class TestDuplicatesAndRevisions:
    def test_the_same_event_again_changes_only_its_count(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        outcome = process(pipeline, annotation(), annotation(), annotation())
        assert (outcome.received, outcome.accepted, outcome.duplicates) == (3, 1, 2)
        store(pipeline, outcome, sink)
        (partial,) = partials(sink)
        assert (partial.annotations, partial.duplicates, partial.handling_microseconds) == (1, 2, 20_000_000)
        assert len(sink.rows("annotation_scores")) == 1
        position = pipeline.state.position("annotations")
        assert (position.received, position.accepted, position.duplicates, position.dead_letters) == (3, 1, 2, 0)

    def test_a_duplicate_is_recognised_after_a_restore(self) -> None:
        pipeline = make_pipeline()
        sink = score_all(pipeline, [record(annotation())])
        outcome = process(restored(pipeline, sink), annotation())
        assert (outcome.accepted, outcome.duplicates) == (0, 1)

    def test_the_same_event_id_on_another_task_or_in_another_project_is_another_event(self) -> None:
        outcome = process(
            make_pipeline(), annotation(), annotation(task_id="t-2"), annotation(project_id="other")
        )  # fmt: skip
        assert (outcome.accepted, outcome.duplicates) == (3, 0)

    @pytest.mark.parametrize("latest_first", [False, True])
    def test_the_label_submitted_last_stands(self, latest_first: bool) -> None:
        events = [annotation(event_id="1", at=30), annotation(event_id="2", at=40, label="dog")]
        pipeline = make_pipeline()
        outcome = process(pipeline, *(reversed(events) if latest_first else events))
        assert [row.is_revision for row in scores(outcome)] == [False, True]
        task = pipeline.state.tasks[("animals", "t-1")]
        assert pipeline.state.beliefs.consensus(task) == "dog"
        sink = MemorySink()
        store(pipeline, outcome, sink)
        (partial,) = partials(sink)
        assert (partial.annotations, partial.revisions) == (2, 1)

    def test_beyond_the_horizon_a_task_is_given_up_and_a_duplicate_is_new(self) -> None:
        pipeline = make_pipeline(duplicate_horizon_seconds=600.0, out_of_order_seconds=0.0)
        process(pipeline, annotation(at=0), annotation(task_id="t-2", at=599.9))
        assert ("animals", "t-1") in pipeline.state.tasks
        outcome = process(pipeline, annotation(task_id="t-2", event_id="e-2", at=600), annotation(at=0))
        assert (outcome.accepted, outcome.duplicates) == (2, 0)


class TestWindows:
    def test_a_window_is_a_minute_of_a_segment(self) -> None:
        others: list[Document] = [{"vendor_id": "b"}, {"task_type": "b"}, {"project_id": "b"}]
        events = [annotation(event_id=f"{at}", at=at) for at in (0, 59.999, 60)]
        events += [annotation(at=0, event_id=str(other), **other) for other in others]
        sums = window_sums(partials(score_all(make_pipeline(), records(events))))
        assert len(sums) == 5
        assert sums[(START_MS, "animals", "image_class", "acme")]["annotations"] == 2

    def test_late_is_counted_and_still_adds_up(self) -> None:
        pipeline = make_pipeline(out_of_order_seconds=0.0)
        outcome = process(
            pipeline,
            annotation(event_id="1", at=0),
            annotation(event_id="2", at=60, task_id="t-2"),
            annotation(event_id="3", at=59.9),
        )
        assert [row.is_late for row in scores(outcome)] == [False, False, True]
        assert outcome.late == 1

    def test_a_duplicate_is_never_late(self) -> None:
        pipeline = make_pipeline(out_of_order_seconds=0.0)
        outcome = process(
            pipeline, annotation(event_id="1", at=0), annotation(event_id="2", at=600), annotation(event_id="1", at=0)
        )
        assert (outcome.duplicates, outcome.late) == (1, 0)

    def test_beyond_the_lateness_another_partial_is_opened_and_readers_add_up(self) -> None:
        pipeline, sink = make_pipeline(out_of_order_seconds=0.0, allowed_lateness_seconds=300.0), MemorySink()
        for step in (
            [annotation(event_id="1", at=0, took=1)],
            [annotation(event_id="2", at=299, took=1), annotation(event_id="3", at=1, took=2)],  # revised in place
            [annotation(event_id="4", at=900, took=1), annotation(event_id="5", at=2, took=4)],  # closed meanwhile
        ):
            store(pipeline, process(pipeline, *step), sink)
        mine = [row for row in partials(sink) if row.window_start == START_MS]
        assert [(row.first_offset, row.last_offset, row.annotations, row.late) for row in mine] == [
            (0, 2, 2, 1),
            (4, 4, 1, 1),
        ]
        assert window_sums(mine)[mine[0][:4]]["handling_microseconds"] == 7_000_000

    def test_a_partial_is_written_whole_each_time(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        for i in range(3):
            store(pipeline, process(pipeline, annotation(event_id=f"{i}")), sink)
        (partial,) = partials(sink)
        assert (partial.annotations, partial.first_offset, partial.last_offset) == (3, 0, 2)

    def test_rows_do_not_change_after_they_were_made(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        store(pipeline, process(pipeline, annotation(event_id="1")), sink)
        (before,) = partials(sink)
        shown = repr(before)
        process(pipeline, annotation(event_id="2", label="dog", took=99))
        assert repr(before) == shown


class TestBounds:
    def test_the_task_idle_longest_is_given_up_at_the_cap(self) -> None:
        pipeline = make_pipeline(max_open_tasks=3)
        process(pipeline, *[annotation(task_id=t, event_id=str(i)) for i, t in enumerate(["a", "b", "c", "a", "d"])])
        assert [task for _, task in pipeline.state.tasks] == ["c", "a", "d"]

    def test_what_is_given_up_leaves_the_store_too(self) -> None:
        pipeline, sink = make_pipeline(max_open_tasks=2), MemorySink()
        for i in range(10):
            store(pipeline, process(pipeline, annotation(task_id=f"t-{i}", at=30.0 + i)), sink)
        assert len(sink.rows("state", kind="task")) == 2
        assert len(sink.rows("task_confidence")) == 10, "results stay"
