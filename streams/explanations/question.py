"""What is asked when an alert fires: which metric of which scope changed, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from detectors.change.finding import Direction
from detectors.metrics_registry import METRICS
from schemas.scope import Expression
from schemas.thresholds import MetricName

HOUR_MS: Final = 3_600_000
BEFORE_HOURS: Final = 168
"""A week, so that a Sunday night is not compared with Monday morning alone."""
AFTER_HOURS: Final = 168
"""An alert that lasts longer is explained by its latest week."""
BEFORE_ANSWERS: Final = 500_000
"""Answers before that are enough: fewer hours are taken where a week holds more."""
REVIEWED_WITHIN_MS: Final = 7 * 24 * HOUR_MS
"""How long before its review an answer may have been given."""

Judged = Literal["as asked", "by consensus"]
"""Whether answers count by the metric itself, or by whether they are what is now believed of their tasks."""

EXPLAINED: Final[tuple[MetricName, ...]] = (
    "gold_accuracy",
    "consensus_agreement",
    "reviewer_reject_rate",
    "too_fast_share",
    "too_slow_share",
    "interval_coverage_90",
    "late_share",
    "aht_seconds",
)
"""Metrics that single answers add up to. The others have no explanation yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Why did a metric of a scope change. What of the scope is empty, is not told apart.

    Raises:
        ValueError: times in the wrong order.
    """

    metric: MetricName
    project_id: str = ""
    task_type: str = ""
    vendor_id: str = ""
    labeler_id: str = ""
    where: Expression | None = None
    """Further condition on the segments, of a rule whose scope has one."""
    since_ms: int
    """When the change began (event time)."""
    at_ms: int
    """When it was found: answers until then, this moment included, are "after"."""
    baseline: float
    """The level before, as the rule had it."""
    direction: Direction

    def __post_init__(self) -> None:
        if not 0 <= self.since_ms <= self.at_ms:
            raise ValueError(f"{self.metric} since {self.since_ms} until {self.at_ms}: the times are not in order")

    @property
    def after(self) -> Period:
        """From when the change began until it was found; the latest week of that."""
        return Period(max(self.since_ms, self.at_ms - AFTER_HOURS * HOUR_MS), self.at_ms + 1)

    @property
    def before(self) -> Period:
        """The week before the change began. Answers of many are cut by `enough_before`."""
        return Period(max(self.since_ms - BEFORE_HOURS * HOUR_MS, 0), self.since_ms)

    def asks_for(self, segment: Mapping[str, str], labeler_id: str) -> bool:
        """Whether answers of a labeler in a segment belong to the scope."""
        wanted = ("project_id", self.project_id), ("task_type", self.task_type), ("vendor_id", self.vendor_id)
        return (
            all(value in ("", segment[name]) for name, value in wanted)
            and self.labeler_id in ("", labeler_id)
            and (self.where is None or self.where.matches(segment))
        )


class Period(NamedTuple):
    """Event times from ``from_ms``, until before ``to_ms``."""

    from_ms: int
    to_ms: int


def enough_before(since_ms: int, answers: Callable[[int], int], most: int = BEFORE_ANSWERS) -> Period:
    """The latest whole hours before a change that hold no more than ``most`` answers: a week at most, an hour at least.

    Whole days, if there is room for one: then every hour of the day is in it.

    Args:
        since_ms: when the change began.
        answers: how many there were in the n-th hour before it, from 0.

    >>> enough_before(10 * 86_400_000, lambda hour: 100, most=6_000).from_ms // 86_400_000
    8
    """
    hours = total = 0
    while hours < BEFORE_HOURS and (total := total + answers(hours)) <= most:
        hours += 1
    if hours >= 24:
        hours -= hours % 24
    return Period(max(since_ms - max(hours, 1) * HOUR_MS, 0), since_ms)


def can_explain(metric: MetricName) -> bool:
    """Whether single answers add up to the metric."""
    return metric in EXPLAINED


def is_mean(metric: MetricName) -> bool:
    """Whether values are numbers, not 0 or 1."""
    return METRICS[metric].law == "numbers"
