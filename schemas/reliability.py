"""Reliability of labelers as it is published, version 1: the summary, and the evidence that it was made from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Id
from schemas.evidence import AppId, Count, PlainEvidence
from schemas.times import UtcTime

#: Kafka clusters keep topics to fewer partitions than this.
MAX_SOURCE_PARTITIONS = 10_000

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
SourcePartition = Annotated[int, Field(ge=0)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvidencePart(_Wire):
    """What one source partition knows of the labeler."""

    version: Count
    evidence: PlainEvidence


class ReliabilityRecord(_Wire):
    """How far one labeler can be trusted in one label space.

    Kafka key: the JSON array ``[app_id, project_id, task_type, labeler_id]`` without spaces. The latest record of a
    key counts; an empty one deletes it.
    """

    schema_version: Literal[1] = 1
    app_id: AppId
    project_id: Id
    task_type: Id
    labeler_id: Id
    as_of: UtcTime
    """The minute of the labeler's latest answer."""
    form: Literal["confusion", "one_coin", "rating", "subjective", "unjudged"]
    labels: Count
    """Answers so far."""
    effective_labels: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """What they are worth now: old ones count less."""
    accuracy: Share | None = None
    """How likely an answer is right, where there is a right answer."""
    accuracy_low: Share | None = None
    accuracy_high: Share | None = None
    """90 % credible interval."""
    spammer_score: Finite | None = None
    """0: answers tell nothing about the truth; 1: everything (Raykar and Yu, 2012)."""
    parts: Annotated[dict[SourcePartition, EvidencePart], Field(min_length=1, max_length=MAX_SOURCE_PARTITIONS)]
    """Per source partition of the task-keyed topics."""
