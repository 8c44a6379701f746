"""What must not matter: batch cuts, order within the allowed disorder, duplicates, bad messages, partitions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from zlib import crc32

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.rows import TaskConfidenceRow
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
from tests.property.streams_of_events import annotation_streams, cut, disordered

RESULTS = ("annotation_scores", "task_confidence", "window_partials", "dead_letters", "source_progress")
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
        [(key, codecs.encode_window(state.windows.get(key))) for key in state.windows.open_keys()],
        state.windows.watermark_ms,
        state.handling_time.dump(),
        state.positions,
    ]


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

    expected = tables(one_by_one, *RESULTS, "state")
    assert tables(whole, *RESULTS, "state") == expected
    assert tables(cuts, *RESULTS, "state") == expected
    assert tables(restarts, *RESULTS, "state") == expected
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


def confidences(sink: MemorySink) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (row.project_id, row.task_id): (row.consensus_label, row.confidence, row.labels, row.gold_label)
        for row in sink.rows("task_confidence")
        if isinstance(row, TaskConfidenceRow)
    }


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
    assert confidences(found) == confidences(expected)
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

    measures = (*ORDERLESS, "revisions", "consensus_seen", "consensus_agreed")
    assert window_sums(partials(of_many), measures) == window_sums(partials(of_one), measures)
    assert confidences(of_many) == confidences(of_one)


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
