"""Simple rules that people use, to be measured beside: the last few answers, and no rule at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from detectors.change.finding import Finding, State, check_config, check_share


@dataclass(frozen=True, slots=True)
class LastUnder:
    """Fires when the mean of the last ``count`` values is under ``limit``; begins anew after that.

    >>> detector = LastUnder(count=4, limit=0.7).build()
    >>> [detector.update(right, number) is not None for number, right in enumerate([1, 1, 0, 1, 0])]
    [False, False, False, False, True]
    """

    count: int = 10
    limit: float = 0.7

    def __post_init__(self) -> None:
        check_config(self.count > 0, f"count must be above 0, not {self.count}")

    @property
    def min_count(self) -> int:
        """As many as are looked at."""
        return self.count

    def build(self, state: State | None = None) -> LastUnderDetector:
        """A detector at its beginning, or at a dumped state."""
        return LastUnderDetector(self, state)


class LastUnderDetector:
    """The state of one stream: the last values, with their times."""

    __slots__ = ("_last", "_method")

    def __init__(self, method: LastUnder, state: State | None = None) -> None:
        self._method = method
        pairs = cast(list[tuple[float, int]], state or [])
        self._last = [(float(value), int(at_ms)) for value, at_ms in pairs]

    @property
    def statistic(self) -> float:
        """Mean of the last values; 1 before there is any."""
        return sum(value for value, _ in self._last) / len(self._last) if self._last else 1.0

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one value from 0 to 1."""
        self._last.append((check_share(value), at_ms))
        method = self._method
        if len(self._last) > method.count:
            del self._last[0]
        level = self.statistic
        if len(self._last) < method.count or level >= method.limit:
            return None
        since_ms = self._last[0][1]
        self._last = []
        return Finding(at_ms, "down", level, method.limit, method.limit, level, since_ms, method.count)

    def dump(self) -> State:
        """As plain values."""
        return [list(pair) for pair in self._last]


@dataclass(frozen=True, slots=True)
class Always:
    """Fires after every ``every`` values, whatever they are: what any rule must be better than.

    >>> detector = Always(every=3).build()
    >>> [detector.update(1, number) is not None for number in range(6)]
    [False, False, True, False, False, True]
    """

    every: int

    def __post_init__(self) -> None:
        check_config(self.every > 0, f"every must be above 0, not {self.every}")

    @property
    def min_count(self) -> int:
        """As many as pass between two findings."""
        return self.every

    def build(self, state: State | None = None) -> AlwaysDetector:
        """A detector at its beginning, or at a dumped state."""
        return AlwaysDetector(self, state)


class AlwaysDetector:
    """The state of one stream: how many values there were, and their sum."""

    __slots__ = ("_method", "_seen", "_since_ms", "_total")

    def __init__(self, method: Always, state: State | None = None) -> None:
        self._method = method
        seen, total, since_ms = cast(list[float], state or [0, 0.0, 0])
        self._seen, self._total, self._since_ms = int(seen), float(total), int(since_ms)

    @property
    def statistic(self) -> float:
        """How many values there were since the last finding."""
        return float(self._seen)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one value from 0 to 1."""
        self._total += check_share(value)
        if not self._seen:
            self._since_ms = at_ms
        self._seen += 1
        every = self._method.every
        if self._seen < every:
            return None
        level = self._total / every
        self._seen, self._total = 0, 0.0
        return Finding(at_ms, "down", float(every), float(every), level, level, self._since_ms, every)

    def dump(self) -> State:
        """As plain values."""
        return [self._seen, self._total, self._since_ms]
