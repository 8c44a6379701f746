"""The operation at work: a queue of things that happen, in time order, and the events that they leave behind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from heapq import heappop, heappush
from random import Random
from typing import Final

from schemas.events import AnnotationEvent, ReviewEvent
from schemas.labels import Label
from streams.sources.simulation.answers import Answers
from streams.sources.simulation.incident import IncidentType
from streams.sources.simulation.scenario import Scenario
from streams.sources.simulation.tasks import Task, TaskQueue
from streams.sources.simulation.timeline import Period, ScheduledIncident, periods_of
from streams.sources.simulation.workforce import (
    HOUR_MS,
    MINUTE_MS,
    MODEL_HANDLING_SECONDS,
    Labeler,
    Workforce,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Seconds between handing in one answer and starting the next task.
_GAP_SECONDS: Final = 2.5
_NOISE: Final = 0.3
#: A beginner takes exp(.35) times as long; the excess shrinks e-fold every 60 annotations.
_PRACTICE: Final = 0.35
_PRACTICE_TASKS: Final = 60.0
_TIRES_PER_HOUR: Final = 0.05
_TIME_OF_DAY: Final = 0.06
_SLOWEST_HOUR: Final = 4.0
_MEAN_IDLE_SECONDS: Final = 150.0
_BOT_SECONDS: Final = (0.9, 2.2)
_REVIEWERS_PER_PROJECT: Final = 4
#: A task that was left open is finished after a break of at most this length, not the next morning.
_LONGEST_BREAK_MS: Final = 90 * MINUTE_MS


class _Happening(IntEnum):
    """What comes next; at the same millisecond a stall's end comes first."""

    RELEASE = 0
    SUBMIT = 1
    REVISE = 2
    REVIEW = 3


@dataclass(slots=True)
class _Work:
    """A labeler at a task."""

    labeler: Labeler
    task: Task
    started_ms: int
    submitted_ms: int
    active_seconds: float


@dataclass(slots=True)
class Record:
    """What became of one labeler's work on one project: per period, answers given and those that were right."""

    labeler: Labeler
    project: int
    periods: Sequence[Period]
    answered: list[int] = field(init=False)
    right: list[int] = field(init=False)
    current: int = 0
    practice: int = 0

    def __post_init__(self) -> None:
        self.answered, self.right = [0] * len(self.periods), [0] * len(self.periods)
        self.practice = self.labeler.experience

    def period_at(self, ms: int) -> Period:
        """The period that holds ``ms``. Times must not go back."""
        while ms >= self.periods[self.current].end_ms:
            self.current += 1
        return self.periods[self.current]


