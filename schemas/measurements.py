"""What rules look at, version 1: what SCORE says of answers, and rules that come into force, in one stream.

A batch of measurements is what one source partition had to say since the last one. Each item carries the sequence
number of its source partition that it belongs to; a batch may repeat items after a crash, and their numbers tell.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, RootModel

from schemas.events import Id
from schemas.evidence import AppId, Count

#: Longer labels are named by their hash: only whether two are the same matters.
MAX_LABEL_CHARS = 64
#: A batch of more is cut into several.
MAX_ITEMS = 5_000
#: Rules as text; `streams.thresholds` refuses larger files.
MAX_RULES_BYTES = 262_144

Whole = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Answer(NamedTuple):
    """One accepted annotation as it was scored."""

    sequence: Whole
    segment: Whole
    """Which of the batch's segments it is in."""
    labeler_id: Id
    submitted_ms: Whole
    label: Annotated[str, Field(max_length=MAX_LABEL_CHARS)]
    """Canonical, or the hash of a longer one in hexadecimal."""
    is_free: bool
    """Free text or spans: no two answers are expected to be the same."""
    is_late: bool
    is_revision: bool
    gold_correct: bool | None
    agrees: bool | None
    """Whether it is what was believed of the task before it came."""
    is_covered: bool | None
    """Whether the time is inside its 90 % forecast interval; None without one."""
    is_too_fast: bool | None
    is_too_slow: bool | None
    seconds: Finite | None
    """Handling time; None where it cannot be work."""
    forecast_seconds: Finite | None
    confidence: Share | None
    """That the consensus of its task is right, now that it is counted."""
    peers: Whole
    """Other labelers' answers to the task that it can be compared with."""
    peers_agreeing: Whole


class LateTruth(NamedTuple):
    """A truth that became known, or changed, after the answer had been measured."""

    sequence: Whole
    segment: Whole
    labeler_id: Id
    submitted_ms: Whole
    """Of the answer."""
    was_correct: bool | None
    is_correct: bool | None


class ReviewMeasured(NamedTuple):
    """A verdict on one labeler's answer."""

    sequence: Whole
    segment: Whole
    labeler_id: Id
    reviewed_ms: Whole
    is_rejected: bool


class Settled(NamedTuple):
    """A task whose truth became known, and how sure was what had been believed."""

    sequence: Whole
    segment: Whole
    settled_ms: Whole
    confidence: Share
    is_right: bool


class Refused(NamedTuple):
    """A message that became a dead letter."""

    sequence: Whole
    arrived_ms: Whole


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Segment = tuple[Id, Id, Id]
"""Project, task type, vendor."""


class Measurements(_Wire):
    """What one source partition had to say; empty ones are heartbeats. Items of each list are in order."""

    kind: Literal["measurements"] = "measurements"
    schema_version: Literal[1] = 1
    app_id: AppId
    source_partition: Count
    sent_ms: Whole
    """The sender's clock."""
    arrived_ms: Whole
    """When the latest message that is included had arrived at the broker; 0 if there is none."""
    is_at_end: bool
    """Nothing waits behind it."""
    is_idle: bool
    """Nothing has come for long: its watermark holds nobody back."""
    watermark_ms: Whole
    segments: tuple[Segment, ...] = ()
    answers: tuple[Answer, ...] = ()
    truths: tuple[LateTruth, ...] = ()
    reviews: tuple[ReviewMeasured, ...] = ()
    settled: tuple[Settled, ...] = ()
    refused: tuple[Refused, ...] = ()


class RulesChange(_Wire):
    """Rules that are to be in force from here on: the whole file of whoever saw it first."""

    kind: Literal["rules"] = "rules"
    schema_version: Literal[1] = 1
    app_id: AppId
    changed_at_ms: Whole
    """The file's modification time. The latest counts."""
    changed_by: Annotated[str, Field(max_length=200)]
    source: Annotated[str, Field(max_length=4_096)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    content: Annotated[str, Field(max_length=MAX_RULES_BYTES)]
    worker_id: Annotated[str, Field(max_length=300)]
    accepted_at_ms: Whole


class MeasurementMessage(RootModel[Annotated[Measurements | RulesChange, Field(discriminator="kind")]]):
    """A message of the topic ``measurements``."""
