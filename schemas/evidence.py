"""Evidence on labelers as it travels between workers, version 1: a batch of what one source partition knows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.events import Id

MAX_ENTRIES = 1_000
#: Top-level fields of the plain form of evidence; what is in them is checked by who makes evidence of it.
MAX_PARTS = 32

AppId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Count = Annotated[int, Field(ge=0, strict=True)]
PlainEvidence = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Any], Field(min_length=1, max_length=MAX_PARTS)
]
"""Evidence in plain JSON (`detectors.evidence.Evidence.to_plain`)."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EvidenceEntry(_Wire):
    """Everything that one source partition knows of one labeler in one label space. Replaces what it said before."""

    project_id: Id
    task_type: Id
    labeler_id: Id
    version: Count
    """Sequence number of the source partition that the evidence includes. The highest counts."""
    evidence: PlainEvidence


class EvidenceBatch(_Wire):
    """Labelers whose evidence changed in one source partition. No Kafka key; the partition is chosen by labeler."""

    schema_version: Literal[1] = 1
    app_id: AppId
    """Applications that share topics do not mix their evidence."""
    source_partition: Count
    entries: Annotated[list[EvidenceEntry], Field(min_length=1, max_length=MAX_ENTRIES)]
