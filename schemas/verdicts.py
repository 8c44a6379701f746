"""What WATCH says of a rule's scopes, version 1: breaches, and when all is well again. NOTIFY makes alerts of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import MAX_ID_CHARS
from schemas.evidence import AppId, Count
from schemas.scope import Kind
from schemas.thresholds import Rule

VerdictKind = Literal["breach", "recovered", "withdrawn", "silent", "speaking", "new_level", "dropped"]
"""breach: a change was found; of a scope in breach, that it lasts: once an hour at most, and when its rule is told
otherwise, with all values since the change. recovered: the metric is back. withdrawn: late data say that there was no
change.
silent, speaking: no values come any more, or again. new_level: breached for so long that it is the level now.
dropped: the rule looks for something else now, or was removed."""

Whole = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
MaybeId = Annotated[str, Field(max_length=MAX_ID_CHARS)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VerdictScope(_Wire):
    """What a verdict is on. What is empty is not told apart; of a labeler, the vendor is that of the latest answer."""

    kind: Kind
    text: Annotated[str, Field(max_length=2_000)]
    """The scope as the rule has it."""
    project_id: MaybeId = ""
    task_type: MaybeId = ""
    vendor_id: MaybeId = ""
    labeler_id: MaybeId = ""


class Figures(_Wire):
    """What a breach rests on, in the metric's unit (`detectors.change.finding.Finding`)."""

    direction: Literal["down", "up"]
    baseline: Finite
    level: Finite
    since_ms: Whole
    answers: Whole
    """Values since then."""
    statistic: Finite
    threshold: Finite
    unit: str
    counted: str
    """What one value is, in the plural."""
    smallest_drop: Finite | None = None
    labelers: Whole | None = None
    """How many of the scope's labelers level and answers are about; None for all of them."""
    seen_since_ms: Whole | None = None
    """Of a breach that lasts: since when the values came that say so. None of one that is new."""


class Verdict(_Wire):
    """One thing said of one scope of one rule."""

    number: Count
    """Of all verdicts of the application, from 1, without gaps."""
    kind: VerdictKind
    at_ms: Whole
    """Event time."""
    rule: Rule
    scope: VerdictScope
    figures: Figures | None
    """Of a breach, and of what ends one; None for silence."""


class Verdicts(_Wire):
    """A message of the topic ``alerts``."""

    schema_version: Literal[1] = 1
    app_id: AppId
    clock_ms: Whole
    """Everything before was judged: waiting times may run on."""
    verdicts: tuple[Verdict, ...] = ()
