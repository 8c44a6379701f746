"""SCORE as a pure composition: record batches of one source partition in, an outcome out.

What it does to an annotation, in order: decode and validate, check it against its key, its arrival time and its
project's label set, forecast then learn its handling time, update the consensus of its task, add it to its window.
A review is checked and noted; `begin_checkpoint` says when it is applied. Time is the events' own and the records'
timestamps; the same messages in the same order give the same outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from detectors.beliefs import Beliefs, Guideline
from detectors.consensus import Answer, LabelSpace, Task, Truth, shared
from detectors.evidence import UNJUDGED, Evidence
from detectors.forgetting import HalfLives
from detectors.labeler_speed import SpeedKey
from detectors.sketches import hash64
from detectors.timing import Expectation, Timing
from detectors.windows import IntervalOutcome, Observation
from schemas.dead_letter import Reason
from schemas.events import AnnotationEvent
from schemas.labels import Label, canonical, classes_of
from schemas.rows import AnnotationScoreRow, ClosedTaskRow, ReviewRow
from schemas.times import format_utc, to_ms
from schemas.topics import ANNOTATIONS, REVIEWS
from streams.decode import Record, Refusal, check_key, decode_annotations, decode_reviews
from streams.measured import peers, short_label
from streams.outcome import Outcome, arrival_ms, unread
from streams.revision import TaskChange, apply_review, learn_truth, note_outcome
from streams.settings import ProjectSettings, ReliabilitySettings
from streams.state.journal import Noted
from streams.state.partition_state import Changes, PartitionState
from streams.timed_work import timed_work

_MICROSECONDS: Final = 1_000_000
_MICRO: Final = 1_000_000
_Bound = float | None
_TimeColumns = tuple[_Bound, _Bound, _Bound, _Bound, float | None, bool | None, bool | None, str]


def new_beliefs(reliability: ReliabilitySettings, projects: Mapping[str, ProjectSettings]) -> Beliefs:
    """Beliefs as the settings say, before anything was seen."""
    return Beliefs(
        HalfLives(reliability.half_life_annotations, reliability.half_life_days),
        reliability.max_classes,
        {name: Guideline(tuple(sorted(one.labels or ())), one.subjective) for name, one in projects.items()},
    )


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
        outcome.measured.arrived_ms = arrival_ms(fresh[-1])
        position.offset = fresh[-1].offset
        position.received += outcome.received
        position.accepted += outcome.accepted
        position.duplicates += outcome.duplicates
        position.dead_letters += len(outcome.dead_letters)
        self.state.moved(topic)
        return outcome

    def wanted_tasks(self) -> dict[int, tuple[str, str]]:
        """Noted reviews, by offset, whose tasks (project, task) are not open, and may be among the closed ones."""
        if not self._may_apply():
            return {}
        noted = self.state.journal.noted.values()
        tasks = {one.offset: (one.review.project_id, one.review.task_id) for one in noted if not one.is_looked_up}
        return {offset: task for offset, task in tasks.items() if self.state.open_task(*task) is None}

    def begin_checkpoint(
        self, now_ms: int, looked_up: Iterable[int] = (), closed: Iterable[ClosedTaskRow] = ()
    ) -> tuple[Changes, Outcome]:
        """What is to be stored now, and what the reviews come to that are applied right after it.

        Args:
            now_ms: the wall clock, for bookkeeping columns.
            looked_up: offsets of the reviews whose tasks were looked for among the closed ones.
            closed: those of the tasks that were found there.
        """
        self.state.reopen(closed)
        for offset in looked_up:
            review = self.state.journal.noted[offset].review
            if not self.state.is_closing(review.project_id, review.task_id):
                self.state.journal.look_up(offset)
        self.state.journal.look_up_closed()
        if self._may_apply():
            self.state.journal.make_ready(self._is_ready)
        return self.state.changes(now_ms), self.apply_ready()

    def _may_apply(self) -> bool:
        """Whether everything was read that a checkpoint cut short may have written rows for."""
        return self.state.position(ANNOTATIONS.name).offset >= self.state.journal.not_before

    def _is_ready(self, noted: Noted) -> bool:
        """Whether what a review is about is known; or will not be any more."""
        review, state = noted.review, self.state
        task = state.open_task(review.project_id, review.task_id)
        if task is not None and (review.true_label is not None or review.labeler_id in task.answers):
            return True
        horizon_ms = int(state.settings.duplicate_horizon_seconds * 1_000)
        return (
            noted.is_looked_up
            and state.windows.watermark_ms >= max(noted.watermark_ms, to_ms(review.reviewed_at)) + horizon_ms
        )

    def apply_ready(self) -> Outcome:
        """Apply the reviews that the stored state holds as ready: after a checkpoint, and after a restore."""
        outcome = Outcome()
        for noted in self.state.journal.take_ready():
            apply_review(self.state, noted, outcome)
        return outcome

    def hear(self, space: LabelSpace, labeler_id: str, parts: Mapping[int, Evidence]) -> None:
        """Use what other source partitions know of a labeler; this one's own evidence is fresher than the copy."""
        for source_partition, evidence in parts.items():
            if source_partition == self.state.partition:
                continue
            if evidence.form != UNJUDGED:
                self.state.beliefs.hear(space, labeler_id, source_partition, evidence)
            if evidence.speed is not None:
                self.state.expected_times.hear(SpeedKey(labeler_id, *space), source_partition, evidence.speed)

    def _annotations(self, records: Sequence[Record], outcome: Outcome) -> None:
        for record, decoded in zip(records, decode_annotations(records), strict=True):
            if isinstance(decoded, Refusal):
                self._refuse(record, decoded, outcome)
                continue
            labels = {"label": decoded.label, "gold_label": decoded.gold_label}
            refusal = check_key(decoded, record.key) or self._check(
                record, decoded.project_id, "submitted_at", decoded.submitted_at, labels
            )
            if refusal is not None:
                self._refuse(record, refusal, outcome)
                continue
            if self.state.reopened:
                self.state.close_reopened(self.state.sequence(record.offset - 1), arrival_ms(record))
            self._score(decoded, record, outcome)
            self.state.retire(self.state.sequence(record.offset), arrival_ms(record))

    def _refuse(self, record: Record, refusal: Refusal, outcome: Outcome) -> None:
        outcome.refuse(ANNOTATIONS.name, self.state.partition, record, refusal)
        outcome.measured.refused.append((self.state.sequence(record.offset), arrival_ms(record)))

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
        state = self.state
        sequence = state.sequence(record.offset)
        submitted_ms = to_ms(event.submitted_at)
        windows = state.windows
        key = windows.key((event.project_id, event.task_type, event.vendor_id), submitted_ms)
        late = windows.is_late(key)
        windows.advance(submitted_ms)
        task = state.task(event.project_id, event.task_id, event.task_type, sequence)
        partial = state.partial(key, sequence)
        if task.is_duplicate(hash64(event.event_id), record.offset):
            outcome.duplicates += 1
            partial.add_duplicate(sequence)
            return
        outcome.accepted += 1
        outcome.late += late

        label = canonical(event.label)
        gold = None if event.gold_label is None else canonical(event.gold_label)
        handling_seconds = event.handling_seconds
        timing = state.expected_times.observe(timed_work(event))
        expected = timing.expected if timing.expected.learned else None  # until anything was learned
        known = _standing(task.gold, None if gold is None else Truth(gold, "gold", submitted_ms))
        revision = event.labeler_id in task.answers
        answer = Answer(
            # Free text is long and has no majority: the task only remembers that this labeler answered.
            shared(label) if state.beliefs.is_comparable(task.space, event.label.kind) else None,
            submitted_ms,
            shared(event.vendor_id),
            timing.pace,
            gold_correct=None if known is None else known.label == label,
        )
        interval = None if expected is None else _interval(expected, timing)
        change = TaskChange(state, task)
        agrees = answer.agrees = self._agrees(task, event.labeler_id, answer)
        held = state.beliefs.answer(task, event.labeler_id, answer, event.label.kind)
        if held is not None:
            note_outcome(state, task, held, sequence, outcome)
        gold_correct = answer.gold_correct
        partial.add(
            Observation(
                task_id=event.task_id,
                labeler_id=event.labeler_id,
                classes=_histogram_keys(event.label),
                handling_microseconds=round(handling_seconds * _MICROSECONDS),
                forecast_microseconds=None if expected is None else round(expected.seconds * _MICROSECONDS),
                gold_correct=gold_correct,
                agrees=agrees,
                revision=revision,
                interval=interval,
                time_flagged=timing.flag != "",
            ),
            offset=sequence,
            late=late,
        )
        if known is not None and known is not task.gold:
            learn_truth(state, task, known, sequence, outcome)
        change.count(sequence)
        is_standing = task.answers.get(event.labeler_id) is answer
        task.confidence, probability_right = state.beliefs.forecast(task, event.labeler_id if is_standing else None)
        times = _time_columns(expected, timing)
        outcome.measured.answers.append(
            (
                sequence,
                (event.project_id, event.task_type, event.vendor_id),
                event.labeler_id,
                submitted_ms,
                short_label(label),
                event.label.kind in ("text", "span"),
                late,
                revision,
                gold_correct,
                agrees,
                None if interval is None else interval.covered_90,
                times[5],
                times[6],
                None if timing.flag else handling_seconds,
                None if expected is None else expected.seconds,
                min(task.confidence, 1.0) or None,
                *peers(task, event.labeler_id, answer.label),
            )
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
                None if expected is None else expected.seconds,
                revision,
                late,
                arrival_ms(record),
                state.partition,
                record.offset,
                probability_right,
                *times,
            )
        )

    def _agrees(self, task: Task, labeler_id: str, answer: Answer) -> bool | None:
        """Whether an answer is what the others' answers suggest; None when there is nothing to agree with."""
        consensus = self.state.beliefs.consensus(task, without=labeler_id)
        return None if consensus is None or answer.label is None else consensus == answer.label

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
            self.state.journal.note(record.offset, decoded, self.state.windows.watermark_ms)
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


def _interval(expected: Expectation, timing: Timing) -> IntervalOutcome | None:
    """How a trusted time lay to the intervals of its forecast."""
    if timing.is_in_50 is None or timing.is_in_90 is None:
        return None
    width = round(math.log(expected.high_90 / expected.low_90) * _MICRO)
    return IntervalOutcome(timing.is_in_50, timing.is_in_90, width, timing.is_too_fast, timing.is_too_slow)


def _time_columns(expected: Expectation | None, timing: Timing) -> _TimeColumns:
    """Bounds of the forecast, how unusual a trusted time was, and why a time is not trusted."""
    bounds = (None,) * 4 if expected is None else expected[1:5]
    if expected is None or timing.p_value is None:
        return (*bounds, None, None, None, timing.flag)
    return (*bounds, timing.p_value, timing.is_too_fast, timing.is_too_slow, timing.flag)


def _standing(before: Truth | None, now: Truth | None) -> Truth | None:
    """Of two known answers the one that stands."""
    if before is None or now is None:
        return before or now
    return max(before, now, key=lambda truth: truth.rank)
