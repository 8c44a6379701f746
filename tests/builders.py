"""What most tests need: events that are right until told otherwise, records, batches, and a pipeline to feed."""

from __future__ import annotations

import json
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from detectors.beliefs import Beliefs
from detectors.consensus import Answer, Task
from detectors.sketches import DistinctSketch
from schemas.dead_letter import Reason
from schemas.rows import (
    AnnotationScoreRow,
    ClosedTaskRow,
    ConfidenceOutcomeRow,
    LabelerReliabilityRow,
    Row,
    SourceProgressRow,
    StateRow,
    WindowPartialRow,
)
from schemas.times import format_utc, to_ms
from schemas.topics import ANNOTATIONS
from streams.decode import Refusal, check_payload
from streams.outcome import Outcome
from streams.owner import OwnerContext
from streams.pipeline import PartitionPipeline, new_beliefs
from streams.record_batch import RecordBatch
from streams.settings import PipelineSettings, ProjectSettings, ReliabilitySettings, Settings
from streams.sinks.sink import MemorySink, Sink
from streams.state.claims import Claims
from streams.state.partition_state import Changes, PartitionState

T = TypeVar("T")
Document = dict[str, Any]

START = datetime(2026, 1, 5, 7, 0, tzinfo=UTC)
START_MS = to_ms(START)
NOW_MS = START_MS + 86_400_000

#: Ids that break naive keys, SQL, CSV and JSON.
HOSTILE_IDS = (
    "it's \"quoted\"", "a,b;c|d", '["p","t"]', "line\nbreak\ttab", "null\x00byte", "漢字 🦉 é", "\\back\\slash",
    "%s {0} $1", "  spaces  ", "'; DROP TABLE state; --", "\u2028\u202e\ufeff", "x" * 200,
)  # fmt: skip


def annotation(
    *, at: float = 30.0, took: float = 20.0, label: Any = "cat", gold: Any = None, **overrides: Any
) -> Document:
    """An annotation as JSON, submitted ``at`` seconds after START. Strings as labels are classes."""
    event: Document = {
        "event_id": "e-1",
        "task_id": "t-1",
        "labeler_id": "ana",
        "project_id": "animals",
        "vendor_id": "acme",
        "task_type": "image_class",
        "label": class_label(label),
        "started_at": time_text(at - took),
        "submitted_at": time_text(at),
    }
    if gold is not None:
        event["gold_label"] = class_label(gold)
    return event | overrides


def review(*, at: float = 600.0, **overrides: Any) -> Document:
    """A review as JSON, given ``at`` seconds after START: the task's true label is cat."""
    verdict = {} if "accepted" in overrides or "true_label" in overrides else {"true_label": class_label("cat")}
    ids = {"project_id": "animals", "task_id": "t-1", "reviewer_id": "rob"}
    return {**ids, **verdict, "reviewed_at": time_text(at)} | overrides


def class_label(label: Any) -> Any:
    """A class label from a string; anything else as it is."""
    return {"kind": "class", "value": label} if isinstance(label, str) else label


def time_text(at: float) -> str:
    """The time ``at`` seconds after START, as on the wire."""
    return format_utc(START + timedelta(seconds=at))


def without(event: Document, *fields: str) -> Document:
    """The event less some fields."""
    return {name: value for name, value in event.items() if name not in fields}


