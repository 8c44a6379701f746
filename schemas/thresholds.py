"""Rules as configuration: what ``thresholds.yaml`` says, version 1.

Shapes only: what suits which metric is known to `detectors.rule_check`, and files are read by `streams.thresholds`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from schemas.duration import Duration
from schemas.schedule import Schedule
from schemas.scope import ScopeText, parse_scope

#: What can be watched; `detectors.metrics_registry` says what each is, and a test holds the two together.
MetricName = Literal[
    "gold_accuracy",
    "consensus_agreement",
    "krippendorff_alpha",
    "mean_confidence",
    "calibration_error",
    "reviewer_reject_rate",
    "aht_seconds",
    "forecast_error",
    "interval_coverage_90",
    "too_fast_share",
    "too_slow_share",
    "label_distance_own",
    "label_distance_peers",
    "repeated_answer_share",
    "constant_answer_share",
    "invalid_share",
    "late_share",
    "volume",
    "stall_seconds",
    "lag_seconds",
]
MethodName = Literal[
    "e_sr", "e_sr_guaranteed", "e_cusum", "e_sparse", "cusum", "seasonal", "fixed", "adwin", "page_hinkley", "kswin"
]
Severity = Literal["info", "warning", "critical"]
#: Set by labelwatch on every alert.
RESERVED_LABELS = frozenset(
    {
        "about",
        "alertname",
        "family",
        "few",
        "labeler_id",
        "metric",
        "project_id",
        "rule",
        "scope",
        "selection",
        "severity",
        "task_type",
        "vendor_id",
    }
)
MAX_RULES = 500


def _not_reserved(name: str) -> str:
    if name in RESERVED_LABELS:
        raise ValueError(f"{name} is set by labelwatch itself; call the label otherwise")
    return name


def _no_boolean(version: object) -> object:
    if isinstance(version, bool):  # which Python takes for 1
        raise ValueError("must be 1")
    return version


LabelName = Annotated[
    str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=64), AfterValidator(_not_reserved)
]
LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=500)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class RuleSettings(BaseModel):
    """What a rule may say, and what ``defaults`` may say for all of them. Shares are from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    scope: ScopeText = parse_scope("segment")
    method: MethodName = "e_sr"
    """How a change is found; see docs/detectors.md. e_sr suits every share of answers; e_sparse looks for a few of a
    scope's labelers."""
    smallest_drop: Annotated[_Number, Field(gt=0)] | None = None
    """Smallest change for the worse that must be found, in the metric's unit (0.1 is ten points); where rising is bad,
    the smallest rise. Left out: the metric's own (docs/quality-metrics.md)."""
    false_alarms_per_week: Annotated[_Number, Field(gt=0, le=1_000)] = 1.0
    """How often the rule may be wrong, over all of its scopes together."""
    level: _Number | None = None
    """The metric's level while all is well, where it is known (from a contract). Left out: learned."""
    limit: _Number | None = None
    """Method fixed only: fires below it (above it, where rising is bad). Left out: as tight as the budget allows."""
    direction: Literal["down", "up", "both"] | None = None
    """Which way is bad. Left out: as the metric has it."""
    min_count: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Values of a scope that must have been seen before it can fire; method fixed: how many it takes the mean of."""
    for_seconds: Annotated[Duration, Field(alias="for")] = 0
    """How long a finding must last before anybody is told."""
    resolve_after_seconds: Annotated[Duration, Field(alias="resolve_after")] = 1_800
    """How long all must be well before an alert is over."""
    severity: Severity = "warning"
    labels: Annotated[dict[LabelName, LabelValue], Field(max_length=20)] = {}
    """Put on every alert, for routing. Those of ``defaults`` are added."""
    runbook: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=500)] | None = None
    """Link to what to do."""
    no_data: Literal["ok", "keep", "alert"] = "keep"
    """What silence means for an alert: it is over, it stays as it is, or it is one itself."""
    schedule: Schedule = Schedule()


class Rule(RuleSettings):
    """One rule as it is written, or (`Thresholds.rules`) with the file's defaults filled in."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=64)]
    """Small letters, digits, - and _. It tells the rule's alerts from others', so a new name starts anew."""
    metric: MetricName
    """What is watched; see docs/quality-metrics.md."""


class Thresholds(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    version: Annotated[Literal[1], BeforeValidator(_no_boolean)]
    changed_by: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Who made the latest change, for the record. Left out: the owner of the file."""
    defaults: RuleSettings = RuleSettings()
    """What holds for rules that do not say otherwise."""
    written: Annotated[tuple[Rule, ...], Field(alias="rules", strict=False, min_length=1, max_length=MAX_RULES)]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule with the defaults filled in, in the file's order.

        >>> rule = {"name": "gold", "metric": "gold_accuracy", "for": "5m", "labels": {"team": "a"}}
        >>> defaults = {"for": "1m", "min_count": 20, "labels": {"site": "b"}}
        >>> one, = Thresholds.model_validate({"version": 1, "defaults": defaults, "rules": [rule]}).rules
        >>> one.for_seconds, one.min_count, one.labels
        (300, 20, {'site': 'b', 'team': 'a'})
        """
        given = {name: getattr(self.defaults, name) for name in self.defaults.model_fields_set}
        return tuple(_filled(rule, given) for rule in self.written)


def _filled(rule: Rule, given: dict[str, object]) -> Rule:
    missing = {name: value for name, value in given.items() if name not in rule.model_fields_set}
    both = given.get("labels")
    if isinstance(both, dict):
        missing["labels"] = {**both, **rule.labels}
    return rule.model_copy(update=missing)
