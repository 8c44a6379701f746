"""Rows as ClickHouse stores them. Field order is column order; a test ties each to the migrated table.

Times are integers: milliseconds since the Unix epoch, UTC (``DateTime64(3, 'UTC')``), which is both exact
and what the client writes fastest. Every table has an identity (its ORDER BY) and a version, so that writing
a row again changes nothing and writing a later one replaces it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.alert_rows import AlertDeliveryRow, AlertNoteRow, AlertRow


class AnnotationScoreRow(NamedTuple):
    """``annotation_scores``: one annotation. Identity: segment, submit time, task, event id.

    ``handling_low_50`` and its like are bounds of the 50 % and 90 % intervals of the forecast, in seconds.
    ``handling_p_value`` is the share of comparable recent annotations that took no longer relative to their forecasts:
    near 0 is unusually fast, near 1 unusually slow. ``time_flag`` is empty for a time that is trusted, ``impossible``
    for one that nothing is learned from, ``idle`` for one beyond what can be work, learned only as a long one.
    """

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
    probability_right: float | None = None
    handling_low_50: float | None = None
    handling_high_50: float | None = None
    handling_low_90: float | None = None
    handling_high_90: float | None = None
    handling_p_value: float | None = None
    is_too_fast: bool | None = None
    is_too_slow: bool | None = None
    time_flag: str = ""


class TaskConfidenceRow(NamedTuple):
    """``task_confidence``: what a task's answer is now believed to be. Identity: project, task.

    ``truth_source`` is ``gold``, ``review``, or empty where ``truth`` is None.
    """

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
    raw_confidence: float = 0.0
    entropy: float = 0.0
    posterior: dict[str, float] = {}  # noqa: RUF012  (never changed: a row is a value)
    truth: str | None = None
    truth_source: str = ""
    is_subjective: bool = False


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

    Identity: window, segment, source partition, first offset. A window that was closed and gets late annotations,
    or a late truth, starts another partial (another ``first_offset``); readers add them up. Such a correction may
    hold negative gold, consensus and agreement figures. The offsets are sequence numbers of what was applied.

    ``agreement_first``, ``_second`` and ``_weight`` are parallel: unordered pairs of answers (first <= second) and
    their coincidences, in units of 1e-9. ``width_90_log_micro`` is the sum of log(high / low) of the 90 % intervals, in
    units of 1e-6.
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
    agreement_units: int = 0
    agreement_values: int = 0
    agreement_first: list[str] = []  # noqa: RUF012  (never changed: a row is a value)
    agreement_second: list[str] = []  # noqa: RUF012
    agreement_weight: list[int] = []  # noqa: RUF012
    agreement_sum: float = 0.0
    agreement_sum_squares: float = 0.0
    agreement_within: float = 0.0
    interval_seen: int = 0
    covered_50: int = 0
    covered_90: int = 0
    width_90_log_micro: int = 0
    n_too_fast: int = 0
    n_too_slow: int = 0
    n_time_flagged: int = 0


class LabelerReliabilityRow(NamedTuple):
    """``labeler_reliability``: what was known of a labeler in one label space at one minute of event time.

    Identity: project, task type, labeler, ``as_of`` (a whole minute). ``form`` is ``confusion``, ``one_coin``,
    ``rating`` or ``subjective``; what does not apply to a form is None or empty. ``confusion_true``, ``_answer``
    and ``_weight`` are parallel.
    """

    project_id: str
    task_type: str
    labeler_id: str
    as_of: int
    form: str
    labels: int
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    effective_labels: float
    spammer_score: float | None
    bias_label: str
    bias: float | None
    precision: float | None
    confused_true: str
    confused_answer: str
    confused_share: float | None
    stability: float | None
    distance: float | None
    attention: float | None
    confusion_true: list[str]
    confusion_answer: list[str]
    confusion_weight: list[float]
    version: int


class ConfidenceOutcomeRow(NamedTuple):
    """``confidence_outcomes``: what was believed of a task before its truth became known. Identity: project, task."""

    project_id: str
    task_id: str
    task_type: str
    settled_at: int
    consensus_label: str
    truth: str
    truth_source: str
    raw_confidence: float
    confidence: float
    is_right: bool
    labels: int
    source_partition: int
    version: int


class ClosedTaskRow(NamedTuple):
    """``closed_tasks``: a task that left a worker's memory, for truths that come later.

    Identity: app, source partition, project, task.
    """

    app_id: str
    source_partition: int
    project_id: str
    task_id: str
    closed_at: int
    codec_version: int
    payload: str
    version: int


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


class FindingRow(NamedTuple):
    """``findings``: a change that a detector found. Identity: metric, scope, time, source partition, rule.

    What of the scope is empty, is not told apart. ``rule`` is empty for what is watched without one; ``scope`` is that
    of the rule. What a rule finds was found in partition 0 of the topic ``measurements``.
    """

    metric: str
    project_id: str
    task_type: str
    vendor_id: str
    labeler_id: str
    at: int
    source_partition: int
    direction: str
    since: int
    baseline: float
    level: float
    answers: int
    statistic: float
    threshold: float
    source_offset: int
    rule: str = ""
    scope: str = ""


class ThresholdChangeRow(NamedTuple):
    """``threshold_changes``: rules that came into force. Identity: app, modification time, SHA-256 of the file.

    Workers that read the same file write the same row. ``content`` is the whole file, so that a worker whose file is
    broken when it starts goes on with the latest rules that were accepted.
    """

    app_id: str
    changed_at: int
    sha256: str
    previous_sha256: str
    changed_by: str
    source: str
    rules_added: list[str]
    rules_changed: list[str]
    rules_removed: list[str]
    diff: str
    content: str
    worker_id: str
    accepted_at: int


class MeasurementRow(NamedTuple):
    """``measurements``: a message of the topic of that name, as it stands there. Identity: app, arrival, offset.

    ``kind`` is ``measurements`` or ``rules``, of which ``source_partition`` is -1. ``first_at`` and ``last_at`` are the
    earliest and the latest event time of its answers, both 0 without any.
    """

    app_id: str
    arrived_at: int
    source_offset: int
    sent_at: int
    kind: str
    source_partition: int
    first_at: int
    last_at: int
    answers: int
    payload: str


Row = (
    AnnotationScoreRow
    | TaskConfidenceRow
    | ReviewRow
    | WindowPartialRow
    | LabelerReliabilityRow
    | ConfidenceOutcomeRow
    | ClosedTaskRow
    | FindingRow
    | ThresholdChangeRow
    | AlertRow
    | AlertDeliveryRow
    | AlertNoteRow
    | MeasurementRow
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
    "labeler_reliability": LabelerReliabilityRow,
    "confidence_outcomes": ConfidenceOutcomeRow,
    "closed_tasks": ClosedTaskRow,
    "findings": FindingRow,
    "threshold_changes": ThresholdChangeRow,
    "alerts": AlertRow,
    "alert_deliveries": AlertDeliveryRow,
    "alert_notes": AlertNoteRow,
    "measurements": MeasurementRow,
    "dead_letters": DeadLetterRow,
    "source_progress": SourceProgressRow,
    "state": StateRow,
    "partition_claims": PartitionClaimRow,
}
