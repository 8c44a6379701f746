"""Truth that comes late, from gold or a review: what it revises, when it is applied, and that it counts once."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from detectors.consensus import Truth
from schemas.rows import ConfidenceOutcomeRow, TaskConfidenceRow
from streams.pipeline import PartitionPipeline
from streams.sinks.sink import MemorySink
from tests.builders import (
    START_MS,
    Document,
    annotation,
    begin_checkpoint,
    class_label,
    finished,
    make_pipeline,
    partials,
    records,
    restored,
    review,
    score_all,
    scores,
    store,
)

#: Six hours, in seconds: long after a task was closed.
LATER = 21_600.0


def feed(pipeline: PartitionPipeline, sink: MemorySink, *events: Document, topic: str = "annotations") -> None:
    """Process and store: one checkpoint."""
    first = pipeline.state.position(topic).offset + 1
    score_all(pipeline, records(events, first_offset=first), sink, topic)


def answers(*labels: str, task_id: str = "t-1", at: float = 30.0, **overrides: Any) -> list[Document]:
    """Answers to one task by as many labelers, two minutes apart: each in a window of its own."""
    return [
        annotation(event_id=f"{task_id}-{i}", labeler_id=f"l-{i}", label=label, at=at + 120 * i, task_id=task_id)
        | overrides
        for i, label in enumerate(labels)
    ]


def measured(sink: MemorySink) -> dict[float, tuple[int, int, int, int]]:
    """By window, in seconds after START: gold seen and right, consensus seen and agreed, over all partials."""
    sums: dict[float, tuple[int, int, int, int]] = {}
    for row in partials(sink):
        mine = (row.gold_seen, row.gold_right, row.consensus_seen, row.consensus_agreed)
        before = sums.get((row.window_start - START_MS) / 1_000, (0, 0, 0, 0))
        sums[(row.window_start - START_MS) / 1_000] = cast(
            tuple[int, int, int, int], tuple(a + b for a, b in zip(before, mine, strict=True))
        )
    return sums


def confidence(sink: MemorySink, task_id: str = "t-1") -> TaskConfidenceRow:
    (row,) = sink.rows("task_confidence", task_id=task_id)
    assert isinstance(row, TaskConfidenceRow)
    return row


class TestWindows:
    def test_a_review_revises_the_window_of_each_answer(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", "dog"))
        assert measured(sink) == {0.0: (0, 0, 0, 0), 120.0: (0, 0, 1, 1), 240.0: (0, 0, 1, 0)}
        feed(pipeline, sink, review(true_label=class_label("dog")), topic="reviews")
        feed(pipeline, sink)
        assert measured(sink) == {0.0: (0, 0, 1, 0), 120.0: (0, 0, 1, 0), 240.0: (0, 0, 1, 1)}

    def test_windows_that_are_closed_get_another_partial_that_may_be_negative(self) -> None:
        pipeline, sink = make_pipeline(allowed_lateness_seconds=60.0, out_of_order_seconds=0.0), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", "dog"), annotation(task_id="t-2", at=3_600))
        assert len(pipeline.state.windows) == 1
        feed(pipeline, sink, review(at=3_500, true_label=class_label("dog")), topic="reviews")
        feed(pipeline, sink)
        assert measured(sink) == {
            0.0: (0, 0, 1, 0),
            120.0: (0, 0, 1, 0),
            240.0: (0, 0, 1, 1),
            3_600.0: (0, 0, 0, 0),
        }
        second = [row for row in partials(sink) if row.window_start == START_MS + 120_000]
        assert [(row.annotations, row.consensus_agreed) for row in second] == [(1, 1), (0, -1)]
        assert second[0].first_offset < second[1].first_offset, "partials of one window have identities of their own"

    def test_gold_that_comes_with_a_later_answer_counts_for_all(self) -> None:
        totals = set()
        events = answers("cat", "dog", "cat")
        for place in range(3):
            pipeline, sink = make_pipeline(), MemorySink()
            golden = [e | {"gold_label": class_label("cat")} if i == place else e for i, e in enumerate(events)]
            feed(pipeline, sink, *golden)
            totals.add(tuple(measured(sink).items()))
            assert [row.gold_correct for row in scores_of(sink)] == [
                (i != 1) if i == place else None for i in range(3)
            ], "a score says what its event carried"
        assert totals == {((0.0, (1, 1, 1, 1)), (120.0, (1, 0, 1, 0)), (240.0, (1, 1, 1, 1)))}

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    def test_gold_and_review_may_come_in_any_order(self, order: tuple[int, ...]) -> None:
        """Gold says cat, then dog; a review says emu: the review is the truth, the later gold is the gold."""
        steps: list[tuple[str, Document]] = [
            ("annotations", annotation(event_id="a", labeler_id="ann", at=30, label="dog", gold="cat")),
            ("annotations", annotation(event_id="b", labeler_id="bob", at=150, label="emu", gold="dog")),
            ("reviews", review(true_label=class_label("emu"))),
        ]
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, annotation(event_id="first", at=0))
        for step in order:
            topic, event = steps[step]
            feed(pipeline, sink, event, topic=topic)
        feed(pipeline, sink)
        row = confidence(sink)
        assert (row.truth, row.truth_source, row.gold_label) == ("emu", "review", "dog")
        assert measured(sink) == {0.0: (2, 1, 2, 0), 120.0: (1, 0, 1, 1)}

    def test_agreement_is_of_the_answers_that_stand(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", at=0))
        feed(pipeline, sink, annotation(event_id="r", labeler_id="l-0", at=300, label="dog"))
        sums = {row.window_start: row.agreement_values for row in partials(sink)}
        assert sums == {START_MS: 0, START_MS + 120_000: 2, START_MS + 300_000: 0}, "its home moved to the second"
        (home,) = [row for row in partials(sink) if row.agreement_values]
        assert (home.agreement_first, home.agreement_second) == (["cat"], ["dog"])


def scores_of(sink: MemorySink) -> list[Any]:
    return sorted(sink.rows("annotation_scores"), key=lambda row: row.source_offset)  # type: ignore[attr-defined]


class TestReviews:
    def test_a_review_says_how_the_forecast_came_out(self) -> None:
        pipeline, sink = make_pipeline(partition=3), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", "dog"))
        before = confidence(sink)
        feed(pipeline, sink, review(true_label=class_label("dog")), topic="reviews")
        assert sink.rows("confidence_outcomes") == [
            ConfidenceOutcomeRow(
                "animals",
                "t-1",
                "image_class",
                START_MS + 600_000,
                consensus_label="cat",
                truth="dog",
                truth_source="review",
                raw_confidence=before.raw_confidence,
                confidence=before.confidence,
                is_right=False,
                labels=3,
                source_partition=3,
                version=3,
            )
        ]
        feed(pipeline, sink)
        after = confidence(sink)
        assert (after.consensus_label, after.confidence, after.truth, after.truth_source, after.version) == (
            "dog",
            1.0,
            "dog",
            "review",
            3,
        )

    def test_a_review_before_its_annotation_waits_and_is_applied(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, review(at=20), review(at=20, task_id="t-99"), topic="reviews")
        feed(pipeline, sink, annotation(task_id="other", at=0))
        assert len(pipeline.state.journal.noted) == 2, "the first watermark does not make them overdue"
        pipeline = restored(pipeline, sink)
        feed(pipeline, sink, annotation(label="dog"))
        feed(pipeline, sink)
        assert confidence(sink).truth == "cat"
        assert [noted.review.task_id for noted in pipeline.state.journal.noted.values()] == ["t-99"]

    def test_one_of_a_labeler_waits_for_that_labeler(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, annotation(), annotation(event_id="b", labeler_id="bob", label="dog"))
        feed(pipeline, sink, review(accepted=False, labeler_id="cy"), topic="reviews")
        feed(pipeline, sink)
        assert len(pipeline.state.journal.noted) == 1
        feed(pipeline, sink, annotation(event_id="c", labeler_id="cy", label="dog"))
        feed(pipeline, sink)
        assert pipeline.state.journal.noted == {}
        assert confidence(sink).posterior == {"cat": pytest.approx(1.0)}, "dog was refused"

    def test_what_never_comes_is_not_waited_for_for_ever(self) -> None:
        pipeline, sink = make_pipeline(duplicate_horizon_seconds=3_600.0, out_of_order_seconds=0.0), MemorySink()
        feed(pipeline, sink, annotation(at=0))
        feed(pipeline, sink, review(at=100, task_id="t-99"), topic="reviews")
        feed(pipeline, sink, annotation(event_id="2", at=3_699))
        assert len(pipeline.state.journal.noted) == 1
        feed(pipeline, sink, annotation(event_id="3", at=3_700))
        assert (pipeline.state.journal.noted, pipeline.state.journal.applied) == ({}, 0)

    @pytest.mark.parametrize(
        ("verdict", "truth", "refuted"),
        [
            ({"accepted": True, "labeler_id": "l-0"}, "cat", ()),
            ({"accepted": False, "labeler_id": "l-0"}, None, ("cat",)),
            ({"true_label": class_label("dog"), "accepted": False, "labeler_id": "l-0"}, "dog", ()),
            ({"true_label": class_label("emu")}, "emu", ()),
        ],
    )
    def test_what_a_verdict_means(self, verdict: Document, truth: str | None, refuted: tuple[str, ...]) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", "dog"))
        feed(pipeline, sink, review(**verdict), topic="reviews")
        task = pipeline.state.tasks[("animals", "t-1")]
        assert (None if task.truth is None else task.truth.label, task.refuted) == (truth, refuted)

    def test_the_only_answer_s_labeler_learns_of_it_for_good(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        feed(pipeline, sink, annotation())
        feed(pipeline, sink, review(), topic="reviews")
        feed(pipeline, sink)
        for one in (pipeline, restored(pipeline, sink)):
            (model,) = one.state.beliefs.models.values()
            assert model.evidence("ana").right == pytest.approx(1.0)


class TestLongAfter:
    HOURS: Document = {
        "duplicate_horizon_seconds": 3_600.0,
        "out_of_order_seconds": 0.0,
        "allowed_lateness_seconds": 60.0,
    }

    def closed(self) -> tuple[PartitionPipeline, MemorySink]:
        """t-1 was answered by three, and hours later something else is going on."""
        pipeline, sink = make_pipeline(**self.HOURS), MemorySink()
        feed(pipeline, sink, *answers("cat", "cat", "dog"))
        feed(pipeline, sink, *[annotation(event_id=f"{i}", task_id="t-2", at=2 * LATER + i) for i in range(2)])
        assert list(pipeline.state.tasks) == [("animals", "t-2")]
        return pipeline, sink

    def test_a_review_finds_the_closed_task(self) -> None:
        pipeline, sink = self.closed()
        late = review(at=2 * LATER, true_label=class_label("dog"))
        outcome = pipeline.process("reviews", records([late]))
        assert pipeline.wanted_tasks() == {0: ("animals", "t-1")}
        applied = store(pipeline, outcome, sink)
        assert pipeline.wanted_tasks() == {}
        (row,) = cast(list[ConfidenceOutcomeRow], applied.rows["confidence_outcomes"])
        assert (row.consensus_label, row.truth, row.labels) == ("cat", "dog", 3)
        feed(pipeline, sink)
        assert (confidence(sink).truth, confidence(sink).labels) == ("dog", 3)
        assert [measured(sink)[at] for at in (0.0, 120.0, 240.0)] == [(0, 0, 1, 0), (0, 0, 1, 0), (0, 0, 1, 1)]

    def test_its_labelers_are_seen_otherwise(self) -> None:
        pipeline, sink = self.closed()
        (model,) = pipeline.state.beliefs.models.values()
        before = model.evidence("l-2").right
        feed(pipeline, sink, review(at=2 * LATER, true_label=class_label("dog")), topic="reviews")
        assert model.evidence("l-2").right > before
        assert model.evidence("l-2").weight < 1 + 1e-9, "the same answer, seen otherwise"

    def test_across_a_restart_it_is_the_same(self) -> None:
        pipeline, sink = self.closed()
        late = review(at=2 * LATER, true_label=class_label("dog"))
        begin = pipeline.process("reviews", records([late]))
        store(pipeline, begin, sink)
        again = restored(pipeline, sink)
        assert list(again.state.tasks) == list(pipeline.state.tasks)
        assert again.state.tasks == pipeline.state.tasks
        later = annotation(event_id="x", task_id="t-2", labeler_id="l-2", at=2 * LATER + 9)
        for one in (pipeline, again):
            one.process("annotations", records([later], first_offset=one.state.position("annotations").offset + 1))
        assert begin_checkpoint(again, sink)[0].results == begin_checkpoint(pipeline, sink)[0].results

    def test_a_task_that_is_nowhere_is_looked_for_once(self) -> None:
        pipeline, sink = self.closed()
        feed(pipeline, sink, review(at=2 * LATER, task_id="t-99"), topic="reviews")
        assert pipeline.wanted_tasks() == {}
        assert len(pipeline.state.journal.noted) == 1, "it may still be answered"
        assert restored(pipeline, sink).wanted_tasks() == {}

    def test_a_task_that_was_opened_again_meanwhile_is_not_replaced(self) -> None:
        pipeline, sink = self.closed()
        feed(pipeline, sink, annotation(event_id="again", labeler_id="zoe", at=2 * LATER))
        task = pipeline.state.open_task("animals", "t-1")
        pipeline.state.reopen(sink.rows("closed_tasks"))  # type: ignore[arg-type]
        assert pipeline.state.open_task("animals", "t-1") is task

    def test_it_closes_again_and_the_truth_is_kept(self) -> None:
        pipeline, sink = self.closed()
        feed(pipeline, sink, review(at=2 * LATER, true_label=class_label("dog")), topic="reviews")
        feed(pipeline, sink, annotation(event_id="y", task_id="t-3", at=3 * LATER))
        assert ("animals", "t-1") not in pipeline.state.tasks
        assert [row for row in sink.rows("state", kind="task") if "t-1" in repr(row)] == []
        feed(pipeline, sink, review(at=3 * LATER, true_label=class_label("cat")), topic="reviews")
        task = pipeline.state.open_task("animals", "t-1")
        assert task is not None
        assert task.truth == Truth("cat", "review", START_MS + int(3 * LATER * 1_000))
        assert [measured(sink)[at][3] for at in (0.0, 120.0, 240.0)] == [0, 0, 1], "stored with the next checkpoint"
        feed(pipeline, sink)
        assert [measured(sink)[at][3] for at in (0.0, 120.0, 240.0)] == [1, 1, 0]

    def test_free_text_is_not_kept(self) -> None:
        pipeline, sink = make_pipeline(**self.HOURS), MemorySink()
        feed(pipeline, sink, annotation(label={"kind": "text", "value": "a"}), annotation(task_id="t-2", at=LATER))
        assert sink.rows("closed_tasks") == []


def test_rows_of_a_review_are_the_same_when_it_is_applied_again() -> None:
    """A crash right after the checkpoint: what followed was not stored, and is done again."""
    pipeline, sink = make_pipeline(), MemorySink()
    feed(pipeline, sink, *answers("cat", "cat", "dog"))
    outcome = pipeline.process("reviews", records([review()]))
    changes, applied = begin_checkpoint(pipeline, sink)
    copy = MemorySink()
    for rows in (outcome.rows, changes.results, {"state": [*sink.rows("state"), *changes.state]}):
        store_rows(copy, rows)
    restored(pipeline, copy)
    assert copy.rows("confidence_outcomes") == applied.rows["confidence_outcomes"]
    expected, found = MemorySink(), MemorySink()
    store_rows(expected, begin_checkpoint(pipeline, sink)[0].results)
    store_rows(found, begin_checkpoint(restored(pipeline, copy), copy)[0].results)
    for table in ("window_partials", "task_confidence"):
        assert found.rows(table) == expected.rows(table) != []


def store_rows(sink: MemorySink, rows: Any) -> None:
    finished(sink.write(rows))


def test_scores_do_not_change_when_the_truth_comes() -> None:
    pipeline = make_pipeline()
    outcome = pipeline.process("annotations", records(answers("cat", "dog")))
    shown = repr(scores(outcome))
    sink = MemorySink()
    store(pipeline, outcome, sink)
    feed(pipeline, sink, review(true_label=class_label("dog")), topic="reviews")
    assert repr(scores(outcome)) == shown
