"""CUSUM charts for levels that are known: answers (Bernoulli) and standardised numbers (Gaussian).

E. S. Page, *Continuous inspection schemes*, Biometrika 41, 1954. Tuned to the drop that comes, nothing finds it sooner
(G. Moustakides, *Optimal stopping times for detecting changes in distributions*, Annals of Statistics 14, 1986); a
larger one it finds later than a mixture does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from detectors.change.finding import Direction, Finding, State, check_config, check_counts


def bernoulli_penalty(level: float, level_after: float) -> int:
    """How many right answers make up for a wrong one: the ratio of their log-likelihood ratios, made whole.

    M. R. Reynolds and Z. G. Stoumbos, *A CUSUM chart for monitoring a proportion when inspecting continuously*, Journal
    of Quality Technology 31, 1999.

    >>> bernoulli_penalty(0.92, 0.80)
    7
    """
    check_config(0.0 < level_after < level < 1.0, f"0 < level_after < level < 1 must hold, not {level_after}, {level}")
    return max(round(math.log((1.0 - level_after) / (1.0 - level)) / math.log(level / level_after)), 1)


@dataclass(frozen=True, slots=True)
class BernoulliCusum:
    """Adds ``penalty`` for a wrong answer, takes 1 for a right one, never below 0; fires at ``threshold``.

    `calibrate.bernoulli_cusum` makes one for an average run length, which is exact.

    >>> detector = BernoulliCusum(threshold=14, penalty=7, level=0.92).build()
    >>> [detector.update(right, number) is not None for number, right in enumerate([1, 0, 1, 0, 1, 0])]
    [False, False, False, False, False, True]
    """

    threshold: int
    penalty: int
    level: float
    direction: Direction = "down"
    min_count: int = 0

    def __post_init__(self) -> None:
        check_config(self.threshold > 0, f"threshold must be above 0, not {self.threshold}")
        check_config(self.penalty > 0, f"penalty must be above 0, not {self.penalty}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    def build(self, state: State | None = None) -> BernoulliCusumDetector:
        """A detector at its beginning, or at a dumped state."""
        return BernoulliCusumDetector(self, state)


class BernoulliCusumDetector:
    """The state of one stream."""

    __slots__ = ("_answers", "_method", "_right", "_seen", "_since_ms", "_sum")

    def __init__(self, method: BernoulliCusum, state: State | None = None) -> None:
        self._method = method
        self._sum, self._seen, self._answers, self._right, self._since_ms = map(int, cast(list[int], state or [0] * 5))

    @property
    def statistic(self) -> float:
        """The sum."""
        return float(self._sum)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one answer, 0 or 1."""
        if value not in (0.0, 1.0):
            raise ValueError(f"an answer must be 0 or 1, not {value}")
        return self.update_counts(int(value), 1, at_ms)

    def update_counts(self, right: int, seen: int, at_ms: int) -> Finding | None:
        """Take counts of answers, as if they alternated evenly."""
        check_counts(right, seen)
        if not seen:
            return None
        method = self._method
        good = right if method.direction == "down" else seen - right
        if not self._sum:
            self._answers, self._right, self._since_ms = 0, 0, at_ms
        self._sum = max(self._sum + method.penalty * (seen - good) - good, 0)
        self._seen += seen
        self._answers += seen
        self._right += right
        if self._sum < method.threshold or self._seen < method.min_count:
            return None
        finding = Finding(
            at_ms=at_ms,
            direction=method.direction,
            statistic=float(self._sum),
            threshold=float(method.threshold),
            baseline=method.level,
            level=self._right / self._answers,
            since_ms=self._since_ms,
            answers=self._answers,
        )
        self._sum = self._seen = 0
        return finding

    def dump(self) -> State:
        """As plain values."""
        return [self._sum, self._seen, self._answers, self._right, self._since_ms]


@dataclass(frozen=True, slots=True)
class GaussianCusum:
    """For numbers around a known mean, such as a window's forecast error; the shift is in standard deviations.

    `calibrate.gaussian_cusum` makes one for an average run length. A value further out than ``clip`` deviations counts
    as one there, so that one wild value alone does not decide; None lets it.

    >>> detector = GaussianCusum(threshold=4.0, mean=10.0, deviation=2.0, shift=1.0).build()
    >>> found = [detector.update(value, number) for number, value in enumerate([10, 11, 9, 6, 6, 6])]
    >>> found[-1].level, found[-1].answers, found[-1].statistic
    (6.0, 3, 4.5)
    """

    threshold: float
    mean: float
    deviation: float
    shift: float = 1.0
    direction: Direction = "down"
    min_count: int = 0
    clip: float | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "deviation", "shift"):
            check_config(getattr(self, name) > 0, f"{name} must be above 0, not {getattr(self, name)}")
        check_config(math.isfinite(self.mean), f"mean must be a number, not {self.mean}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    def build(self, state: State | None = None) -> GaussianCusumDetector:
        """A detector at its beginning, or at a dumped state."""
        return GaussianCusumDetector(self, state)


class GaussianCusumDetector:
    """The state of one stream."""

    __slots__ = ("_method", "_seen", "_since_ms", "_sum", "_total", "_values")

    def __init__(self, method: GaussianCusum, state: State | None = None) -> None:
        self._method = method
        stored = cast(list[float], state or [0.0, 0.0, 0, 0, 0])
        self._sum, self._total = map(float, stored[:2])
        self._seen, self._values, self._since_ms = map(int, stored[2:])

    @property
    def statistic(self) -> float:
        """The sum, in deviations."""
        return self._sum

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one number."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be a finite number, not {value}")
        method = self._method
        bad = (method.mean - value) / method.deviation
        if method.direction == "up":
            bad = -bad
        if method.clip is not None:
            bad = min(max(bad, -method.clip), method.clip)
        if self._sum == 0.0:
            self._values, self._total, self._since_ms = 0, 0.0, at_ms
        self._sum = max(self._sum + bad - method.shift / 2.0, 0.0)
        self._seen += 1
        self._values += 1
        self._total += value
        if self._sum < method.threshold or self._seen < method.min_count:
            return None
        finding = Finding(
            at_ms=at_ms,
            direction=method.direction,
            statistic=self._sum,
            threshold=method.threshold,
            baseline=method.mean,
            level=self._total / self._values,
            since_ms=self._since_ms,
            answers=self._values,
        )
        self._sum, self._seen = 0.0, 0
        return finding

    def dump(self) -> State:
        """As plain values."""
        return [self._sum, self._total, self._seen, self._values, self._since_ms]
