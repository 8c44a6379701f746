"""State codecs: explicit JSON, one per kind of value, with a version. An unknown version is refused, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import orjson

from detectors.agreement import Coincidences
from detectors.consensus import Answer, LabelSpace, Task, Truth, shared
from detectors.sketches import DistinctSketch
from detectors.windows import Partial, WindowKey
from streams.state.position import Position

#: Kind to the version that this code writes. Raise it together with a way to read the old one.
CODEC_VERSIONS: Final = {
    "position": 1,
    "task": 2,
    "window": 3,
    "handling_time": 2,
    "speed": 1,
    "task_time": 1,
    "review": 1,
    "reviews_applied": 1,
    "intent": 1,
    "label_space": 1,
    "labeler": 1,
    "confidence": 1,
}
#: Older versions that this code still reads. Of handling times the model before knew so little that it begins anew.
READ_AS_WELL: Final = {"task": {1}, "window": {1, 2}, "handling_time": {1}}
#: Kinds that earlier versions wrote and nothing needs now: read over.
NO_LONGER_KEPT: Final = frozenset({"coverage"})

_SUMS: Final = (
    "annotations",
    "revisions",
    "duplicates",
    "late",
    "gold_seen",
    "gold_right",
    "consensus_seen",
    "consensus_agreed",
    "handling_microseconds",
    "forecast_seen",
    "forecast_microseconds",
    "forecast_error_microseconds",
    "interval_seen",
    "covered_50",
    "covered_90",
    "width_90_log_micro",
    "n_too_fast",
    "n_too_slow",
    "n_time_flagged",
)
#: An answer's fields, in the order of its constructor.
_ANSWER_FIELDS: Final = tuple(one.name for one in fields(Answer))


class UnknownCodecError(Exception):
    """Stored state was written by another version of labelwatch; it is not read by guessing."""


def check_version(kind: str, version: int, versions: Mapping[str, int] = CODEC_VERSIONS, agent: str = "SCORE") -> None:
    """Refuse state that an agent of this version cannot read. SCORE alone reads some older versions, too.

    Raises:
        UnknownCodecError: unknown kind or version.
    """
    is_score = agent == "SCORE"
    if is_score and (kind in NO_LONGER_KEPT or version in READ_AS_WELL.get(kind, ())):
        return
    if versions.get(kind) != version:
        whose, or_else = ("", ", or delete the state and read the topic again") if is_score else (f" of {agent}", "")
        raise UnknownCodecError(
            f"state of kind {kind!r}{whose} has codec version {version}, this worker reads "
            f"{versions.get(kind, 'no such kind')}: run the version of labelwatch that wrote it{or_else}"
        )


def encode_position(position: Position) -> str:
    return _dumps(
        [
            position.offset,
            position.watermark_ms,
            position.received,
            position.accepted,
            position.duplicates,
            position.dead_letters,
        ]
    )


def decode_position(payload: str) -> Position:
    return Position(*orjson.loads(payload))


def task_key(project_id: str, task_id: str) -> str:
    """State key of a task; ids may hold any character, so it is JSON."""
    return _dumps([project_id, task_id])


def memory_key(key: tuple[str, ...] | int) -> str:
    """State key of what is remembered of handling times: a labeler in a queue, or a task's hash."""
    return _dumps(list(key)) if isinstance(key, tuple) else str(key)


def read_key(key: str) -> list[Any]:
    """The parts of a state key that is JSON."""
    parts: list[Any] = orjson.loads(key)
    return parts


def encode_task(task: Task) -> str:
    return _dumps(
        [
            task.project_id,
            task.task_id,
            task.task_type,
            [
                [labeler, *(getattr(answer, name) for name in _ANSWER_FIELDS)]
                for labeler, answer in task.answers.items()
            ],
            list(task.event_offsets.items()),
            None if task.truth is None else list(task.truth),
            None if task.gold is None else list(task.gold),
            task.refuted,
            task.posterior,
            task.confidence,
            task.share if task.share is not task.posterior else True,
            task.labels,
            task.last_submitted_ms,
            task.touched_ms,
            task.touched,
            task.is_reopened,
            task.applied,
        ]
    )


