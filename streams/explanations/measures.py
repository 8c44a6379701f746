"""What single answers contribute to each metric: its value, the true class and the answer, in Python and in SQL.

The two say the same, side by side; a contract test holds them together. Classes are those that do not depend on
whether the answer is right: the known answer, or what is now believed of the task. Sets of classes are not told apart:
there are too many for a labeler to meet any of them twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.rows import AnnotationScoreRow, TaskConfidenceRow
from schemas.thresholds import MetricName
from streams.explanations.question import Judged


class Seen(NamedTuple):
    """One value of a metric."""

    value: float
    true_class: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """What answers are to one metric. In SQL ``a`` is the answer, ``t`` what is believed of its task."""

    of: Callable[[AnnotationScoreRow, TaskConfidenceRow | None], Seen | None]
    """None: the answer does not count."""
    counts: str
    value: str
    true_class: str = "''"
    needs_task: bool = False
    """Whether ``t`` is looked at: a join that others do without."""


CLOSED_KINDS: Final = ("class", "multiclass", "rating")
MIN_LABELS: Final = 2
"""Answers that a consensus must rest on: one answer always agrees with itself."""


def believed(task: TaskConfidenceRow | None) -> str:
    """The task's answer as far as it is known or others agree on it; empty if not."""
    if task is None or task.is_subjective:
        return ""
    return task.truth or (task.consensus_label if task.labels >= MIN_LABELS else "")


_BELIEVED: Final = f"if(t.is_subjective, '', ifNull(t.truth, if(t.labels >= {MIN_LABELS}, t.consensus_label, '')))"
_IS_CLASS: Final = "a.label_kind IN ('class', 'rating')"


def _classes(score: AnnotationScoreRow, true: str) -> tuple[str, str]:
    return (true, score.label if true else "") if score.label_kind in ("class", "rating") else ("", "")


def _gold(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
    if score.gold_correct is None:
        return None
    return Seen(float(score.gold_correct), *_classes(score, score.gold_label or ""))


def _agreement(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
    if score.agrees_with_consensus is None:
        return None
    return Seen(float(score.agrees_with_consensus), *_classes(score, believed(task)))


def _judged(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
    true = believed(task)
    if not true or score.label_kind not in CLOSED_KINDS:
        return None
    return Seen(float(score.label == true), *_classes(score, true))


def _flag(name: str) -> Callable[[AnnotationScoreRow, TaskConfidenceRow | None], Seen | None]:
    def of(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
        value = getattr(score, name)
        return None if value is None else Seen(float(value))

    return of


def _covered(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
    low, high = score.handling_low_90, score.handling_high_90
    if low is None or high is None or score.time_flag == "impossible":
        return None
    return Seen(float(low <= score.handling_seconds <= high))


def _seconds(score: AnnotationScoreRow, task: TaskConfidenceRow | None) -> Seen | None:
    return Seen(score.handling_seconds) if score.time_flag == "" else None


def _sql_class(true: str) -> str:
    return f"if({_IS_CLASS}, {true}, '')"


MEASURES: Final[dict[MetricName, Measure]] = {
    "gold_accuracy": Measure(
        _gold, "isNotNull(a.gold_correct)", "assumeNotNull(a.gold_correct)", _sql_class("ifNull(a.gold_label, '')")
    ),
    "consensus_agreement": Measure(
        _agreement,
        "isNotNull(a.agrees_with_consensus)",
        "assumeNotNull(a.agrees_with_consensus)",
        _sql_class(_BELIEVED),
        needs_task=True,
    ),
    "too_fast_share": Measure(_flag("is_too_fast"), "isNotNull(a.is_too_fast)", "assumeNotNull(a.is_too_fast)"),
    "too_slow_share": Measure(_flag("is_too_slow"), "isNotNull(a.is_too_slow)", "assumeNotNull(a.is_too_slow)"),
    "interval_coverage_90": Measure(
        _covered,
        "isNotNull(a.handling_low_90) AND isNotNull(a.handling_high_90) AND a.time_flag != 'impossible'",
        "a.handling_seconds BETWEEN assumeNotNull(a.handling_low_90) AND assumeNotNull(a.handling_high_90)",
    ),
    "late_share": Measure(_flag("is_late"), "1", "a.is_late"),
    "aht_seconds": Measure(_seconds, "a.time_flag = ''", "a.handling_seconds"),
}
#: Whether answers are what is now believed of their tasks.
BY_CONSENSUS: Final = Measure(
    _judged,
    f"a.label_kind IN {CLOSED_KINDS} AND {_BELIEVED} != ''",
    f"a.label = {_BELIEVED}",
    _sql_class(_BELIEVED),
    needs_task=True,
)


def measure_of(metric: MetricName, judged: Judged) -> Measure:
    """What answers are to a metric; reviews are not answers, see `reviewer_reject_rate` in the stores.

    Raises:
        KeyError: the metric is not made of answers.
    """
    return BY_CONSENSUS if judged == "by consensus" else MEASURES[metric]
