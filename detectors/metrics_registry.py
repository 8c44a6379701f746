"""Every metric that a rule can watch, declared once, as data.

``docs/quality-metrics.md`` is made from it: ``python -m detectors.metrics_registry > docs/quality-metrics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from detectors.watch.hours import LEAST, LEAST_COMPARED
from schemas.scope import KINDS, Kind
from schemas.thresholds import MethodName, MetricName

Law = Literal["answers", "scores", "numbers"]
"""``answers``: each value is 0 or 1, and counts of them are pooled. ``scores``: from 0 to 1. ``numbers``: any."""
Source = Literal["answers", "hours", "minutes"]
"""A value for each answer (review, message) as it comes; one an hour, when the watermark is past it; one a minute."""
Bad = Literal["down", "up", "both"]

METHODS: Final[dict[Law, tuple[MethodName, ...]]] = {
    "answers": ("e_sr", "e_sr_guaranteed", "e_cusum", "cusum", "fixed", "adwin", "page_hinkley"),
    "scores": ("e_sr_guaranteed", "seasonal", "fixed", "kswin"),
    "numbers": ("seasonal", "fixed", "kswin"),
}
_POOLED: Final[tuple[Kind, ...]] = ("vendor", "project", "segment", "task_type", "all")


@dataclass(frozen=True, slots=True)
class Metric:
    """What one metric is."""

    name: MetricName
    unit: str
    low: float
    high: float
    source: Source
    law: Law
    bad: Bad
    counted: str
    """What one value is, in the plural: what ``min_count`` and delays are counted in."""
    smallest_drop: float | None
    """In the metric's unit, where a rule does not say; None where the method looks at deviations or limits only."""
    level: float | None
    """Taken for the level where neither the rule nor any data say."""
    meaning: str
    scopes: tuple[Kind, ...] = KINDS
    methods: tuple[MethodName, ...] = ()
    """Where they are not those of the law."""
    columns: tuple[str, str] | None = None
    """Columns of the volumes (`Volumes`) that hold how many were counted, and how many of them are 1."""
    spread: float = 1.0
    """How many times as much as counts of independent answers those of a scope vary while all is well."""
    pooled_spread: float | None = None
    """The same of scopes of several labelers, where it is another: who is at work changes."""
    is_promised: bool = False
    """The level is what is promised, whatever was measured: nobody learns a better one and complains of its loss."""

    @property
    def suits(self) -> tuple[MethodName, ...]:
        """Methods that a rule may use, the best one first."""
        suits = self.methods or METHODS[self.law]
        is_of_many = "labeler" in self.scopes and len(self.scopes) > 1 and not self.is_promised
        return (*suits, "e_sparse") if self.law == "answers" and is_of_many else suits

    @property
    def is_ratio(self) -> bool:
        """Whether it counts or measures something from nothing up, so that half of it is half at any hour."""
        return self.low == 0.0 and math.isinf(self.high)

    def spread_of(self, scope: Kind) -> float:
        """The spread in scopes of a kind."""
        return self.spread if scope == "labeler" or self.pooled_spread is None else self.pooled_spread


def _answers(
    name: MetricName,
    bad: Bad,
    counted: str,
    level: float,
    smallest_drop: float,
    meaning: str,
    columns: tuple[str, str] | None = None,
    *,
    scopes: tuple[Kind, ...] = KINDS,
    spread: float = 1.0,
    pooled_spread: float | None = None,
    is_promised: bool = False,
) -> Metric:
    return Metric(
        name, "share", 0.0, 1.0, "answers", "answers", bad, counted, smallest_drop, level, meaning, scopes, (), columns,
        spread, pooled_spread, is_promised,
    )  # fmt: skip


