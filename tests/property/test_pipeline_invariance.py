"""What must not matter: batch cuts, order within the allowed disorder, duplicates, bad messages, partitions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, cast
from zlib import crc32

from hypothesis import example, given
from hypothesis import strategies as st

from detectors.consensus import Truth
from schemas.rows import AnnotationScoreRow, StateRow, TaskConfidenceRow
from schemas.times import to_ms
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.sinks.sink import MemorySink
from streams.state import codecs
from tests.builders import (
    ORDERLESS,
    Document,
    annotation,
    make_pipeline,
    partials,
    record,
    records,
    restored,
    score_all,
    store,
    tables,
    window_sums,
)
from tests.property.comparable import BY_CHECKPOINT
from tests.property.streams_of_events import (
    LABELS,
    Interval,
    annotation_streams,
    cut,
    disordered,
    interleaved,
    reviews_of,
)

RESULTS = (
    "annotation_scores",
    "task_confidence",
    "window_partials",
    "dead_letters",
    "source_progress",
    "confidence_outcomes",
    "closed_tasks",
    "findings",
    "reviews",
)
DISORDER_SECONDS = 100.0
#: Small enough that windows and tasks come and go within a stream.
TIGHT: dict[str, Any] = {
    "out_of_order_seconds": 30.0,
    "allowed_lateness_seconds": 120.0,
    "duplicate_horizon_seconds": 900.0,
    "max_open_tasks": 4,
}


def live_state(pipeline: PartitionPipeline) -> list[Any]:
    """Everything that decides what comes next, in the order in which it is kept."""
    state = pipeline.state
    return [
        [(key, codecs.encode_task(task)) for key, task in state.tasks.items()],
        # One message may touch two windows: which of them it touched first decides nothing.
        sorted(
            (state.windows.get(key).last_offset, key, codecs.encode_window(state.windows.get(key)))
            for key in state.windows.open_keys()
        ),
        state.windows.watermark_ms,
        state.expected_times.dump(),
        {kind: memory.dump() for kind, memory in state.expected_times.memories.items()},
        state.positions,
        [state.journal.applied, list(state.journal.noted.items())],
        state.beliefs.confidence_model.dump(),
        [(space, model.form, model.dump(), labelers(model)) for space, model in sorted(state.beliefs.models.items())],
    ]


def labelers(model: Any) -> list[Any]:
    return [(name, model.dump_labeler(name)) for name in sorted(model.labelers)]


def stored_state(sink: MemorySink) -> list[StateRow]:
    """State rows; of what is believed the version is the checkpoint's, and rows tell no more than live_state."""
    rows = cast(list[StateRow], sink.rows("state"))
    return [row for row in rows if row.kind not in BY_CHECKPOINT]


@given(st.data())
def test_batch_cuts_and_restarts_do_not_matter(data: st.DataObject) -> None:
    stream = data.draw(disordered(data.draw(annotation_streams()), DISORDER_SECONDS))
    messages = records(stream)
    one_by_one, whole, cuts, restarts = MemorySink(), MemorySink(), MemorySink(), MemorySink()

    pipeline = make_pipeline(**TIGHT)
    for message in messages:
        store(pipeline, pipeline.process("annotations", [message]), one_by_one)
    at_once = make_pipeline(**TIGHT)
    score_all(at_once, messages, whole)
    in_parts, restarted = make_pipeline(**TIGHT), make_pipeline(**TIGHT)
    for part in cut(data, len(messages)):
        store(in_parts, in_parts.process("annotations", messages[part]), cuts)
        store(restarted, restarted.process("annotations", messages[part]), restarts)
        restarted = restored(restarted, restarts)

    expected = tables(one_by_one, *RESULTS)
    assert tables(whole, *RESULTS) == expected
    assert tables(cuts, *RESULTS) == expected
    assert tables(restarts, *RESULTS) == expected
    assert stored_state(whole) == stored_state(cuts) == stored_state(restarts) == stored_state(one_by_one)
    assert live_state(in_parts) == live_state(at_once) == live_state(restarted) == live_state(pipeline)


@given(st.data())
def test_state_is_exactly_what_is_stored(data: st.DataObject) -> None:
    """No state is left behind in the store, and none is missing from it."""
    messages = records(data.draw(annotation_streams(min_size=10)))
    pipeline, sink = make_pipeline(**TIGHT), MemorySink()
    for part in cut(data, len(messages)):
        store(pipeline, pipeline.process("annotations", messages[part]), sink)
        assert len(sink.rows("state", kind="task")) == len(pipeline.state.tasks) <= TIGHT["max_open_tasks"]
        assert len(sink.rows("state", kind="window")) == len(pipeline.state.windows)


