"""What one answer says to each metric that looks at single answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.measurements import Answer
from schemas.thresholds import MetricName

#: Free answers of a labeler among which a repeated one is recognised.
REMEMBERED: Final = 64


class Habits:
    """What a labeler answered last, in one label space: whether answers repeat themselves.

    Answers of a class are compared in pairs that do not overlap: else one answer would count in two values, and these
    would say the same together. Free text is compared with all that is remembered.

    >>> habits = Habits()
    >>> [habits.see(label, is_free=False) for label in ("cat", "cat", "cat", "dog")]
    [None, True, None, False]
    >>> [habits.see(text, is_free=True) for text in ("a", "b", "a")]
    [False, False, True]
    """

    __slots__ = ("_last", "_texts")

    def __init__(self, state: list[Any] | None = None) -> None:
        last, texts = state or (None, ())
        self._last: str | None = last
        self._texts: deque[str] = deque(texts, REMEMBERED)

    def see(self, label: str, *, is_free: bool) -> bool | None:
        """Whether an answer repeats another one; None of the first of a pair."""
        if is_free:
            repeats = label in self._texts
            if not repeats:
                self._texts.append(label)
            return repeats
        if self._last is None:
            self._last = label
            return None
        last, self._last = self._last, None
        return last == label

    def dump(self) -> list[Any]:
        """As plain values."""
        return [self._last, list(self._texts)]


Value = Callable[[Answer], float | bool | None]

#: Metrics of which every answer is a value, as far as it says anything. Those of a labeler's habits are not here,
#: nor is agreement: what is expected of it is another thing for every answer (`crew`).
OF_ANSWER: Final[Mapping[MetricName, Value]] = {
    "gold_accuracy": lambda answer: answer.gold_correct,
    "interval_coverage_90": lambda answer: answer.is_covered,
    "too_fast_share": lambda answer: answer.is_too_fast,
    "too_slow_share": lambda answer: answer.is_too_slow,
    "late_share": lambda answer: answer.is_late,
    "mean_confidence": lambda answer: answer.confidence,
    "invalid_share": lambda answer: False,
}
HABITS: Final[Mapping[MetricName, bool]] = {"constant_answer_share": False, "repeated_answer_share": True}
"""Metrics of habits, and whether they are about free answers."""
