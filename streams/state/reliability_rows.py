"""A labeler's reliability as others read it: a row of ClickHouse, and a record of the compacted topic."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from detectors.evidence import Evidence, as_one_coin
from detectors.reliability import Reliability
from schemas.reliability import EvidencePart, ReliabilityRecord
from schemas.rows import LabelerReliabilityRow
from schemas.topics import LABELER_RELIABILITY
from streams.outbox import MAX_MESSAGE_BYTES

Labeler = tuple[str, str, str]
"""Project, task type, labeler."""


def reliability_row(labeler: Labeler, as_of_ms: int, version: int, known: Reliability) -> LabelerReliabilityRow:
    """What was known of a labeler at one minute of event time."""
    return LabelerReliabilityRow(
        *labeler,
        as_of=as_of_ms,
        form=known.form,
        labels=known.labels,
        accuracy=known.accuracy,
        accuracy_low=known.accuracy_low,
        accuracy_high=known.accuracy_high,
        effective_labels=known.effective_labels,
        spammer_score=known.spammer_score,
        bias_label=known.bias_label,
        bias=known.bias,
        precision=known.precision,
        confused_true=known.confused_true,
        confused_answer=known.confused_answer,
        confused_share=known.confused_share,
        stability=known.stability,
        distance=known.distance,
        attention=known.attention,
        confusion_true=[true for true, _, _ in known.confusion],
        confusion_answer=[answer for _, answer, _ in known.confusion],
        confusion_weight=[weight for _, _, weight in known.confusion],
        version=version,
    )


def reliability_key(app_id: str, labeler: Labeler) -> tuple[str, int | None, bytes]:
    """Topic, partition (its key decides) and key of a labeler's record."""
    return LABELER_RELIABILITY.name, None, orjson.dumps([app_id, *labeler])


def reliability_record(
    app_id: str, labeler: Labeler, as_of_ms: int, known: Reliability, parts: Mapping[int, tuple[int, Evidence]]
) -> bytes:
    """The record that tells every worker; with one number a source partition where the matrices are too large."""
    project_id, task_type, labeler_id = labeler

    def encoded(parts: Mapping[int, tuple[int, Evidence]]) -> bytes:
        record = ReliabilityRecord(
            app_id=app_id,
            project_id=project_id,
            task_type=task_type,
            labeler_id=labeler_id,
            as_of=datetime.fromtimestamp(as_of_ms / 1_000, UTC),
            form=known.form,  # type: ignore[arg-type]  # checked when it is made
            labels=known.labels,
            effective_labels=known.effective_labels,
            accuracy=known.accuracy,
            accuracy_low=known.accuracy_low,
            accuracy_high=known.accuracy_high,
            spammer_score=known.spammer_score,
            parts={
                partition: EvidencePart(version=version, evidence=evidence.to_plain())
                for partition, (version, evidence) in parts.items()
            },
        )
        return record.model_dump_json().encode()

    value = encoded(parts)
    if len(value) <= MAX_MESSAGE_BYTES:
        return value
    return encoded({partition: (version, as_one_coin(evidence)) for partition, (version, evidence) in parts.items()})
