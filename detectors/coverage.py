"""Coverage of forecast intervals, watched: when handling times leave their 90 % intervals more often than one in ten.

Intervals adapt, so a break is news: times have changed faster than the model could follow, or in a way it cannot know.
"""

from __future__ import annotations

from typing import Any, Final

from detectors.change.e_process import EDetector, EProcess
from detectors.change.finding import Finding

#: The metric's name in findings.
INTERVAL_COVERAGE: Final = "interval_coverage_90"
#: On average no false finding in so many intervals of a task type, while nine in ten hold. A fall to .8 is found after
#: some 140 intervals.
METHOD: Final = EProcess(threshold=50_000, level=0.9, smallest_drop=0.05, min_count=50)
#: Task types that are watched, those seen first.
MAX_TASK_TYPES: Final = 100


class CoverageWatch:
    """One source partition's detectors, by task type.

    >>> watch = CoverageWatch()
    >>> found = [watch.see("caption", number % 10 != 0, at_ms=number) for number in range(5_000)]
    >>> any(found)
    False
    >>> found = [watch.see("caption", number % 5 != 0, at_ms=number) for number in range(5_000, 6_000)]
    >>> break_ = next(one for one in found if one)
    >>> break_.at_ms, break_.baseline, round(break_.level, 2)
    (5165, 0.9, 0.8)
    """

    def __init__(self) -> None:
        self._detectors: dict[str, EDetector] = {}

    def see(self, task_type: str, is_covered: bool, at_ms: int) -> Finding | None:
        """Take one time that was held against its interval; a finding if coverage broke."""
        detector = self._detectors.get(task_type)
        if detector is None:
            if len(self._detectors) == MAX_TASK_TYPES:
                return None
            detector = self._detectors[task_type] = METHOD.build()
        return detector.update(float(is_covered), at_ms)

    def dump(self) -> list[list[Any]]:
        """State as plain values."""
        return [[task_type, detector.dump()] for task_type, detector in self._detectors.items()]

    def load(self, state: list[list[Any]]) -> None:
        """Continue from dumped state."""
        self._detectors = {task_type: METHOD.build(one) for task_type, one in state}
