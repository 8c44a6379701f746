"""Events on the wire, version 1. The committed JSON Schema in ``schemas/json`` is made from these models."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from schemas.labels import Label
from schemas.times import UtcTime

#: Versions this code reads. A new one is added here together with its examples.
SCHEMA_VERSIONS = frozenset({1})

MAX_ID_CHARS = 200
MAX_FEATURES = 64
#: Longest accepted message. Kafka's default limit is 1 MiB; an annotation near it is a bug of its producer.
MAX_EVENT_BYTES = 262_144
#: More than a month of work on one answer is not a measurement, but a clock that was never set.
MAX_WORK_SECONDS = 31 * 86_400.0

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]
FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
FeatureValue = (
    bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, StringConstraints(max_length=1_000)]
)


class LabelerKind(StrEnum):
    """Who answers: people, or models whose answers are judged by the same rules."""

    HUMAN = "human"
    MODEL = "model"


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnnotationEvent(_Event):
    """One labeler's answer to one task. Kafka key: ``task_id``."""

    schema_version: Literal[1] = 1
    event_id: Id
    task_id: Id
    labeler_id: Id
    labeler_kind: LabelerKind = LabelerKind.HUMAN
    project_id: Id
    vendor_id: Id
    task_type: Id
    label: Label
    started_at: UtcTime
    submitted_at: UtcTime
    active_seconds: Annotated[float, Field(ge=0, le=MAX_WORK_SECONDS, allow_inf_nan=False, strict=True)] | None = None
    """Active time where the tool can tell it from idle, or a page's time divided by its answers."""
    features: Annotated[dict[FeatureName, FeatureValue], Field(max_length=MAX_FEATURES)] = {}
    gold_label: Label | None = None
    """The known answer, on gold tasks."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.submitted_at < self.started_at:
            submitted, started = self.submitted_at.isoformat(), self.started_at.isoformat()
            raise ValueError(f"submitted_at {submitted} is before started_at {started}")
        if self.active_seconds is None and self.handling_seconds > MAX_WORK_SECONDS:
            days = self.handling_seconds / 86_400
            raise ValueError(
                f"{days:,.0f} days from started_at to submitted_at, at most {MAX_WORK_SECONDS / 86_400:.0f} are work: "
                "send a true started_at, or active_seconds"
            )
        if self.gold_label is not None and self.gold_label.kind != self.label.kind:
            raise ValueError(f"gold_label is a {self.gold_label.kind}, label is a {self.label.kind}")
        return self

    @property
    def handling_seconds(self) -> float:
        """Seconds of work on this annotation: ``active_seconds`` where known, else submit minus start."""
        if self.active_seconds is not None:
            return self.active_seconds
        return (self.submitted_at - self.started_at).total_seconds()


class ReviewEvent(_Event):
    """A later verdict: the task's true label, or whether one answer was accepted. Kafka key: ``task_id``."""

    schema_version: Literal[1] = 1
    project_id: Id
    task_id: Id
    labeler_id: Id | None = None
    true_label: Label | None = None
    accepted: bool | None = None
    reviewer_id: Id
    reviewed_at: UtcTime

    @model_validator(mode="after")
    def _verdict(self) -> Self:
        if self.true_label is None and self.accepted is None:
            raise ValueError("a review needs true_label, accepted, or both")
        if self.accepted is not None and self.labeler_id is None:
            raise ValueError("accepted judges one labeler's answer: labeler_id is missing")
        return self