def decode_task(payload: str, version: int = CODEC_VERSIONS["task"]) -> Task:
    if version == 1:
        return _decode_first_task(payload)
    (
        project_id,
        task_id,
        task_type,
        answers,
        hashes,
        truth,
        gold,
        refuted,
        posterior,
        confidence,
        share,
        labels,
        last_ms,
        touched_ms,
        touched,
        is_reopened,
        applied,
    ) = orjson.loads(payload)
    return Task(
        shared(project_id),
        task_id,
        shared(task_type),
        answers={
            shared(labeler): Answer(None if label is None else shared(label), at_ms, shared(vendor), *others)
            for labeler, label, at_ms, vendor, *others in answers
        },
        event_offsets=dict(hashes),
        truth=None if truth is None else Truth(*truth),
        gold=None if gold is None else Truth(*gold),
        refuted=tuple(refuted),
        posterior=posterior,
        confidence=confidence,
        labels=labels,
        share=posterior if share is True else share,
        last_submitted_ms=last_ms,
        touched_ms=touched_ms,
        touched=touched,
        is_reopened=is_reopened,
        applied=applied,
    )


def _decode_first_task(payload: str) -> Task:
    """A task of the time of majority votes: its answers are known, but nothing of their labelers; they do not vote."""
    project_id, task_id, task_type, answers, hashes, gold, last_ms, touched_ms, applied = orjson.loads(payload)
    return Task(
        shared(project_id),
        task_id,
        shared(task_type),
        answers={shared(labeler): Answer(None, at_ms) for labeler, _, at_ms in answers},
        event_offsets=dict(hashes),
        truth=None if gold is None else Truth(gold[0], "gold", gold[1]),
        gold=None if gold is None else Truth(gold[0], "gold", gold[1]),
        last_submitted_ms=last_ms,
        touched_ms=touched_ms,
        touched=applied,
        applied=applied,
    )


def labeler_key(space: LabelSpace, labeler_id: str) -> str:
    """State key of a labeler's evidence."""
    return _dumps([*space, labeler_id])


def space_key(space: LabelSpace) -> str:
    """State key of a label space."""
    return _dumps([*space])


def encode_plain(value: object) -> str:
    """Plain values, as a model dumps them: JSON keeps every float exactly."""
    return _dumps(value)


def decode_plain(payload: str) -> Any:
    return orjson.loads(payload)


def window_key(key: WindowKey, first_offset: int) -> str:
    """State key of a partial. The first offset tells a late partial from the closed one of the same window."""
    return _dumps([*key, first_offset])


def encode_window(partial: Partial) -> str:
    return _dumps(
        {
            "last_offset": partial.last_offset,
            "touched_ms": partial.touched_ms,
            "sums": {name: getattr(partial, name) for name in _SUMS},
            "sketch": list(partial.handling_sketch.items()),
            "tasks": partial.tasks.hashes(),
            "labelers": partial.labelers.hashes(),
            "labels": partial.label_histogram,
            "agreement": partial.agreement.to_plain(),
        }
    )


def decode_window(key: str, payload: str) -> tuple[WindowKey, Partial]:
    """A partial of any version: before 2 there was no agreement, before 3 no intervals; sums that are missing are 0."""
    start_ms, project_id, task_type, vendor_id, first_offset = read_key(key)
    value: dict[str, Any] = orjson.loads(payload)
    partial = Partial(
        first_offset,
        value["last_offset"],
        value["touched_ms"],
        **value["sums"],
        handling_sketch=dict(value["sketch"]),
        tasks=DistinctSketch(value["tasks"]),
        labelers=DistinctSketch(value["labelers"]),
        label_histogram=value["labels"],
        agreement=Coincidences.from_plain(value["agreement"]) if "agreement" in value else Coincidences(),
    )
    return WindowKey(start_ms, project_id, task_type, vendor_id), partial


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
