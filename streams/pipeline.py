"""SCORE as a pure composition: record batches of one source partition in, an outcome out.

What it does to an annotation, in order: decode and validate, check it against its key, its arrival time and its
project's label set, forecast then learn its handling time, update the consensus of its task, add it to its window.
Time is the events' own and the records' timestamps; the same messages in the same order give the same outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from detectors.consensus import Answer
from detectors.handling_time import Queue
from detectors.sketches import hash64
from detectors.windows import Observation
from schemas.dead_letter import Reason
from schemas.events import AnnotationEvent
from schemas.labels import Label, canonical, classes_of, is_closed
from schemas.rows import AnnotationScoreRow, ReviewRow
from schemas.times import format_utc, to_ms
from schemas.topics import ANNOTATIONS, REVIEWS
from streams.decode import Record, Refusal, check_key, decode_annotations, decode_reviews
from streams.outcome import Outcome, arrival_ms, unread
from streams.settings import ProjectSettings
from streams.state.partition_state import PartitionState

_MICROSECONDS: Final = 1_000_000


class PartitionPipeline:
    """Scores one source partition. Owns its state; nobody else changes it."""

    def __init__(self, state: PartitionState, projects: Mapping[str, ProjectSettings]) -> None:
        self.state = state
        self._label_sets = {name: p.labels for name, p in projects.items() if p.labels is not None}
        self._skew_ms = int(state.settings.clock_skew_seconds * 1_000)

    def process(self, topic: str, records: Sequence[Record]) -> Outcome:
        """Apply a batch of one of the source topics; messages applied before are skipped.

        Raises:
            ValueError: not a topic that SCORE reads.
        """
        outcome = Outcome()
        position = self.state.position(topic)
        fresh = unread(records, position.offset)
        outcome.replayed = len(records) - len(fresh)
        if not fresh:
            return outcome
        if topic == ANNOTATIONS.name:
            self._annotations(fresh, outcome)
            position.watermark_ms = self.state.windows.watermark_ms
        elif topic == REVIEWS.name:
            self._reviews(fresh, outcome)
        else:
            raise ValueError(f"SCORE does not read {topic!r}")
        outcome.received = len(fresh)
        position.offset = fresh[-1].offset
        position.received += outcome.received
        position.accepted += outcome.accepted
        position.duplicates += outcome.duplicates
        position.dead_letters += len(outcome.dead_letters)
        self.state.moved(topic)
        return outcome

    def _annotations(self, records: Sequence[Record], outcome: Outcome) -> None:
        partition = self.state.partition
        for record, decoded in zip(records, decode_annotations(records), strict=True):
            if isinstance(decoded, Refusal):
                outcome.refuse(ANNOTATIONS.name, partition, record, decoded)
                continue
            labels = {"label": decoded.label, "gold_label": decoded.gold_label}
            refusal = check_key(decoded, record.key) or self._check(
                record, decoded.project_id, "submitted_at", decoded.submitted_at, labels
            )
            if refusal is not None:
                outcome.refuse(ANNOTATIONS.name, partition, record, refusal)
                continue
            self._score(decoded, record, outcome)
            self.state.retire(record.offset)

    def _check(
        self, record: Record, project_id: str, time_field: str, at: datetime, labels: Mapping[str, Label | None]
    ) -> Refusal | None:
        """What the schema alone cannot know: when the message arrived, and what its project may answer."""
        if to_ms(at) > record.timestamp + self._skew_ms and record.timestamp > 0:
            arrived = format_utc(datetime.fromtimestamp(arrival_ms(record) / 1_000, UTC))
            return Refusal(
                Reason.TIME_IN_FUTURE,
                f"{time_field} {format_utc(at)} is more than {self._skew_ms / 1_000:g} s after the "
                f"message arrived ({arrived}): check the sender's clock",
            )
        allowed = self._label_sets.get(project_id)
        if allowed is not None:
            for field, label in labels.items():
                unknown = [] if label is None else [name for name in classes_of(label) if name not in allowed]
                if unknown:
                    return Refusal(
                        Reason.UNKNOWN_LABEL,
                        f"{field} {unknown[0]!r} is not in the declared label set of project {project_id!r}",
                    )
        return None

    def _score(self, event: AnnotationEvent, record: Record, outcome: Outcome) -> None:
        state, offset = self.state, record.offset
        submitted_ms = to_ms(event.submitted_at)
        windows = state.windows
        key = windows.key((event.project_id, event.task_type, event.vendor_id), submitted_ms)
        late = windows.is_late(key)
        windows.advance(submitted_ms)
        task = state.task(event.project_id, event.task_id, event.task_type)
        partial = state.partial(key, offset)
        task.applied_offset = max(task.applied_offset, offset)
        if task.is_duplicate(hash64(event.event_id), offset):
            outcome.duplicates += 1
            partial.add_duplicate(offset)
            return
        outcome.accepted += 1
        outcome.late += late

        label = canonical(event.label)
        gold = None if event.gold_label is None else canonical(event.gold_label)
        handling_seconds = event.handling_seconds
        queue = Queue(event.project_id, event.task_type, event.labeler_kind.value)
        expected_seconds = state.handling_time.forecast(queue)
        state.handling_time.learn(queue, handling_seconds)
        revision = event.labeler_id in task.answers
        # Free text is long and has no majority: the task only remembers that this labeler answered.
        agrees = task.answer(event.labeler_id, label if is_closed(event.label) else None, submitted_ms)
        if gold is not None:
            task.settle(Answer(gold, submitted_ms))
        partial.add(
            Observation(
                task_id=event.task_id,
                labeler_id=event.labeler_id,
                classes=_histogram_keys(event.label),
                handling_microseconds=round(handling_seconds * _MICROSECONDS),
                forecast_microseconds=None if expected_seconds is None else round(expected_seconds * _MICROSECONDS),
                gold_correct=None if gold is None else gold == label,
                agrees=agrees,
                revision=revision,
            ),
            offset=offset,
            late=late,
        )
        outcome.rows["annotation_scores"].append(
            AnnotationScoreRow(
                event.project_id,
                event.task_type,
                event.vendor_id,
                submitted_ms,
                event.task_id,
                event.event_id,
                event.labeler_id,
                event.labeler_kind.value,
                event.label.kind,
                label,
                gold,
                None if gold is None else gold == label,
                agrees,
                to_ms(event.started_at),
                handling_seconds,
                expected_seconds,
                revision,
                late,
                arrival_ms(record),
                state.partition,
                offset,
            )
        )

    def _reviews(self, records: Sequence[Record], outcome: Outcome) -> None:
        for record, decoded in zip(records, decode_reviews(records), strict=True):
            if isinstance(decoded, Refusal):
                outcome.refuse(REVIEWS.name, self.state.partition, record, decoded)
                continue
            labels = {"true_label": decoded.true_label}
            refusal = check_key(decoded, record.key) or self._check(
                record, decoded.project_id, "reviewed_at", decoded.reviewed_at, labels
            )
            if refusal is not None:
                outcome.refuse(REVIEWS.name, self.state.partition, record, refusal)
                continue
            outcome.accepted += 1
            outcome.rows["reviews"].append(
                ReviewRow(
                    project_id=decoded.project_id,
                    task_id=decoded.task_id,
                    labeler_id=decoded.labeler_id or "",
                    reviewer_id=decoded.reviewer_id,
                    reviewed_at=to_ms(decoded.reviewed_at),
                    true_label=None if decoded.true_label is None else canonical(decoded.true_label),
                    accepted=decoded.accepted,
                    ingested_at=arrival_ms(record),
                    source_partition=self.state.partition,
                    source_offset=record.offset,
                )
            )


def _histogram_keys(label: Label) -> tuple[str, ...]:
    """What a label histogram counts: classes, or the rating itself; nothing for free text."""
    return (canonical(label),) if label.kind == "rating" else classes_of(label)
