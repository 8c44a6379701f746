"""What SCORE says for rules to look at: collected with the right numbers, packed within limits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.measurements import measure
from schemas.measurements import MAX_ITEMS, Answer, LateTruth, MeasurementMessage, Measurements, ReviewMeasured
from schemas.rows import ConfidenceOutcomeRow
from streams import measured as measured_module
from streams.measured import Measured, Sender, measurement_messages, short_label
from streams.outbox import MAX_MESSAGE_BYTES
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.sinks.sink import MemorySink
from tests.builders import NOW_MS, START_MS, annotation, make_pipeline, records, review, scores, store

SENDER = Sender("app", 3, NOW_MS, is_at_end=True, is_idle=False, watermark_ms=START_MS)


def sent(measured: Measured, sender: Sender = SENDER) -> list[Measurements]:
    """What a reader finds in the messages."""
    batches = []
    for message in measurement_messages(sender, measured):
        assert (message.topic, message.partition) == ("measurements", 0)
        assert message.value is not None
        assert len(message.value) <= MAX_MESSAGE_BYTES
        batch = MeasurementMessage.model_validate_json(message.value).root
        assert isinstance(batch, Measurements)
        batches.append(batch)
    return batches


def process(pipeline: PartitionPipeline, *events: Any, topic: str = "annotations") -> Outcome:
    first = pipeline.state.position(topic).offset + 1
    return pipeline.process(topic, records(events, first_offset=first))


def only(outcome: Outcome) -> Measurements:
    (batch,) = sent(outcome.measured)
    return batch


class TestAnswers:
    def test_say_what_the_row_says(self) -> None:
        pipeline = make_pipeline()
        events = [
            annotation(
                event_id=f"e-{n}", task_id=f"t-{n % 35}", labeler_id=f"l-{n % 7}", at=60.0 * n, took=10 + n % 9,
                label="cat" if n % 5 else "dog", gold="cat" if n % 3 else None, vendor_id=f"v-{n % 2}",
            )
            for n in range(200)
        ]  # fmt: skip
        outcome = process(pipeline, *events)
        batch = only(outcome)
        rows = scores(outcome)
        assert len(batch.answers) == len(rows) == 200
        for answer, row in zip(batch.answers, rows, strict=True):
            assert isinstance(answer, Answer)
            assert batch.segments[answer.segment] == (row.project_id, row.task_type, row.vendor_id)
            assert (answer.sequence, answer.labeler_id) == (row.source_offset, row.labeler_id)
            assert (answer.submitted_ms, answer.label) == (row.submitted_at, row.label)
            assert (answer.is_free, answer.is_late, answer.is_revision) == (False, row.is_late, row.is_revision)
            assert (answer.agrees, answer.seconds) == (row.agrees_with_consensus, row.handling_seconds)
            assert answer.forecast_seconds == row.expected_handling_seconds
            assert (answer.is_too_fast, answer.is_too_slow) == (row.is_too_fast, row.is_too_slow)
            low, high = row.handling_low_90, row.handling_high_90
            within = None if low is None or high is None else low <= row.handling_seconds <= high
            assert answer.is_covered == within
            assert row.gold_correct in (None, answer.gold_correct)
        assert {answer.is_covered for answer in batch.answers} == {None, True, False}
        assert {answer.is_revision for answer in batch.answers} == {True, False}
        assert all(0 < (answer.confidence or 0) <= 1 for answer in batch.answers)
        assert batch.arrived_ms == NOW_MS
        assert (batch.app_id, batch.source_partition, batch.sent_ms, batch.watermark_ms) == ("app", 3, NOW_MS, START_MS)
        assert (batch.is_at_end, batch.is_idle) == (True, False)

    def test_count_their_peers(self) -> None:
        pipeline = make_pipeline()
        labels = ("cat", "dog", "cat", "cat")
        events = [annotation(event_id=f"e-{n}", labeler_id=f"l-{n}", label=label) for n, label in enumerate(labels)]
        again = annotation(event_id="e-9", labeler_id="l-0", label="dog", at=90.0)
        answers = only(process(pipeline, *events, again)).answers
        assert [(a.peers, a.peers_agreeing) for a in answers] == [(0, 0), (1, 0), (2, 1), (3, 2), (3, 1)]

    def test_of_a_task_with_many_answers_only_those_that_vote_are_peers(self) -> None:
        pipeline = make_pipeline()
        events = [annotation(event_id=f"e-{n}", labeler_id=f"l-{n}") for n in range(40)]
        assert only(process(pipeline, *events)).answers[-1].peers == 31

    def test_free_text_has_no_peers_and_a_short_name(self) -> None:
        pipeline = make_pipeline()
        text = {"kind": "text", "value": "a long story " * 20}
        events = [annotation(event_id=f"e-{n}", labeler_id=f"l-{n}", label=text, took=60) for n in range(2)]
        one, other = only(process(pipeline, *events)).answers
        assert one.is_free
        assert (one.label, len(one.label)) == (other.label, 16)
        assert (other.peers, other.confidence, other.agrees) == (0, None, None)

    def test_impossible_times_are_no_seconds(self) -> None:
        outcome = process(make_pipeline(), annotation(took=0.0))
        assert scores(outcome)[0].time_flag == "impossible"
        assert only(outcome).answers[0].seconds is None

    def test_duplicates_are_not_among_them(self) -> None:
        outcome = process(make_pipeline(), annotation(), annotation())
        assert outcome.duplicates == 1
        assert len(only(outcome).answers) == 1

    def test_refused_messages_are_numbered_with_them(self) -> None:
        outcome = process(make_pipeline(), annotation(), b"bad", annotation(event_id="e-2", submitted_at="never"))
        batch = only(outcome)
        assert [answer.sequence for answer in batch.answers] == [0]
        assert [tuple(one) for one in batch.refused] == [(1, NOW_MS), (2, NOW_MS)]


class TestTruth:
    def test_that_comes_late_says_what_it_changes(self) -> None:
        pipeline = make_pipeline()
        first = [annotation(event_id=f"e-{n}", labeler_id=f"l-{n}", label="cat" if n else "dog") for n in range(3)]
        assert [a.gold_correct for a in only(process(pipeline, *first)).answers] == [None] * 3
        batch = only(process(pipeline, annotation(event_id="e-3", labeler_id="l-3", gold="cat", at=60.0)))
        assert [(a.sequence, a.gold_correct) for a in batch.answers] == [(3, True)]
        assert [(t.sequence, t.labeler_id, t.was_correct, t.is_correct) for t in batch.truths] == [
            (3, "l-0", None, False), (3, "l-1", None, True), (3, "l-2", None, True),
        ]  # fmt: skip
        assert all(isinstance(truth, LateTruth) for truth in batch.truths)
        batch = only(process(pipeline, annotation(event_id="e-4", labeler_id="l-4", label="dog", gold="dog", at=90.0)))
        assert [(t.labeler_id, t.was_correct, t.is_correct) for t in batch.truths] == [
            ("l-0", False, True), ("l-1", True, False), ("l-2", True, False), ("l-3", True, False),
        ]  # fmt: skip

    def test_settles_what_was_believed(self) -> None:
        pipeline = make_pipeline()
        process(pipeline, *(annotation(event_id=f"e-{n}", labeler_id=f"l-{n}") for n in range(3)))
        outcome = process(pipeline, annotation(event_id="e-3", labeler_id="l-3", gold="dog", at=60.0, vendor_id="v-2"))
        (row,) = outcome.rows["confidence_outcomes"]
        assert isinstance(row, ConfidenceOutcomeRow)
        batch = only(outcome)
        (settled,) = batch.settled
        assert (settled.sequence, settled.settled_ms) == (3, row.settled_at)
        assert (settled.confidence, settled.is_right) == (row.confidence, False)
        assert batch.segments[settled.segment] == ("animals", "image_class", "v-2")

    @pytest.mark.parametrize(
        ("verdict", "rejected"),
        [
            ({"accepted": True}, [False]),
            ({"accepted": False}, [True]),
            ({"true_label": {"kind": "class", "value": "cat"}}, [False]),
            ({"true_label": {"kind": "class", "value": "dog"}}, [True]),
            ({"true_label": {"kind": "class", "value": "dog"}, "accepted": True}, [True]),
            ({"labeler_id": "nobody", "true_label": {"kind": "class", "value": "dog"}}, []),
        ],
    )
    def test_reviews_accept_or_reject_an_answer(self, verdict: Any, rejected: list[bool]) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        store(pipeline, process(pipeline, annotation()), sink)
        one = review(**{"labeler_id": "ana", **verdict})
        outcome = store(pipeline, process(pipeline, one, topic="reviews"), sink)
        batch = only(outcome)
        assert [found.is_rejected for found in batch.reviews] == rejected
        for found in batch.reviews:
            assert isinstance(found, ReviewMeasured)
            assert (found.sequence, found.labeler_id, found.reviewed_ms) == (1, "ana", START_MS + 600_000)
            assert batch.segments[found.segment] == ("animals", "image_class", "acme")

    def test_a_review_says_nothing_of_a_text_that_it_only_corrects(self) -> None:
        pipeline, sink = make_pipeline(), MemorySink()
        text = {"kind": "text", "value": "a story"}
        store(pipeline, process(pipeline, annotation(label=text)), sink)
        better = review(labeler_id="ana", true_label={"kind": "text", "value": "a better story"})
        assert only(store(pipeline, process(pipeline, better, topic="reviews"), sink)).reviews == ()


def answer(sequence: int, labeler: str = "ana", segment: tuple[str, str, str] = ("p", "t", "v")) -> tuple[Any, ...]:
    flags: tuple[bool | None, ...] = (False, False, False, None, None, None, None, None)
    return (sequence, segment, labeler, START_MS, "cat", *flags, 1.5, None, 0.5, 0, 0)


class TestPacking:
    def test_nothing_to_say_is_a_heartbeat(self) -> None:
        (beat,) = sent(Measured())
        assert (beat.arrived_ms, beat.segments, beat.answers) == (0, (), ())

    def test_segments_are_named_once(self) -> None:
        places = [("p", "t", "v"), ("p", "t", "w")]
        (batch,) = sent(Measured([answer(n, segment=places[n % 2]) for n in range(10)]))
        assert batch.segments == tuple(places)
        assert [one.segment for one in batch.answers] == [0, 1] * 5

    def test_many_items_are_cut_between_numbers(self) -> None:
        count = 2 * MAX_ITEMS + 17
        measured = Measured([answer(n) for n in range(count)])
        measured.truths = [
            (n, ("p", "t", "v"), "ana", START_MS, None, True) for n in range(0, count, 3) for _ in (0, 1)
        ]
        batches = sent(measured)
        assert len(batches) > 2
        last = -1
        for batch in batches:
            numbers = sorted({one.sequence for one in (*batch.answers, *batch.truths)})
            assert numbers[0] == last + 1, "of one number everything is in one message"
            last = numbers[-1]
        assert last == count - 1
        assert sum(len(batch.answers) + len(batch.truths) for batch in batches) == len(measured)

    def test_large_items_are_cut_by_size(self) -> None:
        batches = sent(Measured([answer(n, labeler="\x01" * 200) for n in range(1_000)]))
        assert len(batches) > 1
        assert [one.sequence for batch in batches for one in batch.answers] == list(range(1_000))

    def test_what_cannot_be_cut_loses_truths_rather_than_the_message(self) -> None:
        measured = Measured([answer(7)])
        measured.truths = [(7, ("\x01" * 200, f"{n}", "v"), "\x01" * 200, START_MS, None, True) for n in range(1_000)]
        (batch,) = sent(measured)
        assert len(batch.answers) == 1
        assert 0 < len(batch.truths) < 1_000

    def test_outcomes_add_up(self) -> None:
        one, other = Outcome(), Outcome()
        one.measured = Measured([answer(1)], arrived_ms=5)
        other.measured = Measured([answer(2)], refused=[(3, 9)], arrived_ms=4)
        one.take(other)
        assert [item[0] for item in one.measured.answers] == [1, 2]
        assert (one.measured.refused, one.measured.arrived_ms, len(one.measured)) == ([(3, 9)], 5, 3)

    def test_the_fields_are_those_of_the_schema(self) -> None:
        value = json.loads(measurement_messages(SENDER, Measured([answer(1)]))[0].value or b"")
        assert value.keys() == Measurements.model_fields.keys()
        assert len(value["answers"][0]) == len(Answer._fields)

    @pytest.mark.parametrize("label", ["cat", "x" * 64])
    def test_short_labels_stay(self, label: str) -> None:
        assert short_label(label) == label

    def test_limits_are_the_schemas(self) -> None:
        assert measured_module.MAX_ITEMS == MAX_ITEMS


def test_the_benchmark_reads_what_it_writes() -> None:
    cost = measure(60, iter(range(0, 60_000_000, 1_000)).__next__)
    assert 100 < cost.bytes < 250
    assert cost.score_us == cost.write_us == cost.read_us == 1 / 60
