"""All state of one source partition: open tasks, open windows, what is believed, and the positions.

One owner changes it: the pipeline of that partition. What changed since the last call comes out of `changes` as
rows; `restore` is its inverse. Every value is stored with the sequence number that it includes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from detectors.beliefs import Beliefs
from detectors.consensus import LabelSpace, Task, shared
from detectors.evidence import UNJUDGED, Evidence
from detectors.expected_time import ExpectedTimes
from detectors.forgetting import HalfLives
from detectors.labeler_speed import SpeedKey
from detectors.windows import Partial, WindowKey, Windows
from schemas.rows import ClosedTaskRow, Row, StateRow
from schemas.topics import ANNOTATIONS
from streams.outbox import ChangedEvidence, Message
from streams.settings import PipelineSettings
from streams.state import codecs
from streams.state.journal import Journal
from streams.state.position import Position
from streams.state.result_rows import confidence_row, partial_row


@dataclass(slots=True)
class Changes:
    """What a checkpoint must make durable, in this order: the intent, messages, results, then progress and state
    (positions included).

    Progress comes after the results, so that who waits for it and then reads a view finds the figures there.
    """

    intent: list[Row] = field(default_factory=list)
    """State that says how far the results go, before any of them is written."""
    messages: list[Message] = field(default_factory=list)
    evidence: list[ChangedEvidence] = field(default_factory=list)
    """Labelers of whom more is known now. To be sent with the messages."""
    results: dict[str, list[Row]] = field(default_factory=dict)
    progress: list[Row] = field(default_factory=list)
    state: list[Row] = field(default_factory=list)


class PartitionState:
    """State of one source partition. ``tasks`` are in order of last touch, the longest idle first."""

    def __init__(self, app_id: str, partition: int, settings: PipelineSettings, beliefs: Beliefs | None = None) -> None:
        self.app_id = app_id
        self.partition = partition
        self.settings = settings
        self.tasks: OrderedDict[tuple[str, str], Task] = OrderedDict()
        self.reopened: dict[tuple[str, str], Task] = {}
        """Tasks that had been closed, and are open for a review until the next annotation."""
        self.windows = Windows(
            width_ms=settings.window_seconds * 1_000,
            out_of_order_ms=int(settings.out_of_order_seconds * 1_000),
            lateness_ms=int(settings.allowed_lateness_seconds * 1_000),
        )
        self.expected_times = ExpectedTimes()
        self.beliefs = beliefs or Beliefs(HalfLives(annotations=1_000, days=90))
        self.journal = Journal(app_id, partition)
        self.positions: dict[str, Position] = {}
        self.tasks_given_up = 0
        """Tasks dropped before their time since this state was made, because there were too many."""
        self._horizon_ms = int(settings.duplicate_horizon_seconds * 1_000)
        self._changed_tasks: dict[tuple[str, str], Task] = {}
        self._changed_windows: dict[tuple[WindowKey, int], Partial] = {}
        self._deleted: dict[tuple[str, str], int] = {}
        self._closed: dict[tuple[str, str], ClosedTaskRow] = {}
        self._changed_topics: set[str] = set()

    def position(self, topic: str) -> Position:
        """The position in one of the source topics."""
        return self.positions.setdefault(topic, Position())

    def sequence(self, annotation_offset: int | None = None) -> int:
        """Number of the last message applied: it grows with every annotation, and with every review when applied."""
        offset = self.position(ANNOTATIONS.name).offset if annotation_offset is None else annotation_offset
        return offset + self.journal.applied

    def task(self, project_id: str, task_id: str, task_type: str, sequence: int) -> Task:
        """The open task, opened if need be, and touched by the annotation of this number."""
        key = (project_id, task_id)
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = Task(shared(project_id), task_id, shared(task_type))
        else:
            self.tasks.move_to_end(key)
        task.touched_ms, task.touched = self.windows.watermark_ms, sequence
        task.applied = max(task.applied, sequence)
        self._changed_tasks[key] = task
        return task

    def revise(self, task: Task, sequence: int) -> None:
        """Note that an open task changed by other than an annotation: it is closed no later for that."""
        task.applied = sequence
        self._changed_tasks[(task.project_id, task.task_id)] = task

    def partial(self, key: WindowKey, sequence: int) -> Partial:
        """The open partial of a window, opened if need be, and touched."""
        partial = self.windows.touch(key, offset=sequence)
        self._changed_windows[(key, partial.first_offset)] = partial
        return partial

    def close_partial(self, key: WindowKey, sequence: int) -> None:
        """Close a partial that can hold no more."""
        partial = self.windows.get(key)
        self.windows.close_early(key)
        self._deleted[("window", codecs.window_key(key, partial.first_offset))] = sequence

    def moved(self, topic: str) -> None:
        """Note that the position of a topic changed."""
        self._changed_topics.add(topic)

    def retire(self, sequence: int, now_ms: int) -> None:
        """Close windows and tasks whose time has passed. Called after each annotation, so that what is open is a
        function of the messages alone and not of how they were batched.

        Args:
            sequence: number of that annotation.
            now_ms: when it arrived.
        """
        for key, partial in self.windows.close():
            self._deleted[("window", codecs.window_key(key, partial.first_offset))] = sequence
        limit, watermark_ms = self.settings.max_open_tasks, self.windows.watermark_ms
        while self.tasks:
            task_key, task = next(iter(self.tasks.items()))
            if len(self.tasks) <= limit and task.touched_ms + self._horizon_ms > watermark_ms:
                return
            self.tasks_given_up += task.touched_ms + self._horizon_ms > watermark_ms
            self._close(task, sequence, now_ms)
            del self.tasks[task_key]
            self._deleted[("task", codecs.task_key(*task_key))] = sequence

    def changes(self, now_ms: int) -> Changes:
        """Rows for everything that changed since the last call."""
        found = Changes()
        found.results["task_confidence"] = [
            confidence_row(task, self.beliefs, self.partition)
            for task in self._changed_tasks.values()
            if task.posterior is not None or task.truth is not None
        ]
        found.results["window_partials"] = [
            partial_row(key, partial, self.partition) for (key, _), partial in self._changed_windows.items()
        ]
        found.results["closed_tasks"] = list(self._closed.values())
        state = found.state
        for project_task, task in self._changed_tasks.items():
            if self.tasks.get(project_task) is task or self.reopened.get(project_task) is task:
                key = codecs.task_key(*project_task)
                state.append(self._state_row("task", key, task.applied, codecs.encode_task(task)))
        for (key_, first_offset), partial in self._changed_windows.items():
            key = codecs.window_key(key_, first_offset)
            if ("window", key) not in self._deleted:
                state.append(self._state_row("window", key, partial.last_offset, codecs.encode_window(partial)))
        for (kind, key), sequence in self._deleted.items():
            if kind == "window" or self.open_task(*codecs.read_key(key)) is None:
                state.append(self._state_row(kind, key, sequence, "", deleted=True))
        found.progress = self.progress_rows(now_ms, is_idle=False)
        for topic in self._changed_topics:
            position = self.positions[topic]
            state.append(self._state_row("position", topic, position.offset, codecs.encode_position(position)))
        if ANNOTATIONS.name in self._changed_topics:
            offset = self.positions[ANNOTATIONS.name].offset
            found.intent = [self.journal.intent(offset)]
        state.extend(self.journal.changes())
        self._add_beliefs(found)
        if ANNOTATIONS.name in self._changed_topics:
            self._add_expected_times(found)
        self._changed_tasks, self._changed_windows, self._deleted, self._closed = {}, {}, {}, {}
        self._changed_topics = set()
        return found

    def progress_rows(self, now_ms: int, *, is_idle: bool) -> list[Row]:
        """How far each topic has been read."""
        return [
            position.row(self.app_id, topic, self.partition, now_ms, is_idle=is_idle)
            for topic, position in self.positions.items()
            if position.received
        ]

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Continue from stored rows, whatever their order.

        Raises:
            UnknownCodecError: a row was written by a version of labelwatch that this one cannot read.
        """
        partials: dict[WindowKey, Partial] = {}
        labelers: list[StateRow] = []
        memories: dict[str, list[tuple[Any, Any]]] = {kind: [] for kind in self.expected_times.memories}
        for row in sorted(rows, key=lambda row: row.version):
            codecs.check_version(row.kind, row.codec_version)
            match row.kind:
                case "position":
                    self.positions[row.key] = codecs.decode_position(row.payload)
                case "task":
                    task = codecs.decode_task(row.payload, row.codec_version)
                    (self.reopened if task.is_reopened else self.tasks)[(task.project_id, task.task_id)] = task
                case "window":
                    key, partial = codecs.decode_window(row.key, row.payload)
                    partials[key] = partial
                case "handling_time" if row.codec_version == codecs.CODEC_VERSIONS["handling_time"]:
                    self.expected_times.load(codecs.decode_plain(row.payload))
                case "speed":
                    memories[row.kind].append((SpeedKey(*codecs.read_key(row.key)), codecs.decode_plain(row.payload)))
                case "task_time":
                    memories[row.kind].append((int(row.key), codecs.decode_plain(row.payload)))
                case "review" | "reviews_applied" | "intent":
                    self.journal.restore(row)
                case "label_space":
                    form, plain = codecs.decode_plain(row.payload)
                    self.beliefs.load(LabelSpace(*codecs.read_key(row.key)), form, plain)
                case "labeler":
                    labelers.append(row)
                case "confidence":
                    self.beliefs.confidence_model.load(codecs.decode_plain(row.payload))
        self.tasks = OrderedDict(sorted(self.tasks.items(), key=lambda item: (item[1].touched_ms, item[1].touched)))
        for row in labelers:  # after their label spaces
            project_id, task_type, labeler_id = codecs.read_key(row.key)
            model = self.beliefs.models[LabelSpace(project_id, task_type)]
            model.load_labeler(shared(labeler_id), codecs.decode_plain(row.payload))
        for kind, entries in memories.items():
            self.expected_times.memories[kind].load(entries)
        self.windows.restore(self.position(ANNOTATIONS.name).watermark_ms, partials)

    def reopen(self, closed: Iterable[ClosedTaskRow]) -> None:
        """Open tasks again that a noted review is about; apart, so that annotations do not find them."""
        for row in sorted(closed, key=lambda row: (row.project_id, row.task_id)):
            key = (row.project_id, row.task_id)
            if key not in self.tasks and key not in self.reopened and key not in self._closed:
                task = self.reopened[key] = codecs.decode_task(row.payload, row.codec_version)
                task.is_reopened = True
                self.journal.count_applied()
                self.revise(task, self.sequence())

    def is_closing(self, project_id: str, task_id: str) -> bool:
        """Whether a task was closed since the last checkpoint: it cannot be read yet."""
        return (project_id, task_id) in self._closed

    def close_reopened(self, sequence: int, now_ms: int) -> None:
        """Close the tasks that are open for a review only; before each annotation."""
        for key, task in sorted(self.reopened.items()):
            task.is_reopened = False
            self._close(task, sequence, now_ms)
            self._deleted[("task", codecs.task_key(*key))] = sequence
        self.reopened = {}

    def open_task(self, project_id: str, task_id: str) -> Task | None:
        """The task of a review, open for whatever reason."""
        key = (project_id, task_id)
        return self.tasks.get(key) or self.reopened.get(key)

    def _close(self, task: Task, sequence: int, now_ms: int) -> None:
        """Look at a task for the last time and put it away: a review may still come."""
        if task.posterior is None and task.truth is None:
            return
        self.beliefs.close(task)
        task.confidence = self.beliefs.confidence(task)
        task.applied = sequence
        self._changed_tasks[(task.project_id, task.task_id)] = task
        self.journal.task_closed(task.project_id, task.task_id)
        self._closed[(task.project_id, task.task_id)] = ClosedTaskRow(
            app_id=self.app_id,
            source_partition=self.partition,
            project_id=task.project_id,
            task_id=task.task_id,
            closed_at=now_ms,
            codec_version=codecs.CODEC_VERSIONS["task"],
            payload=codecs.encode_task(task),
            version=sequence,
        )

    def _add_beliefs(self, found: Changes) -> None:
        beliefs, sequence, told = self.beliefs, self.sequence(), set[SpeedKey]()
        for space, labeler_id, model in beliefs.take_changed():
            payload = codecs.encode_plain(model.dump_labeler(labeler_id))
            found.state.append(self._state_row("labeler", codecs.labeler_key(space, labeler_id), sequence, payload))
            key = SpeedKey(labeler_id, *space)
            evidence = replace(model.evidence(labeler_id), speed=self.expected_times.speed_evidence(key))
            found.evidence.append(ChangedEvidence(*space, labeler_id, sequence, evidence))
            told.add(key)
        for key in self.expected_times.changed_speeds():
            if key not in told:
                found.evidence.append(ChangedEvidence(*key.space, key.labeler_id, sequence, self._evidence_of(key)))
        for space in sorted(beliefs.changed_spaces):
            model = beliefs.models[space]
            payload = codecs.encode_plain([model.form, model.dump()])
            found.state.append(self._state_row("label_space", codecs.space_key(space), sequence, payload))
        beliefs.changed_spaces = set()
        if beliefs.is_confidence_changed:
            payload = codecs.encode_plain(beliefs.confidence_model.dump())
            found.state.append(self._state_row("confidence", "", sequence, payload))
            beliefs.is_confidence_changed = False

    def _evidence_of(self, key: SpeedKey) -> Evidence:
        """Of a labeler whose speed changed: what is known besides, if its answers are judged at all."""
        model = self.beliefs.models.get(key.space)
        speed = self.expected_times.speed_evidence(key)
        if model is not None and key.labeler_id in model.labelers:
            return replace(model.evidence(key.labeler_id), speed=speed)
        return Evidence(UNJUDGED, 0, 0 if speed is None else speed.seen_ms, speed=speed)

    def _add_expected_times(self, found: Changes) -> None:
        offset = self.positions[ANNOTATIONS.name].offset
        payload = codecs.encode_plain(self.expected_times.dump())
        found.state.append(self._state_row("handling_time", "", offset, payload))
        for kind, memory in self.expected_times.memories.items():
            for key, plain in memory.take_changed():
                payload = "" if plain is None else codecs.encode_plain(plain)
                row = self._state_row(kind, codecs.memory_key(key), offset, payload, deleted=plain is None)
                found.state.append(row)

    def _state_row(self, kind: str, key: str, version: int, payload: str, *, deleted: bool = False) -> StateRow:
        return StateRow(self.app_id, self.partition, kind, key, version, codecs.CODEC_VERSIONS[kind], payload, deleted)
