"""Rows for ClickHouse from what a source partition holds: a task's confidence, a window's partial."""

from __future__ import annotations

from detectors.beliefs import Beliefs, Outcome
from detectors.consensus import Task
from detectors.evidence import SUBJECTIVE
from detectors.windows import Partial, WindowKey
from schemas.rows import ConfidenceOutcomeRow, TaskConfidenceRow, WindowPartialRow

#: Labels of an open set in a row's posterior; the others' probabilities are not worth their place.
MAX_LABELS = 50


def confidence_row(task: Task, beliefs: Beliefs, partition: int) -> TaskConfidenceRow:
    """What is believed of a task now."""
    belief = beliefs.belief(task)
    model = beliefs.models.get(task.space)
    # Without classes that were seen only since: when a row is written must not show in it.
    posterior = {label: chance for label, chance in belief.posterior.items() if chance > 0.0}
    if len(posterior) > MAX_LABELS:
        posterior = dict(sorted(posterior.items(), key=lambda item: (-item[1], item[0]))[:MAX_LABELS])
    return TaskConfidenceRow(
        project_id=task.project_id,
        task_id=task.task_id,
        task_type=task.task_type,
        consensus_label=belief.label or "",
        confidence=task.confidence,
        labels=len(task.answers),
        gold_label=None if task.gold is None else task.gold.label,
        last_submitted_at=task.last_submitted_ms,
        source_partition=partition,
        version=task.applied,
        raw_confidence=belief.raw_confidence,
        entropy=belief.entropy,
        posterior=posterior,
        truth=None if task.truth is None else task.truth.label,
        truth_source="" if task.truth is None else task.truth.source,
        is_subjective=model is not None and model.form == SUBJECTIVE,
    )


def outcome_row(task: Task, held: Outcome, partition: int, version: int) -> ConfidenceOutcomeRow:
    """How a task's consensus, believed without the truth, came out."""
    return ConfidenceOutcomeRow(
        project_id=task.project_id,
        task_id=task.task_id,
        task_type=task.task_type,
        settled_at=held.truth.at_ms,
        consensus_label=held.belief.label or "",
        truth=held.truth.label,
        truth_source=held.truth.source,
        raw_confidence=held.belief.raw_confidence,
        confidence=held.confidence,
        is_right=held.is_right,
        labels=held.labels,
        source_partition=partition,
        version=version,
    )


def partial_row(key: WindowKey, partial: Partial, partition: int) -> WindowPartialRow:
    """One source partition's share of a window, whole."""
    return WindowPartialRow(
        key.start_ms,
        key.project_id,
        key.task_type,
        key.vendor_id,
        partition,
        partial.first_offset,
        partial.last_offset,
        partial.annotations,
        partial.revisions,
        partial.duplicates,
        partial.late,
        partial.gold_seen,
        partial.gold_right,
        partial.consensus_seen,
        partial.consensus_agreed,
        partial.handling_microseconds,
        dict(partial.handling_sketch),
        partial.forecast_seen,
        partial.forecast_microseconds,
        partial.forecast_error_microseconds,
        partial.tasks.hashes(),
        partial.labelers.hashes(),
        dict(partial.label_histogram),
        *partial.agreement.to_plain(),
        partial.interval_seen,
        partial.covered_50,
        partial.covered_90,
        partial.width_90_log_micro,
        partial.n_too_fast,
        partial.n_too_slow,
        partial.n_time_flagged,
    )
