"""All state of one source partition: open tasks, open windows, the handling-time model, and the positions.

One owner changes it: the pipeline of that partition. What changed since the last call comes out of `changes` as
rows; `restore` is its inverse. Every value is stored with the source offset it includes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from detectors.consensus import Task, shared
from detectors.handling_time import HandlingTimeModel
from detectors.windows import Partial, WindowKey, Windows
from schemas.rows import Row, StateRow, TaskConfidenceRow, WindowPartialRow
from schemas.topics import ANNOTATIONS
from streams.settings import PipelineSettings
from streams.state import codecs
from streams.state.position import Position


@dataclass(slots=True)
class Changes:
    """What a checkpoint must make durable, in this order: results, then progress and state (positions included).

    Progress comes after the results, so that who waits for it and then reads a view finds the figures there.
    """

    results: dict[str, list[Row]] = field(default_factory=dict)
    progress: list[Row] = field(default_factory=list)
    state: list[Row] = field(default_factory=list)


class PartitionState:
    """State of one source partition. ``tasks`` are in order of last touch, the longest idle first."""

    def __init__(self, app_id: str, partition: int, settings: PipelineSettings) -> None:
        self.app_id = app_id
        self.partition = partition
        self.settings = settings
        self.tasks: OrderedDict[tuple[str, str], Task] = OrderedDict()
        self.windows = Windows(
            width_ms=settings.window_seconds * 1_000,
            out_of_order_ms=int(settings.out_of_order_seconds * 1_000),
            lateness_ms=int(settings.allowed_lateness_seconds * 1_000),
        )
        self.handling_time = HandlingTimeModel(settings.handling_half_life)
        self.positions: dict[str, Position] = {}
        self.tasks_given_up = 0
        """Tasks dropped before their time since this state was made, because there were too many."""
        self._horizon_ms = int(settings.duplicate_horizon_seconds * 1_000)
        self._changed_tasks: dict[tuple[str, str], Task] = {}
        self._changed_windows: dict[tuple[WindowKey, int], Partial] = {}
        self._deleted: dict[tuple[str, str], int] = {}
        self._changed_topics: set[str] = set()

    def position(self, topic: str) -> Position:
        """The position in one of the source topics."""
        return self.positions.setdefault(topic, Position())

    def task(self, project_id: str, task_id: str, task_type: str) -> Task:
        """The open task, opened if need be, and touched."""
        key = (project_id, task_id)
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = Task(shared(project_id), task_id, shared(task_type))
        else:
            self.tasks.move_to_end(key)
        task.touched_ms = self.windows.watermark_ms
        self._changed_tasks[key] = task
        return task

    def partial(self, key: WindowKey, offset: int) -> Partial:
        """The open partial of a window, opened if need be, and touched."""
        partial = self.windows.touch(key, offset=offset)
        self._changed_windows[(key, partial.first_offset)] = partial
        return partial

    def moved(self, topic: str) -> None:
        """Note that the position of a topic changed."""
        self._changed_topics.add(topic)

    def retire(self, offset: int) -> None:
        """Close windows and give up tasks whose time has passed. Called after each annotation, so that what is
        open is a function of the messages alone and not of how they were batched."""
        for key, partial in self.windows.close():
            self._deleted[("window", codecs.window_key(key, partial.first_offset))] = offset
        limit, watermark_ms = self.settings.max_open_tasks, self.windows.watermark_ms
        while self.tasks:
            task_key, task = next(iter(self.tasks.items()))
            if len(self.tasks) <= limit and task.touched_ms + self._horizon_ms > watermark_ms:
                return
            del self.tasks[task_key]
            self.tasks_given_up += task.touched_ms + self._horizon_ms > watermark_ms
            self._deleted[("task", codecs.task_key(*task_key))] = offset

    def changes(self, now_ms: int) -> Changes:
        """Rows for everything that changed since the last call."""
        found = Changes()
        found.results["task_confidence"] = [
            self._confidence_row(task) for task in self._changed_tasks.values() if task.has_votes or task.gold
        ]
        found.results["window_partials"] = [
            self._partial_row(key, partial) for (key, _), partial in self._changed_windows.items()
        ]
        state = found.state
        for project_task, task in self._changed_tasks.items():
            if self.tasks.get(project_task) is task:
                key = codecs.task_key(*project_task)
                state.append(self._state_row("task", key, task.applied_offset, codecs.encode_task(task)))
        for (key_, first_offset), partial in self._changed_windows.items():
            key = codecs.window_key(key_, first_offset)
            if ("window", key) not in self._deleted:
                state.append(self._state_row("window", key, partial.last_offset, codecs.encode_window(partial)))
        for (kind, key), offset in self._deleted.items():
            if kind == "window" or tuple(codecs.read_key(key)) not in self.tasks:
                state.append(self._state_row(kind, key, offset, "", deleted=True))
        found.progress = self.progress_rows(now_ms, is_idle=False)
        for topic in self._changed_topics:
            position = self.positions[topic]
            state.append(self._state_row("position", topic, position.offset, codecs.encode_position(position)))
        if ANNOTATIONS.name in self._changed_topics:
            offset = self.positions[ANNOTATIONS.name].offset
            state.append(self._state_row("handling_time", "", offset, codecs.encode_handling_time(self.handling_time)))
        self._changed_tasks, self._changed_windows, self._deleted = {}, {}, {}
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
        for row in sorted(rows, key=lambda row: row.version):
            codecs.check_version(row.kind, row.codec_version)
            match row.kind:
                case "position":
                    self.positions[row.key] = codecs.decode_position(row.payload)
                case "task":
                    task = codecs.decode_task(row.payload)
                    self.tasks[(task.project_id, task.task_id)] = task
                case "window":
                    key, partial = codecs.decode_window(row.key, row.payload)
                    partials[key] = partial
                case "handling_time":
                    self.handling_time.load(codecs.decode_handling_time(row.payload))
        self.windows.restore(self.position(ANNOTATIONS.name).watermark_ms, partials)

    def _state_row(self, kind: str, key: str, version: int, payload: str, *, deleted: bool = False) -> StateRow:
        return StateRow(self.app_id, self.partition, kind, key, version, codecs.CODEC_VERSIONS[kind], payload, deleted)

    def _confidence_row(self, task: Task) -> TaskConfidenceRow:
        consensus, confidence = task.consensus()
        return TaskConfidenceRow(
            project_id=task.project_id,
            task_id=task.task_id,
            task_type=task.task_type,
            consensus_label=consensus or "",
            confidence=confidence,
            labels=len(task.answers),
            gold_label=None if task.gold is None else task.gold.label,
            last_submitted_at=task.last_submitted_ms,
            source_partition=self.partition,
            version=task.applied_offset,
        )

    def _partial_row(self, key: WindowKey, partial: Partial) -> WindowPartialRow:
        return WindowPartialRow(
            window_start=key.start_ms,
            project_id=key.project_id,
            task_type=key.task_type,
            vendor_id=key.vendor_id,
            source_partition=self.partition,
            first_offset=partial.first_offset,
            last_offset=partial.last_offset,
            annotations=partial.annotations,
            revisions=partial.revisions,
            duplicates=partial.duplicates,
            late=partial.late,
            gold_seen=partial.gold_seen,
            gold_right=partial.gold_right,
            consensus_seen=partial.consensus_seen,
            consensus_agreed=partial.consensus_agreed,
            handling_microseconds=partial.handling_microseconds,
            handling_sketch=dict(partial.handling_sketch),
            forecast_seen=partial.forecast_seen,
            forecast_microseconds=partial.forecast_microseconds,
            forecast_error_microseconds=partial.forecast_error_microseconds,
            task_hashes=partial.tasks.hashes(),
            labeler_hashes=partial.labelers.hashes(),
            label_histogram=dict(partial.label_histogram),
        )