@dataclass(frozen=True, slots=True)
class Message:
    """A Kafka record, as far as anything here looks at it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def record(event: Document | bytes | None, *, offset: int = 0, timestamp: int = NOW_MS, key: Any = ...) -> Message:
    """A record of an event or of raw bytes, with the right key; appended a day after START."""
    value = json.dumps(event).encode() if isinstance(event, dict) else event
    task = event.get("task_id", "t-1") if isinstance(event, dict) else "t-1"
    return Message(offset, timestamp, str(task).encode() if key is ... else key, value)


def records(events: Iterable[Document | bytes | None], *, first_offset: int = 0) -> list[Message]:
    """Records at consecutive offsets."""
    return [record(event, offset=offset) for offset, event in enumerate(events, first_offset)]


def batch(
    messages: Sequence[Message], *, topic: str = ANNOTATIONS.name, partition: int = 0, generation: int = 1
) -> RecordBatch:
    """A batch as the transport hands it out."""
    return RecordBatch(topic, partition, messages, messages[0].offset, messages[-1].offset, generation)


def refusal(event: Document | bytes | None, topic: str = ANNOTATIONS.name) -> Refusal | None:
    """What decoding alone says about one message."""
    message = record(event)
    return check_payload(topic, message.key, cast(bytes, message.value))


def refused(pipeline: PartitionPipeline, message: Message) -> tuple[Reason, str]:
    """Reason and detail of the one dead letter that a message comes to."""
    outcome = pipeline.process(ANNOTATIONS.name, [message])
    assert (outcome.received, outcome.accepted) == (1, 0)
    (letter,) = outcome.dead_letters
    return letter.reason, letter.detail


def make_pipeline(
    *,
    partition: int = 0,
    projects: Mapping[str, ProjectSettings] | None = None,
    reliability: Document | None = None,
    **settings: Any,
) -> PartitionPipeline:
    """An empty pipeline; ``settings`` are not validated, so that caps can be small."""
    beliefs = new_beliefs(ReliabilitySettings().model_copy(update=reliability or {}), projects or {})
    state = PartitionState("app", partition, PipelineSettings().model_copy(update=settings), beliefs)
    return PartitionPipeline(state, projects or {})


def restored(pipeline: PartitionPipeline, sink: MemorySink) -> PartitionPipeline:
    """Another pipeline that goes on from what the sink holds; what the stored reviews come to is written again."""
    old = pipeline.state
    beliefs = Beliefs(old.beliefs._half_lives, old.beliefs._max_classes, old.beliefs._guidelines)
    state = PartitionState("app", old.partition, old.settings, beliefs)
    state.restore(cast(list[StateRow], sink.rows("state", source_partition=state.partition)))
    other = PartitionPipeline(state, {})
    finished(sink.write(other.apply_ready().rows))
    return other


def begin_checkpoint(pipeline: PartitionPipeline, sink: MemorySink) -> tuple[Changes, Outcome]:
    """Look up closed tasks that reviews are about, and begin a checkpoint."""
    wanted = pipeline.wanted_tasks()
    tasks = set(wanted.values())
    stored = cast(list[ClosedTaskRow], sink.rows("closed_tasks", source_partition=pipeline.state.partition))
    return pipeline.begin_checkpoint(NOW_MS, wanted, [row for row in stored if (row.project_id, row.task_id) in tasks])


def store(pipeline: PartitionPipeline, outcome: Outcome, sink: MemorySink) -> Outcome:
    """A checkpoint: what it writes, and what the reviews come to that are applied right after it, which is written."""
    changes, applied = begin_checkpoint(pipeline, sink)
    finished(sink.write(outcome.rows))
    finished(sink.write(changes.results))
    finished(sink.write({"source_progress": changes.progress, "state": changes.state}))
    finished(sink.write(applied.rows))
    return applied


def score_all(
    pipeline: PartitionPipeline,
    messages: Sequence[Message],
    sink: MemorySink | None = None,
    topic: str = ANNOTATIONS.name,
) -> MemorySink:
    """Score messages in one batch and store everything; the sink."""
    sink = sink or MemorySink()
    store(pipeline, pipeline.process(topic, messages), sink)
    return sink


def scores(outcome: Outcome) -> list[AnnotationScoreRow]:
    """The annotation scores of an outcome."""
    return cast(list[AnnotationScoreRow], outcome.rows["annotation_scores"])


def answered(
    *answers: tuple[str, str | None] | tuple[str, str | None, int], task_id: str = "t-1", vendor: str = "acme"
) -> Task:
    """A task with standing answers: labeler, label and perhaps the time in ms. No model has seen them."""
    task = Task("animals", task_id, "image_class")
    for labeler, label, *at in answers:
        task.stand(labeler, Answer(label, at[0] if at else 1_000, vendor))
    return task


def partials(sink: MemorySink) -> list[WindowPartialRow]:
    """The window partials of a sink."""
    return cast(list[WindowPartialRow], sink.rows("window_partials"))


def reliability_row(*, at: float = 0.0, **overrides: Any) -> LabelerReliabilityRow:
    """What is known of ana ``at`` seconds after START: of 100 answers 90 right, cats taken for dogs."""
    return LabelerReliabilityRow(
        project_id="animals",
        task_type="image_class",
        labeler_id="ana",
        as_of=START_MS + round(at * 1000),
        form="confusion",
        labels=100,
        accuracy=0.9,
        accuracy_low=0.84,
        accuracy_high=0.94,
        effective_labels=80.0,
        spammer_score=0.75,
        bias_label="dog",
        bias=0.1,
        precision=None,
        confused_true="cat",
        confused_answer="dog",
        confused_share=0.2,
        stability=None,
        distance=None,
        attention=None,
        confusion_true=["cat", "cat", "dog"],
        confusion_answer=["cat", "dog", "dog"],
        confusion_weight=[32.0, 8.0, 40.0],
        version=1,
    )._replace(**overrides)


def outcome_row(task_id: str, confidence: float, *, is_right: bool, **overrides: Any) -> ConfidenceOutcomeRow:
    """A task that was believed to be a cat, settled by a review at START."""
    return ConfidenceOutcomeRow(
        project_id="animals",
        task_id=task_id,
        task_type="image_class",
        settled_at=START_MS,
        consensus_label="cat",
        truth="cat" if is_right else "dog",
        truth_source="review",
        raw_confidence=confidence,
        confidence=confidence,
        is_right=is_right,
        labels=3,
        source_partition=0,
        version=1,
    )._replace(**overrides)


def owner_context(sink: Sink, name: str = "labelwatch", worker: str = "worker-1", **others: Any) -> OwnerContext:
    """What an owner works with: as the settings come, at NOW_MS, telling nobody, until told otherwise."""
    given = {"settings": Settings(), "publish": _tell_nobody, "acknowledge": lambda *_: None, "now_ms": lambda: NOW_MS}
    return OwnerContext(sink=sink, claims=Claims(sink, name, worker), **given | others)


async def _tell_nobody(_messages: object) -> None: ...


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait; no event loop needed."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return cast(T, stop.value)
    coroutine.close()
    raise AssertionError("the coroutine wanted to wait")


def tables(sink: MemorySink, *names: str) -> dict[str, list[Row]]:
    """Tables as readers find them, less the wall clock's column."""
    return {
        name: [row._replace(updated_at=0) if isinstance(row, SourceProgressRow) else row for row in sink.rows(name)]
        for name in names
    }


#: Sums of a window that do not depend on the order in which annotations arrive.
ORDERLESS = ("annotations", "gold_seen", "gold_right", "handling_microseconds")

Window = tuple[int, str, str, str]


def window_sums(rows: Iterable[WindowPartialRow], measures: Sequence[str] = ORDERLESS) -> dict[Window, Document]:
    """Partials added up per window and segment, as readers do. Windows that only saw duplicates are left out."""
    sums: dict[Window, Document] = {}
    for row in rows:
        total = sums.setdefault(row[:4], dict.fromkeys(measures, 0) | {"sketch": {}, "histogram": {}, "t": [], "l": []})
        for name in measures:
            total[name] += getattr(row, name)
        for name, added in (("sketch", row.handling_sketch), ("histogram", row.label_histogram)):
            for key, count in added.items():
                total[name][key] = total[name].get(key, 0) + count
        total["t"] = DistinctSketch([*total["t"], *row.task_hashes]).hashes()
        total["l"] = DistinctSketch([*total["l"], *row.labeler_hashes]).hashes()
    return {window: total for window, total in sums.items() if total["annotations"]}