def play(
    intervals: Sequence[Interval], *, one_batch: bool = False, restart: bool = False, crash: bool = False
) -> tuple[MemorySink, PartitionPipeline]:
    """Read what is between the checkpoints, with a restart after each, or a crash before each."""
    pipeline, sink = make_pipeline(**TIGHT), MemorySink()
    for interval in intervals:
        if crash:
            for topic, messages in interval[: len(interval) // 2 + 1]:
                pipeline.process(topic, messages)
            pipeline = restored(pipeline, sink)
        outcome = Outcome()
        for topic, messages in joined(interval) if one_batch else interval:
            outcome.take(pipeline.process(topic, messages))
        store(pipeline, outcome, sink)
        if restart:
            pipeline = restored(pipeline, sink)
    return sink, pipeline


def joined(interval: Interval) -> Interval:
    """Neighbours of one topic as one batch."""
    return [
        (topic, [message for _, messages in group for message in messages])
        for topic, group in groupby(interval, key=lambda item: item[0])
    ]


@given(st.data())
def test_reviews_are_applied_at_one_place_whatever_happens(data: st.DataObject) -> None:
    """Between the same checkpoints: how messages are batched, restarts and crashes change no row and no state."""
    events = data.draw(disordered(data.draw(annotation_streams(min_size=5)), DISORDER_SECONDS))
    intervals = interleaved(data, events, data.draw(reviews_of([])))
    expected, pipeline = play(intervals)
    everything = (*RESULTS, "state")
    others: list[dict[str, bool]] = [{"one_batch": True}, {"restart": True}, {"crash": True}]
    for how in others:
        sink, other = play(intervals, **how)
        assert tables(sink, *everything) == tables(expected, *everything), how
        assert live_state(other) == live_state(pipeline), how


@given(st.data())
def test_windows_add_up_to_what_is_known_in_the_end(data: st.DataObject) -> None:
    """Truth comes late, and windows have closed: the sums over all partials are those of a count from scratch."""
    events = list({(e["task_id"], e["labeler_id"]): e for e in data.draw(annotation_streams(min_size=5))}.values())
    reviews = data.draw(reviews_of(events, verdicts=False))
    pipeline, sink = make_pipeline(out_of_order_seconds=0.0, allowed_lateness_seconds=30.0), MemorySink()
    for interval in interleaved(data, sorted(events, key=lambda e: str(e["submitted_at"])), reviews):
        outcome = Outcome()
        for topic, messages in interval:
            outcome.take(pipeline.process(topic, messages))
        store(pipeline, outcome, sink)

    truths: dict[str, Truth] = {}
    for at, document in enumerate([*events, *reviews]):
        label = document.get("gold_label") or document.get("true_label")
        if label is not None:
            source, time = ("gold", "submitted_at") if at < len(events) else ("review", "reviewed_at")
            truth = Truth(label["value"], source, to_ms(datetime.fromisoformat(document[time])))
            truths[document["task_id"]] = max(truths.get(document["task_id"], truth), truth, key=lambda t: t.rank)
    golds = {e["task_id"] for e in events if "gold_label" in e}
    expected: Counter[Any] = Counter()
    for row in cast(list[AnnotationScoreRow], sink.rows("annotation_scores")):
        is_free, known = row.label_kind == "text", truths.get(row.task_id)
        agrees = row.agrees_with_consensus if known is None or is_free else row.label == known.label
        window = (row.submitted_at - row.submitted_at % 60_000, row.project_id, row.task_type, row.vendor_id)
        expected[(*window, "consensus_seen")] += agrees is not None
        expected[(*window, "consensus_agreed")] += agrees is True
        expected[(*window, "gold_seen")] += row.task_id in golds
        expected[(*window, "gold_right")] += row.task_id in golds and row.label == LABELS[0]
    found: Counter[Any] = Counter()
    for partial in partials(sink):
        for measure in ("consensus_seen", "consensus_agreed", "gold_seen", "gold_right"):
            found[(*partial[:4], measure)] += getattr(partial, measure)
    assert found == expected


def known(sink: MemorySink) -> dict[tuple[str, str], tuple[Any, ...]]:
    """What is known of tasks, which no order may change; what is believed of those without truth depends on it."""
    return {
        (row.project_id, row.task_id): (row.labels, row.gold_label, row.truth, row.truth and row.confidence)
        for row in sink.rows("task_confidence")
        if isinstance(row, TaskConfidenceRow)
    }


def agreement(sink: MemorySink) -> Counter[Any]:
    """Coincidences by window and pair, over all partials."""
    sums: Counter[Any] = Counter()
    for row in partials(sink):
        pairs = zip(row.agreement_first, row.agreement_second, row.agreement_weight, strict=True)
        sums.update({(*row[:4], first, second): weight for first, second, weight in pairs})
        sums.update({(*row[:4], "units"): row.agreement_units, (*row[:4], "values"): row.agreement_values})
    return Counter({key: count for key, count in sums.items() if count})


@given(st.data())
def test_order_duplicates_and_bad_messages_do_not_matter(data: st.DataObject) -> None:
    clean = data.draw(annotation_streams())
    stream = data.draw(disordered(clean, DISORDER_SECONDS))
    bad = sum(not isinstance(event, dict) for event in stream)
    settings: dict[str, Any] = {"out_of_order_seconds": DISORDER_SECONDS, "allowed_lateness_seconds": 60.0}

    expected, found = MemorySink(), MemorySink()
    score_all(make_pipeline(**settings), records(clean), expected)
    pipeline = make_pipeline(**settings)
    outcome = pipeline.process("annotations", records(stream))
    store(pipeline, outcome, found)

    assert window_sums(partials(found)) == window_sums(partials(expected))
    for measure in ("revisions", "annotations"):  # which of two answers is the revision depends on the order
        assert sum(getattr(row, measure) for row in partials(found)) == sum(
            getattr(row, measure) for row in partials(expected)
        )
    assert sum(row.duplicates for row in partials(found)) == outcome.duplicates
    assert known(found) == known(expected)
    assert agreement(found) == agreement(expected)
    assert {row[:9] for row in found.rows("annotation_scores")} == {
        row[:9] for row in expected.rows("annotation_scores")
    }
    assert (outcome.accepted, len(outcome.dead_letters)) == (len(clean), bad)
    assert outcome.duplicates == len(stream) - len(clean) - bad
    assert outcome.received == outcome.accepted + outcome.duplicates + len(outcome.dead_letters) == len(stream)


@given(annotation_streams(), st.integers(1, 5))
def test_partitions_do_not_matter(events: list[Document], count: int) -> None:
    of_one = score_all(make_pipeline(), records(events))
    shares: dict[int, list[Document]] = defaultdict(list)
    for event in events:
        shares[crc32(event["task_id"].encode()) % count].append(event)
    of_many = MemorySink()
    for partition, share in shares.items():
        score_all(make_pipeline(partition=partition), records(share), of_many)

    measures = (*ORDERLESS, "revisions", "consensus_seen")
    assert window_sums(partials(of_many), measures) == window_sums(partials(of_one), measures)
    assert known(of_many) == known(of_one)
    assert agreement(of_many) == agreement(of_one)


@given(st.lists(st.binary(max_size=40) | st.none(), max_size=10), st.integers(-(2**63), 2**63 - 1))
@example([b'{"schema_version":1e400}', b'"\\ud800"', b"1" * 5_000, b"\x00"], -1)
def test_no_bytes_and_no_arrival_time_raise(values: list[bytes | None], timestamp: int) -> None:
    values = [annotation_bytes(), *values, annotation_bytes()]
    messages = [record(value, offset=offset, timestamp=timestamp) for offset, value in enumerate(values)]
    outcome = make_pipeline().process("annotations", messages)
    assert outcome.received == outcome.accepted + outcome.duplicates + len(outcome.dead_letters) == len(values)


FIELDS = sorted(annotation())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*FIELDS, "gold_label", "features", "active_seconds", "schema_version", "mood"]), JSON)
def test_any_json_in_any_field_is_read_or_refused(field: str, value: Any) -> None:
    message = record(annotation(**{field: value}), key=b"t-1")
    pipeline, sink = make_pipeline(), MemorySink()
    outcome = pipeline.process("annotations", [message, record(annotation(event_id="good"), offset=1)])
    store(pipeline, outcome, sink)
    assert outcome.accepted >= 1
    assert outcome.accepted + len(outcome.dead_letters) == 2
    for letter in outcome.dead_letters:
        assert letter.detail
        letter.model_dump_json()
    restored(pipeline, sink)


def annotation_bytes() -> bytes:
    value = record(annotation()).value
    assert value is not None
    return value
