"""The state of one partition as rows, and back."""

from __future__ import annotations

import random
from collections import Counter
from typing import cast

import pytest

from schemas.rows import StateRow, WindowPartialRow
from streams.settings import PipelineSettings
from streams.sinks.sink import MemorySink
from streams.state import codecs
from streams.state.codecs import UnknownCodecError
from streams.state.partition_state import PartitionState
from tests.builders import NOW_MS, annotation, make_pipeline, records, restored, review, score_all, store


def stored_rows() -> tuple[MemorySink, list[StateRow]]:
    pipeline = make_pipeline(out_of_order_seconds=10.0)
    events = [
        annotation(event_id=str(i), task_id=f"t-{i % 7}", at=i * 20.0, vendor_id=f"v{i % 3}", took=5.0 + i % 4)
        for i in range(50)
    ]
    sink = score_all(pipeline, records(events))
    store(pipeline, pipeline.process("reviews", records([review(), review(task_id="t-99")])), sink)
    store(pipeline, pipeline.process("annotations", []), sink)
    return sink, cast(list[StateRow], sink.rows("state"))


def empty() -> PartitionState:
    return PartitionState("app", 0, PipelineSettings(out_of_order_seconds=10.0))


def test_every_kind_is_stored_with_what_it_includes() -> None:
    """The two reviews were noted, and are applied after the checkpoint: what follows is in the next one."""
    _, rows = stored_rows()
    assert {row.kind for row in rows} == set(codecs.CODEC_VERSIONS) - {"intent"}, "which is stored before the results"
    assert {row.key for row in rows if row.kind == "position"} == {"annotations", "reviews"}
    versions = {(row.kind, row.key): row.version for row in rows}
    assert versions[("position", "annotations")] == versions[("handling_time", "")] == 49, "offsets"
    assert versions[("task", '["animals","t-0"]')] == 49, "sequence numbers: no review was applied by then"
    assert versions[("task", '["animals","t-1"]')] == 49 + 1, "the first review"
    assert versions[("task", '["animals","t-2"]')] == 44
    assert versions[("reviews_applied", "")] == 1
    assert {row.version for row in rows if row.kind in ("speed", "task_time")} == {49}, "offsets, too"
    labelers = {row.key: row.version for row in rows if row.kind == "labeler"}
    assert labelers == {'["animals","image_class","ana"]': 50}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_stored_rows_does_not_matter(seed: int) -> None:
    _, rows = stored_rows()
    first, second = empty(), empty()
    first.restore(rows)
    random.Random(seed).shuffle(rows)
    second.restore(rows)
    assert list(second.tasks) == list(first.tasks)
    assert second.windows.open_keys() == first.windows.open_keys()
    assert second.windows.watermark_ms == first.windows.watermark_ms > 0
    assert second.positions == first.positions
    assert second.journal.noted == first.journal.noted
    assert second.journal.applied == first.journal.applied == 1
    for space, model in first.beliefs.models.items():
        assert second.beliefs.models[space].dump_labeler("ana") == model.dump_labeler("ana")


def test_what_was_restored_is_not_a_change() -> None:
    _, rows = stored_rows()
    state = empty()
    state.restore(rows)
    changes = state.changes(NOW_MS)
    assert changes.state == []
    assert {table for table, found in changes.results.items() if found} <= {"source_progress"}


def test_changes_are_told_once_and_only_what_changed() -> None:
    pipeline = make_pipeline()
    events = [annotation(event_id=str(i), task_id=f"t-{i}", vendor_id=f"v-{i}") for i in range(20)]  # one page
    pipeline.process("annotations", records(events))
    rows = cast(list[StateRow], pipeline.state.changes(NOW_MS).state)
    single = {"position": 1, "handling_time": 1, "label_space": 1, "labeler": 1}
    assert Counter(row.kind for row in rows) == {"task": 20, "window": 20, **single}
    assert pipeline.state.changes(NOW_MS).state == []
    event = annotation(event_id="x", task_id="t-3", vendor_id="v-3", at=40.0, took=7.0)
    pipeline.process("annotations", records([event], first_offset=20))
    changes = pipeline.state.changes(NOW_MS)
    kinds = [row.kind for row in changes.state if isinstance(row, StateRow)]
    learned = {"speed": 1, "task_time": 20}  # of the page before: another one came later
    others = ["handling_time", "label_space", "labeler", "position", "task", "window"]
    assert Counter(kinds) == {**dict.fromkeys(others, 1), **learned}
    (partial,) = changes.results["window_partials"]
    assert isinstance(partial, WindowPartialRow)
    assert partial.vendor_id == "v-3"


def test_reviews_alone_move_only_their_position_and_are_noted() -> None:
    pipeline = make_pipeline()
    pipeline.process("reviews", records([review()], first_offset=7))
    rows = cast(list[StateRow], pipeline.state.changes(NOW_MS).state)
    assert [(row.kind, row.key) for row in rows] == [("position", "reviews"), ("review", "7")]


def test_only_labelers_of_whom_more_is_known_are_told_of() -> None:
    pipeline = make_pipeline()
    events = [annotation(event_id=f"{i}", task_id=f"t-{i // 2}", labeler_id=f"l-{i}") for i in range(6)]
    pipeline.process("annotations", records(events))
    evidence = pipeline.state.changes(NOW_MS).evidence
    assert [(e.project_id, e.task_type, e.labeler_id) for e in evidence] == [
        ("animals", "image_class", f"l-{i}") for i in range(6)
    ]
    assert {e.version for e in evidence} == {5}
    assert pipeline.state.changes(NOW_MS).evidence == []
    pipeline.process("annotations", records([annotation(event_id="x", labeler_id="new")], first_offset=6))
    told = {e.labeler_id: e for e in pipeline.state.changes(NOW_MS).evidence}
    assert told.keys() == {"l-2", "l-3", "new"}, "t-1 looks otherwise now"
    assert {e.version for e in told.values()} == {6}
    assert told["new"].evidence.labels == 1


def test_a_task_given_up_and_opened_again_in_one_checkpoint_is_there() -> None:
    pipeline = make_pipeline(max_open_tasks=1)
    score = [annotation(event_id=str(i), task_id=task) for i, task in enumerate(["a", "b", "a"])]
    sink = score_all(pipeline, records(score))
    (row,) = sink.rows("state", kind="task")
    assert isinstance(row, StateRow)
    assert row.key == '["animals","a"]'
    assert list(restored(pipeline, sink).state.tasks) == [("animals", "a")]


@pytest.mark.parametrize(("field", "value"), [("codec_version", 99), ("codec_version", 0), ("kind", "mood")])
def test_state_of_another_version_is_refused(field: str, value: object) -> None:
    _, rows = stored_rows()
    rows[3] = rows[3]._replace(**{field: value})  # type: ignore[arg-type]  # that is what is tested
    with pytest.raises(UnknownCodecError, match="run the version of labelwatch that wrote it"):
        empty().restore(rows)


def test_state_that_nothing_needs_any_more_is_read_over() -> None:
    _, rows = stored_rows()
    first, second = empty(), empty()
    first.restore(rows)
    second.restore([*rows, rows[0]._replace(kind="coverage", key="", payload="[]")])
    assert list(second.tasks) == list(first.tasks)


def test_nothing_stored_is_a_fresh_start() -> None:
    state = empty()
    state.restore([])
    assert (state.position("annotations").offset, state.windows.watermark_ms, len(state.tasks)) == (-1, 0, 0)