class Operation:
    """One run of a scenario. Iterate once; ``records`` and ``tasks`` are complete afterwards.

    ``for_truth`` keeps the tasks, and makes no annotations, which would be most of the work.
    """

    def __init__(
        self,
        scenario: Scenario,
        answers: Sequence[Answers],
        workforce: Workforce,
        incidents: Sequence[ScheduledIncident],
        rng: Random,
        *,
        for_truth: bool = False,
    ) -> None:
        self._scenario = scenario
        self._answers = answers
        self._rng = rng
        self._queues = [TaskQueue(p, i, answers[i], rng) for i, p in enumerate(scenario.projects)]
        self._reviewers = [
            [f"r-{rng.getrandbits(24):06x}" for _ in range(_REVIEWERS_PER_PROJECT)] for _ in scenario.projects
        ]
        self._stalls = [i for i in incidents if i.spec.type is IncidentType.INGESTION_STALL]
        self._drifts = [i for i in incidents if i.spec.type is IncidentType.HANDLING_TIME_DRIFT]
        self._bots = [i for i in incidents if i.spec.type is IncidentType.SPEEDING_BOTS]
        self._held: dict[str, list[AnnotationEvent]] = {}
        self._labelers = workforce.labelers
        self._session = [0] * len(self._labelers)
        self._heap: list[tuple[int, int, int, object]] = []
        self._sequence = 0
        self.tasks: list[Task] | None = [] if for_truth else None
        self.records = {
            (labeler.index, project): Record(
                labeler, project, periods_of(labeler, project, incidents, answers[project])
            )
            for labeler in self._labelers
            for project in labeler.skills
        }

    def __iter__(self) -> Iterator[AnnotationEvent | ReviewEvent]:
        for labeler in self._labelers:
            if labeler.sessions:
                self._begin(labeler, labeler.sessions[0].start_ms)
        heap, for_truth = self._heap, self.tasks is not None
        while heap:
            _, happening, _, payload = heappop(heap)
            if happening == _Happening.SUBMIT:
                assert isinstance(payload, _Work)
                event_id, label = self._submit(payload)
                self._begin(payload.labeler, payload.submitted_ms)
            elif happening == _Happening.REVISE:
                assert isinstance(payload, _Work)
                event_id, label = self._submit(payload, is_revision=True)
            elif happening == _Happening.REVIEW:
                assert isinstance(payload, ReviewEvent)
                yield payload
                continue
            else:
                assert isinstance(payload, str)
                yield from self._held.pop(payload)
                continue
            stall = self._stall_of(payload) if self._stalls else None
            if for_truth:
                continue
            event = self._annotation(payload, event_id, label)
            if stall is None:
                yield event
                continue
            if stall.spec.id not in self._held:
                self._held[stall.spec.id] = []
                self._push(stall.end_ms, _Happening.RELEASE, stall.spec.id)
            self._held[stall.spec.id].append(event)

    def _push(self, ms: int, happening: _Happening, payload: object) -> None:
        # The sequence number breaks ties by order of creation, so that nothing depends on memory addresses.
        self._sequence += 1
        heappush(self._heap, (ms, happening, self._sequence, payload))

    def _stall_of(self, work: _Work) -> ScheduledIncident | None:
        project, vendor = self._scenario.projects[work.task.project].id, work.labeler.vendor.id
        for stall in self._stalls:
            target = stall.spec.target
            if (
                stall.start_ms <= work.submitted_ms < stall.end_ms
                and target.project in (None, project)
                and target.vendor in (None, vendor)
                and (stall.spec.effective_strength >= 1 or self._rng.random() < stall.spec.effective_strength)
            ):
                return stall
        return None

    def _begin(self, labeler: Labeler, free_ms: int) -> None:
        """The labeler takes the next task; nothing where the last session is over."""
        rng, sessions = self._rng, labeler.sessions
        gap = rng.expovariate(1.0 / (labeler.vendor.model_gap_seconds if labeler.is_model else _GAP_SECONDS))
        started_ms = free_ms + int(gap * 1000)
        position = self._session[labeler.index]
        while position < len(sessions) and sessions[position].end_ms <= started_ms:
            position += 1
        self._session[labeler.index] = position
        if position == len(sessions):
            return
        session = sessions[position]
        if session.start_ms > started_ms:
            started_ms = session.start_ms + int(gap * 1000)
        task = self._queues[session.project].take(labeler.index)
        if self.tasks is not None and len(task.labelers) == 1:
            self.tasks.append(task)
        seconds = self._handling_seconds(labeler, task, started_ms, session.start_ms)
        submitted_ms = started_ms + max(1, int(seconds * 1000))
        if not labeler.is_model:
            if submitted_ms > session.end_ms and position + 1 < len(sessions):
                back_ms = sessions[position + 1].start_ms
                is_break = session.end_ms < back_ms <= session.end_ms + _LONGEST_BREAK_MS
                if is_break and rng.random() < self._scenario.unfinished_share:
                    submitted_ms += back_ms - session.end_ms
            if rng.random() < self._scenario.idle_share:
                submitted_ms += int(rng.expovariate(1.0 / _MEAN_IDLE_SECONDS) * 1000)
        self._push(submitted_ms, _Happening.SUBMIT, _Work(labeler, task, started_ms, submitted_ms, seconds))

    def _handling_seconds(self, labeler: Labeler, task: Task, started_ms: int, session_start_ms: int) -> float:
        """Active seconds. Log-normal; labeler, project, task, practice, hour of the day and fatigue add up in log."""
        rng = self._rng
        for bot in self._bots:
            if bot.start_ms <= started_ms < bot.lasts_for(labeler) and bot.hits(labeler, task.project):
                return rng.uniform(*_BOT_SECONDS)
        if labeler.is_model:
            return MODEL_HANDLING_SECONDS * math.exp(rng.gauss(0.0, _NOISE))
        record = self.records[labeler.index, task.project]
        record.practice += 1
        hour = started_ms / HOUR_MS + labeler.utc_offset_hours
        seconds = self._scenario.projects[task.project].handling_seconds * math.exp(
            labeler.log_pace
            + labeler.log_project_pace[task.project]
            + task.log_slow
            + _PRACTICE * math.exp(-record.practice / _PRACTICE_TASKS)
            + _TIRES_PER_HOUR * (started_ms - session_start_ms) / HOUR_MS
            + _TIME_OF_DAY * math.cos((hour - _SLOWEST_HOUR) * math.tau / 24)
            + rng.gauss(0.0, _NOISE)
        )
        seconds *= labeler.vendor.pace
        for drift in self._drifts:
            if drift.start_ms <= started_ms < drift.end_ms and drift.hits(labeler, task.project):
                seconds *= 1.0 + drift.spec.effective_strength
        return max(seconds, 0.8)

    def _submit(self, work: _Work, *, is_revision: bool = False) -> tuple[str, Label]:
        """The labeler answers; the answer's id and label."""
        rng, labeler, task = self._rng, work.labeler, work.task
        project = self._scenario.projects[task.project]
        record = self.records[labeler.index, task.project]
        period = record.period_at(work.submitted_ms)
        label, is_right = self._answers[task.project].answer(rng, task.truth, task.difficulty, period.behaviour)
        record.answered[record.current] += 1
        record.right[record.current] += is_right
        if not is_revision:
            if not labeler.is_model and rng.random() < self._scenario.revision_share:
                self._revise(work)
            if project.review_share and task.gold_label is None and rng.random() < project.review_share:
                self._review(work, is_right)
        return f"{rng.getrandbits(128):032x}", label

    def _annotation(self, work: _Work, event_id: str, label: Label) -> AnnotationEvent:
        labeler, task = work.labeler, work.task
        project = self._scenario.projects[task.project]
        return AnnotationEvent(
            event_id=event_id,
            task_id=task.task_id,
            labeler_id=labeler.labeler_id,
            labeler_kind=labeler.kind,
            project_id=project.id,
            vendor_id=labeler.vendor.id,
            task_type=project.task_type,
            label=label,
            started_at=_EPOCH + timedelta(milliseconds=work.started_ms),
            submitted_at=_EPOCH + timedelta(milliseconds=work.submitted_ms),
            active_seconds=round(work.active_seconds, 3) if project.reports_active_seconds else None,
            features=task.features,
            gold_label=task.gold_label,
        )

    def _revise(self, work: _Work) -> None:
        seconds = max(0.8, 0.4 * work.active_seconds)
        started_ms = work.submitted_ms + int(self._rng.uniform(60, 1_200) * 1000)
        submitted_ms = started_ms + int(seconds * 1000)
        self._push(submitted_ms, _Happening.REVISE, _Work(work.labeler, work.task, started_ms, submitted_ms, seconds))

    def _review(self, work: _Work, is_right: bool) -> None:
        rng, task = self._rng, work.task
        project = self._scenario.projects[task.project]
        delay = project.review_delay.total_seconds() * math.exp(rng.gauss(0.0, 0.6))
        errs = rng.random() >= self._scenario.reviewer_accuracy
        says_truth = not errs and not project.subjective and project.kind != "text"
        reviewed_ms = work.submitted_ms + max(1, int(delay * 1000))
        review = ReviewEvent(
            project_id=project.id,
            task_id=task.task_id,
            labeler_id=work.labeler.labeler_id,
            true_label=self._answers[task.project].label(task.truth) if says_truth else None,
            accepted=is_right != errs,
            reviewer_id=rng.choice(self._reviewers[task.project]),
            reviewed_at=_EPOCH + timedelta(milliseconds=reviewed_ms),
        )
        self._push(reviewed_ms, _Happening.REVIEW, review)
