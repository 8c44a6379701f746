"""Simple forecasts of handling times, to be measured beside: each says what it expects, and then learns."""

from __future__ import annotations

import math
from bisect import insort
from typing import Final, Protocol

from detectors.expected_time import Work
from detectors.handling_time import SMALLEST_SECONDS

#: What every baseline expects before it has seen anything (seconds).
FIRST_SECONDS: Final = 30.0
#: The shrunk log-EWMA: weight of the newest annotation, and annotations' worth of the population.
EWMA_SHARE: Final = 0.1
EWMA_ALIKE: Final = 3.0
#: A labeler's own quantiles are an interval once it has so many annotations.
ENOUGH: Final = 30


class Baseline(Protocol):
    """A way to forecast seconds."""

    def forecast(self, work: Work) -> float:
        """Seconds expected."""
        ...

    def learn(self, work: Work, seconds: float) -> None:
        """Take one observed time into account."""
        ...


class Ordered:
    """Values in order of size.

    >>> values = Ordered()
    >>> for value in (3.0, 1.0, 2.0, 10.0):
    ...     values.add(value)
    >>> values.quantile(0.5), values.quantile(1.0), len(values)
    (2.5, 10.0, 4)
    """

    def __init__(self) -> None:
        self._values: list[float] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """One value more."""
        insort(self._values, value)

    def quantile(self, share: float) -> float:
        """Quantile with linear interpolation, as numpy's default."""
        at = share * (len(self._values) - 1)
        low = int(at)
        high = min(low + 1, len(self._values) - 1)
        return self._values[low] + (self._values[high] - self._values[low]) * (at - low)


class GlobalMedian:
    """Median of all times so far."""

    def __init__(self) -> None:
        self._all = Ordered()

    def forecast(self, work: Work) -> float:
        return self._all.quantile(0.5) if len(self._all) else FIRST_SECONDS

    def learn(self, work: Work, seconds: float) -> None:
        self._all.add(seconds)


class OwnMean:
    """Mean of the labeler's times so far; of all times for a new labeler."""

    def __init__(self) -> None:
        self._sums: dict[str | None, tuple[int, float]] = {}

    def forecast(self, work: Work) -> float:
        count, total = self._sums.get(work.labeler_id) or self._sums.get(None, (1, FIRST_SECONDS))
        return total / count

    def learn(self, work: Work, seconds: float) -> None:
        for key in (work.labeler_id, None):
            count, total = self._sums.get(key, (0, 0.0))
            self._sums[key] = (count + 1, total + seconds)


class OwnMedian:
    """Median of the labeler's times so far; of all times for a new labeler."""

    def __init__(self) -> None:
        self._values: dict[str | None, Ordered] = {}

    def forecast(self, work: Work) -> float:
        values = self._values.get(work.labeler_id) or self._values.get(None)
        return FIRST_SECONDS if values is None else values.quantile(0.5)

    def learn(self, work: Work, seconds: float) -> None:
        for key in (work.labeler_id, None):
            self._values.setdefault(key, Ordered()).add(seconds)


class ShrunkLogEwma:
    """The labeler's exponentially weighted mean of log-seconds, shrunk to the mean of all.

    The newest annotation weighs `EWMA_SHARE`, or 1 / n while that is more; n annotations weigh n / (n + `EWMA_ALIKE`)
    against the running mean of everybody's log-seconds.
    """

    def __init__(self) -> None:
        self._all = (0, math.log(FIRST_SECONDS))
        self._own: dict[str, tuple[int, float]] = {}

    def forecast(self, work: Work) -> float:
        count, mean = self._own.get(work.labeler_id, (0, 0.0))
        share = count / (count + EWMA_ALIKE)
        return math.exp(share * mean + (1.0 - share) * self._all[1])

    def learn(self, work: Work, seconds: float) -> None:
        log_seconds = math.log(max(seconds, SMALLEST_SECONDS))
        count, mean = self._all
        self._all = (count + 1, mean + (log_seconds - mean) / (count + 1))
        count, mean = self._own.get(work.labeler_id, (0, 0.0))
        self._own[work.labeler_id] = (count + 1, mean + (log_seconds - mean) * max(EWMA_SHARE, 1.0 / (count + 1)))


class OwnQuantiles:
    """From the 5 % to the 95 % quantile of the labeler's own log-seconds: the interval that ours is held against."""

    def __init__(self) -> None:
        self._own: dict[str, Ordered] = {}

    def interval(self, work: Work) -> tuple[float, float] | None:
        """Ends in log-seconds; None for a labeler with fewer than `ENOUGH` annotations."""
        values = self._own.get(work.labeler_id)
        if values is None or len(values) < ENOUGH:
            return None
        return values.quantile(0.05), values.quantile(0.95)

    def learn(self, work: Work, seconds: float) -> None:
        """Take one observed time into account."""
        self._own.setdefault(work.labeler_id, Ordered()).add(math.log(max(seconds, SMALLEST_SECONDS)))


def new_baselines() -> dict[str, Baseline]:
    """All of them, by name, before anything was seen."""
    return {
        "global_median": GlobalMedian(),
        "own_mean": OwnMean(),
        "own_median": OwnMedian(),
        "shrunk_log_ewma": ShrunkLogEwma(),
    }
