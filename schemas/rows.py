"""Rows as ClickHouse stores them. Field order is column order; a test ties each to the migrated table.

Times are integers: milliseconds since the Unix epoch, UTC (``DateTime64(3, 'UTC')``), which is both exact
and what the client writes fastest. Every table has an identity (its ORDER BY) and a version, so that writing
a row again changes nothing and writing a later one replaces it.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class AnnotationScoreRow(NamedTuple):
    """``annotation_scores``: one annotation. Identity: segment, submit time, task, event id."""

    project_id: str
    task_type: str
    vendor_id: str
    submitted_at: int
    task_id: str
    event_id: str
    labeler_id: str
    labeler_kind: str
    label_kind: str
    label: str
    gold_label: str | None
    gold_correct: bool | None
    agrees_with_consensus: bool | None
    started_at: int
    handling_seconds: float
    expected_handling_seconds: float | None
    is_revision: bool
    is_late: bool
    ingested_at: int
    source_partition: int
    source_offset: int


class TaskConfidenceRow(NamedTuple):
    """``task_confidence``: what a task's answer is now believed to be. Identity: project, task."""

    project_id: str
    task_id: str
    task_type: str
    consensus_label: str
    confidence: float
    labels: int
    gold_label: str | None
    last_submitted_at: int
    source_partition: int
    version: int


class ReviewRow(NamedTuple):
    """``reviews``: one verdict. Identity: project, task, labeler, reviewer, time. Version: source offset."""

    project_id: str
    task_id: str
    labeler_id: str
    reviewer_id: str
    reviewed_at: int
    true_label: str | None
    accepted: bool | None
    ingested_at: int
    source_partition: int
    source_offset: int


class WindowPartialRow(NamedTuple):
    """``window_partials``: one source partition's share of a window, always whole. Additive measures only.

    Identity: window, segment, source partition, first offset. A window that was closed and gets late
    annotations starts another partial (another ``first_offset``); readers add them up.
    """

    window_start: int
    project_id: str
    task_type: str
    vendor_id: str
    source_partition: int
    first_offset: int
    last_offset: int
    annotations: int
    revisions: int
    duplicates: int
    late: int
    gold_seen: int
    gold_right: int
    consensus_seen: int
    consensus_agreed: int
    handling_microseconds: int
    handling_sketch: dict[int, int]
    forecast_seen: int
    forecast_microseconds: int
    forecast_error_microseconds: int
    task_hashes: list[int]
    labeler_hashes: list[int]
    label_histogram: dict[str, int]


class DeadLetterRow(NamedTuple):
    """``dead_letters``. Identity: origin."""

    origin_topic: str
    origin_partition: int
    origin_offset: int
    origin_key: str
    reason: str
    detail: str
    first_bytes: str
    payload_bytes: int
    failed_at: int
    status: str
    version: int


class SourceProgressRow(NamedTuple):
    """``source_progress``: how far one source partition has been read, and what became of its messages."""

    app_id: str
    topic: str
    source_partition: int
    last_offset: int
    watermark: int
    received: int
    accepted: int
    duplicates: int
    dead_letters: int
    is_idle: bool
    updated_at: int
    version: int


class StateRow(NamedTuple):
    """``state``: one value of the workers' state. ``version`` is the applied offset."""

    app_id: str
    source_partition: int
    kind: str
    key: str
    version: int
    codec_version: int
    payload: str
    is_deleted: bool


class PartitionClaimRow(NamedTuple):
    """``partition_claims``: who owns a source partition. The highest epoch wins."""

    app_id: str
    source_partition: int
    epoch: int
    worker_id: str
    claimed_at: int


Row = (
    AnnotationScoreRow
    | TaskConfidenceRow
    | ReviewRow
    | WindowPartialRow
    | DeadLetterRow
    | SourceProgressRow
    | StateRow
    | PartitionClaimRow
)

#: Table name to row type. The only place where the two meet.
TABLES: Final[dict[str, type[Row]]] = {
    "annotation_scores": AnnotationScoreRow,
    "task_confidence": TaskConfidenceRow,
    "reviews": ReviewRow,
    "window_partials": WindowPartialRow,
    "dead_letters": DeadLetterRow,
    "source_progress": SourceProgressRow,
    "state": StateRow,
    "partition_claims": PartitionClaimRow,
}
