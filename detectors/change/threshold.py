"""A fixed threshold on the mean of so many values: blocks that do not overlap, or a window with enough in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from detectors.change.finding import Direction, Finding, State, check_config, check_counts


@dataclass(frozen=True, slots=True)
class FixedThreshold:
    """Fires when a block of at least ``min_count`` values has a mean under ``limit`` (over it, where up is bad).

    A block begins with the first value after the last block. Windows that hold enough are blocks of their own; smaller
    ones are put together. `calibrate.fixed_threshold` finds the limit for an average run length.

    >>> detector = FixedThreshold(limit=0.8, min_count=5).build()
    >>> detector.update_counts(right=2, seen=4, at_ms=60_000)
    >>> detector.update_counts(right=3, seen=4, at_ms=120_000).level
    0.625
    """

    limit: float
    min_count: int = 1
    direction: Direction = "down"

    def __post_init__(self) -> None:
        check_config(math.isfinite(self.limit), f"limit must be a number, not {self.limit}")
        check_config(self.min_count > 0, f"min_count must be above 0, not {self.min_count}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    def build(self, state: State | None = None) -> FixedThresholdDetector:
        """A detector at its beginning, or at a dumped state."""
        return FixedThresholdDetector(self, state)


class FixedThresholdDetector:
    """The state of one stream: the block that is being filled."""

    __slots__ = ("_method", "_seen", "_since_ms", "_total")

    def __init__(self, method: FixedThreshold, state: State | None = None) -> None:
        self._method = method
        total, seen, since_ms = cast(list[float], state or [0.0, 0, 0])
        self._total, self._seen, self._since_ms = float(total), int(seen), int(since_ms)

    @property
    def statistic(self) -> float:
        """Mean of the block so far; the limit while it is empty."""
        return self._total / self._seen if self._seen else self._method.limit

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one number."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be a finite number, not {value}")
        return self._add(value, 1, at_ms)

    def update_counts(self, right: int, seen: int, at_ms: int) -> Finding | None:
        """Take counts of answers."""
        check_counts(right, seen)
        return self._add(float(right), seen, at_ms) if seen else None

    def dump(self) -> State:
        """As plain values."""
        return [self._total, self._seen, self._since_ms]

    def _add(self, total: float, seen: int, at_ms: int) -> Finding | None:
        if not self._seen:
            self._since_ms = at_ms
        self._total += total
        self._seen += seen
        method = self._method
        if self._seen < method.min_count:
            return None
        level, answers = self._total / self._seen, self._seen
        self._total, self._seen = 0.0, 0
        if not (level < method.limit if method.direction == "down" else level > method.limit):
            return None
        return Finding(at_ms, method.direction, level, method.limit, method.limit, level, self._since_ms, answers)
