"""Intervals that keep what they promise: conformal prediction whose level adapts to what came of it.

Scores are normalised residuals. An interval spans two quantiles of the recent scores (V. Vovk, A. Gammerman and
G. Shafer, *Algorithmic Learning in a Random World*, 2005). The share of misses that it is built for moves with every
outcome (adaptive conformal inference: I. Gibbs and E. Candès, *Adaptive Conformal Inference Under Distribution Shift*,
NeurIPS 2021, equation 2), so that coverage holds whatever the order of the data. Its steps add up to the integral
control of A. Angelopoulos, E. Candès and R. Tibshirani, *Conformal PID Control for Time Series Prediction*, NeurIPS
2023, which is saturated here. How a level's misses are split between below and above is chosen to make the interval
short: handling times have a long upper tail even on the log scale.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from detectors.arithmetic import clipped, rounded

#: Scores remembered. Fewer follow changes faster, more make quantiles less noisy.
KEPT_SCORES: Final = 2_000
#: What is believed before there are scores: their quantiles for residuals in units of their typical size.
FIRST_SCORES: Final = (
    -3.0, -2.2, -1.7, -1.3, -1.0, -0.75, -0.5, -0.3, -0.1, 0.1, 0.3, 0.5, 0.75, 1.0, 1.3, 1.7, 2.2, 3.0, 4.0, 5.0,
)  # fmt: skip
#: By how much a miss (or its absence) moves the share of misses aimed at. Larger keeps coverage of each stretch of
#: events nearer to its promise, at the price of wider intervals.
STEP: Final = 0.007
#: The share aimed at stays within these multiples of the promised one, and what is beyond is not made up for later:
#: after a change, a stretch of far too wide intervals would be no better than one of far too narrow ones.
LEAST_SHARE: Final = 0.1
MOST_SHARE: Final = 2.5
#: The split between below and above is chosen again after so many scores.
SPLIT_EVERY: Final = 50
_SPLITS: Final = tuple(part / 20 for part in range(1, 20))
#: State is stored as JSON, in so many parts of one: digits cost.
_PARTS: Final = 1e4

Interval = tuple[float, float]
"""Its ends."""


class ScoreWindow:
    """The latest scores, in order of arrival and of size.

    >>> window = ScoreWindow(float(score) for score in range(1, 100))
    >>> round(window.quantile(0.05), 2), round(window.quantile(0.9), 2), round(window.rank(9.5), 2)
    (5.0, 90.0, 0.1)
    """

    __slots__ = ("_arrived", "_sorted")

    def __init__(self, scores: Iterable[float] = FIRST_SCORES) -> None:
        self._arrived = deque(scores, maxlen=KEPT_SCORES)
        self._sorted = sorted(self._arrived)

    def add(self, score: float) -> None:
        """Remember a score, and forget the oldest if there are too many."""
        score = rounded(score, _PARTS)
        if len(self._arrived) == KEPT_SCORES:
            del self._sorted[bisect_left(self._sorted, self._arrived[0])]
        self._arrived.append(score)
        insort(self._sorted, score)

    def quantile(self, share: float) -> float:
        """Score below which the next one lies with this probability, as far as the window reaches."""
        scores = self._sorted
        last = len(scores) - 1
        at = share * (last + 2) - 1.0
        if at <= 0.0:
            return scores[0]
        if at >= last:
            return scores[last]
        below = int(at)
        low = scores[below]
        return low + (scores[below + 1] - low) * (at - below)

    def rank(self, score: float) -> float:
        """Conformal p-value of a score: the share of scores below it, with itself and ties counted half."""
        middle = (bisect_left(self._sorted, score) + bisect_right(self._sorted, score)) / 2
        return (middle + 0.5) / (len(self._sorted) + 1)

    def dump(self) -> list[float]:
        """The scores in order of arrival."""
        return list(self._arrived)


class AdaptiveLevel:
    """One promised share of misses, and the one aimed at so that the promise holds.

    Args:
        misses: the promised share.

    >>> level, window = AdaptiveLevel(0.1), ScoreWindow()
    >>> low, high = level.ends(window)
    >>> for _ in range(8):
    ...     level.happened(is_miss=True)
    >>> level.ends(window)[1] > high
    True
    """

    __slots__ = ("_below", "_excess", "_least", "_misses", "_most")

    def __init__(self, misses: float, excess: float = 0.0, below: float = 0.5) -> None:
        self._misses = misses
        self._least = misses * (1.0 - MOST_SHARE) / STEP
        self._most = misses * (1.0 - LEAST_SHARE) / STEP
        self._excess = excess
        self._below = below

    def ends(self, window: ScoreWindow) -> Interval:
        """Scores between which the next one should lie."""
        aim = self._misses - STEP * self._excess
        if aim > 1.0:
            aim = 1.0
        return window.quantile(aim * self._below), window.quantile(1.0 - aim * (1.0 - self._below))

    def happened(self, *, is_miss: bool) -> None:
        """See whether an interval was missed."""
        excess = self._excess + (1.0 if is_miss else 0.0) - self._misses
        self._excess = clipped(excess, self._least, self._most)

    def split(self, window: ScoreWindow) -> None:
        """Choose how many of the misses are below, so that the interval is shortest."""
        misses, quantile = self._misses, window.quantile
        widths = [quantile(1.0 - misses * (1.0 - part)) - quantile(misses * part) for part in _SPLITS]
        self._below = _SPLITS[min(range(len(widths)), key=widths.__getitem__)]

    def dump(self) -> list[float]:
        """As plain values, in the order of the constructor's last arguments."""
        return [self._excess, self._below]