_ALL: Final = (
    _answers(
        "gold_accuracy", "down", "golds", 0.92, 0.1,
        "Share of answers to gold tasks that are the known one.",
        ("golds", "golds_right"), pooled_spread=1.25,
    ),
    _answers(
        "consensus_agreement", "down", "answers", 0.85, 0.1,
        "Share of answers that are what was believed of the task before. E-processes allow for who is at work.",
        ("compared", "agreed"), spread=1.25,
    ),
    Metric(
        "krippendorff_alpha", "alpha", -1.0, 1.0, "hours", "numbers", "down", "hours", None, None,
        "Krippendorff's alpha of an hour's answers with earlier ones to their tasks: 1 full agreement, 0 chance.",
        scopes=_POOLED,
    ),
    Metric(
        "mean_confidence", "share", 0.0, 1.0, "answers", "scores", "down", "answers", 0.1, 0.9,
        "Mean calibrated probability that the consensus is right, of the task of each answer, now that it is counted.",
        scopes=_POOLED, methods=("e_sr_guaranteed", "fixed"),
    ),
    Metric(
        "calibration_error", "share", 0.0, 1.0, "hours", "scores", "up", "hours", 0.1, 0.05,
        "Gap between confidence and what came true (ECE, ten bins), of an hour's tasks whose truth became known.",
        scopes=("project", "task_type", "all"),
    ),
    _answers(
        "reviewer_reject_rate", "up", "reviews", 0.08, 0.1,
        "Share of reviews that reject the answer.",
        ("reviews", "rejected"), pooled_spread=1.25,
    ),
    Metric(
        "aht_seconds", "seconds", 0.0, math.inf, "hours", "numbers", "both", "hours", None, None,
        "Average handling time of an hour's answers, times that cannot be work left out.",
    ),
    Metric(
        "forecast_error", "seconds", 0.0, math.inf, "hours", "numbers", "up", "hours", None, None,
        "Mean absolute error of an hour's forecasts of handling time.",
        scopes=_POOLED,
    ),
    _answers(
        "interval_coverage_90", "down", "forecasts", 0.9, 0.1,
        "Share of handling times inside their 90 % forecast interval; less means that work changes.",
        ("forecasts", "covered_90"), scopes=_POOLED, spread=4.0, is_promised=True,
    ),
    _answers(
        "too_fast_share", "up", "answers", 0.025, 0.1,
        "Share of answers unusually fast for their labeler and work.",
        ("forecasts", "too_fast"), spread=3.0, is_promised=True,
    ),
    _answers(
        "too_slow_share", "up", "answers", 0.025, 0.1,
        "Share of answers unusually slow for their labeler and work.",
        ("forecasts", "too_slow"), spread=3.0, is_promised=True,
    ),
    Metric(
        "label_distance_own", "share", 0.0, 1.0, "hours", "scores", "up", "hours", 0.2, 0.1,
        "Distance (total variation) of an hour's distribution of labels from the scope's own history.",
    ),
    Metric(
        "label_distance_peers", "share", 0.0, 1.0, "hours", "scores", "up", "hours", 0.2, 0.1,
        "Distance (total variation) of an hour's distribution of labels from that of others on the same work.",
        scopes=("labeler", "vendor", "segment"),
    ),
    _answers(
        "repeated_answer_share", "up", "answers", 0.05, 0.1,
        "Share of answers that repeat, word for word, what the labeler said to another task (free text and spans).",
    ),
    _answers(
        "constant_answer_share", "up", "pairs", 0.4, 0.2,
        "Share of pairs of successive answers that are equal: near 1, the same is answered whatever is asked.",
        scopes=("labeler",),
    ),
    _answers(
        "invalid_share", "up", "messages", 0.002, 0.05,
        "Share of messages that were refused. Their segment is unknown, so that only all together can be watched.",
        ("messages", "refused"), scopes=("all",),
    ),
    _answers(
        "late_share", "up", "answers", 0.01, 0.1,
        "Share of answers that arrived after the watermark had passed their window.",
        ("answers", "late"), scopes=_POOLED,
    ),
    Metric(
        "volume", "answers an hour", 0.0, math.inf, "hours", "numbers", "both", "hours", None, None,
        "Answers in an hour: down is a drop, up a surge. Nothing at all is a stall, see stall_seconds.",
    ),
    Metric(
        "stall_seconds", "seconds", 0.0, math.inf, "minutes", "numbers", "up", "minutes", None, None,
        "Seconds since the scope's latest answer, by the clock of all answers; while there are none, by heartbeats.",
        scopes=_POOLED, methods=("fixed",),
    ),
    Metric(
        "lag_seconds", "seconds", 0.0, math.inf, "minutes", "numbers", "up", "minutes", None, None,
        "How long the latest scored message had waited, where more wait behind it; of the partition farthest behind.",
        scopes=("all",), methods=("fixed",),
    ),
)  # fmt: skip

#: Metric name to what it is.
METRICS: Final[Mapping[MetricName, Metric]] = {metric.name: metric for metric in _ALL}


def _range(metric: Metric) -> str:
    return f"{metric.low:g} and more" if math.isinf(metric.high) else f"{metric.low:g} to {metric.high:g}"


def _spreads() -> list[str]:
    named = ", ".join(f"`{metric.name}` {metric.spread:g}" for metric in METRICS.values() if metric.spread > 1.0)
    pooled = ", ".join(f"`{one.name}` {one.pooled_spread:g}" for one in METRICS.values() if one.pooled_spread)
    return [
        "- **Spread**: how many times as much as counts of independent answers those of an hour vary while all is",
        "  well, since crews, peers and tasks change and a page's answers have one pace:",
        f"  {named};",
        f"  of several labelers together, of whom now these and now those are at work, {pooled}; others 1.",
        "  E-processes ask for as many times the evidence.",
    ]


def to_markdown() -> str:
    """The text of ``docs/quality-metrics.md``."""
    lines = [
        "# Quality metrics",
        "",
        "What a rule in `thresholds.yaml` can watch ([how](thresholds.md)). Made from `detectors/metrics_registry.py`",
        "by `python -m detectors.metrics_registry > docs/quality-metrics.md`; a test keeps it current.",
        "",
        "| metric | what it is | unit, range | measured from | bad is | counted in | drop | scopes | methods |",
        "|---|---|---|---|---|---|---:|---|---|",
    ]
    for metric in METRICS.values():
        scopes = "all kinds" if metric.scopes == KINDS else ", ".join(metric.scopes)
        drop = f"{metric.smallest_drop:g}" if metric.smallest_drop is not None else "-"
        lines.append(
            f"| `{metric.name}` | {metric.meaning} | {metric.unit}, {_range(metric)} | {metric.source} | {metric.bad} "
            f"| {metric.counted} | {drop} | {scopes} | {', '.join(metric.suits)} |"
        )
    lines += [
        "",
        "- **Measured from**: *answers* are values one by one as they come (so are reviews and messages), whatever the",
        "  scope; *hours* have one value each, when the watermark has passed them, late answers left out;",
        "  *minutes* are those of the stream's own clock.",
        f"- **Hours with too little** say nothing, and are no silence: those with fewer than {LEAST} values of the",
        f"  mean, or {LEAST_COMPARED} answers that can be compared (alpha), tasks (calibration), or labels and as many",
        "  to hold them against (distances). Every hour has a volume.",
        "- **Bad is**: the `direction` of a rule that says none. Both: two detectors, which share the budget.",
        "- **Drop**: `smallest_drop` of a rule that says none. `seasonal` and `kswin` look at deviations instead.",
        *_spreads(),
        "- **Methods**: [detectors.md](detectors.md) says what each promises. The first one is the one to take.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(to_markdown(), end="")