class Conformal:
    """Recent scores, and the levels of the intervals made of them: misses of 50 % and of 10 %.

    >>> calibration = Conformal()
    >>> for score in range(-200, 300):
    ...     calibration.add(score / 100, misses=(abs(score) > 50, abs(score) > 180))
    >>> half, most = calibration.intervals()
    >>> most[0] < half[0] < half[1] < most[1], round(calibration.rank(2.5), 2)
    (True, 0.9)
    """

    __slots__ = ("_intervals", "_levels", "_window", "seen")

    def __init__(self) -> None:
        self._window = ScoreWindow()
        self._levels = (AdaptiveLevel(0.5), AdaptiveLevel(0.1))
        self._intervals: tuple[Interval, Interval] | None = None
        """What they are until something is learned."""
        self.seen = 0

    def intervals(self) -> tuple[Interval, Interval]:
        """Ends, as scores, of the 50 % and of the 90 % interval: the first within the second, the forecast in both."""
        if self._intervals is None:
            self._intervals = self._chosen()
        return self._intervals

    def _chosen(self) -> tuple[Interval, Interval]:
        half, most = self._levels
        low, high = most.ends(self._window)
        low, high = (low if low < 0.0 else 0.0), (high if high > 0.0 else 0.0)
        inner_low, inner_high = half.ends(self._window)
        return (clipped(inner_low, low, 0.0), clipped(inner_high, 0.0, high)), (low, high)

    def rank(self, score: float) -> float:
        """Where a score stands among the recent ones, from 0 (fastest) to 1 (slowest)."""
        return self._window.rank(score)

    def add(self, score: float, misses: tuple[bool, bool]) -> None:
        """Learn a score, and whether it was missed by the intervals given before it was seen."""
        self._window.add(score)
        self._intervals = None
        half, most = self._levels
        half.happened(is_miss=misses[0])
        most.happened(is_miss=misses[1])
        self.seen += 1
        if self.seen % SPLIT_EVERY == 0:
            for level in self._levels:
                level.split(self._window)

    def dump(self) -> list[Any]:
        """As plain values."""
        return [self.seen, [level.dump() for level in self._levels], self._window.dump()]

    @classmethod
    def load(cls, state: list[Any]) -> Conformal:
        """The inverse of `dump`."""
        seen, (half, most), scores = state
        loaded = cls()
        loaded.seen = int(seen)
        loaded._levels = (AdaptiveLevel(0.5, *half), AdaptiveLevel(0.1, *most))
        loaded._window = ScoreWindow(scores)
        return loaded
