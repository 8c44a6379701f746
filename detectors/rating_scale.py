"""The scale of a space of ratings, as far as it was seen.

Nobody declares a scale, so it is learned: the first distinct ratings, `MAX_VALUES` at most, tell its step, its spread,
and beyond which bounds a rating is a slip of the hand. Up to so many ratings the scale is taken as ordinal, and the
truth is one of them; beyond, it is continuous.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from statistics import median_low
from typing import Any, Final

#: Distinct ratings that are remembered.
MAX_VALUES: Final = 100
#: Distinct ratings before bounds are drawn: of two nobody can tell which one is odd.
ENOUGH_VALUES: Final = 3
#: Steps to the spread of a continuous scale: ratings from 0 to 100 have steps of 10, like those from 1 to 10.
STEPS: Final = 5.0
#: Spreads beyond the quartiles at which ratings are cut: J. W. Tukey's "far out" (*Exploratory Data
#: Analysis*, 1977). One rating of 1e9 on a scale to 5 would else ruin everybody who rated the same task.
FENCE: Final = 3.0
#: Standard deviation of errors before there is data, in spreads. Too large a guess is unlearned slowly: where the truth
#: is vague, EM takes large errors for possible. From too small a one it recovers within a hundred tasks.
FIRST_DEVIATION: Final = 1.0 / 3.0
#: Beyond any rating, and yet a number that every format of state can hold.
UNBOUNDED: Final = 1e300

_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?")


@lru_cache(maxsize=4_096)
def number(label: str | None) -> float | None:
    """The rating that a canonical label stands for; None if it is another kind of label.

    >>> number("4"), number("-2.5e-07"), number("nan"), number("cat"), number("1e+999")
    (4.0, -2.5e-07, None, None, None)
    """
    if label is None or _NUMBER.fullmatch(label) is None:
        return None
    value = float(label)
    return value if math.isfinite(value) else None


class Scale:
    """Ratings seen in one space.

    >>> scale = Scale()
    >>> for label in ("3", "5", "4", "4", "1", "2"):
    ...     scale.add(float(label), label)
    >>> scale.step, scale.bounds
    (1.0, (-4.0, 10.0))
    >>> {label: round(chance, 2) for label, chance in scale.chances(3.8, 0.25, {}).items()}
    {'1': 0.0, '2': 0.0, '3': 0.22, '4': 0.73, '5': 0.04}
    """

    __slots__ = ("_count", "_is_open", "_labels", "_origin", "_squares", "_sum", "_values", "bounds", "gap", "spread")

    def __init__(self) -> None:
        self._values: list[float] = []
        """Distinct ratings, ascending."""
        self._labels: dict[float, str] = {}
        self._is_open = False
        """Whether there were more than are remembered."""
        self._count = 0
        """Standing ratings; then their sums, less the first rating."""
        self._origin = self._sum = self._squares = 0.0
        self.gap = 1.0
        """Median distance of neighbours: one stray half does not halve a scale of whole numbers."""
        self.spread = 1.0
        """Interquartile range of the distinct ratings, without a part of the outer ones; no less than the gap."""
        self.bounds = (-UNBOUNDED, UNBOUNDED)
        """To which ratings are cut."""

    @property
    def step(self) -> float:
        """Ratings less than half of it apart are as good as equal."""
        return self.spread / STEPS if self._is_open else self.gap

    @property
    def first_variance(self) -> float:
        """Of a labeler's errors, before there is data to tell it from."""
        return (self.spread * FIRST_DEVIATION) ** 2

    @property
    def prior(self) -> tuple[float, float]:
        """Mean and variance of a true value that nobody rated yet: those of the ratings, so broader than the truth."""
        if not self._count:
            return self._origin, self.spread**2
        mean = self._sum / self._count
        return self._origin + mean, max(self._squares / self._count - mean * mean, self.spread**2)

    def add(self, value: float, label: str) -> None:
        """See a rating."""
        if not self._labels:
            self._origin = value
        self.know(value, label)
        self._count += 1
        self._sum += value - self._origin
        self._squares += (value - self._origin) ** 2

    def remove(self, value: float) -> None:
        """See that a rating does not stand any more. It stays on the scale."""
        self._count -= 1
        self._sum -= value - self._origin
        self._squares -= (value - self._origin) ** 2

    def know(self, value: float, label: str) -> None:
        """See that something can have this rating."""
        if value in self._labels:
            return
        if len(self._values) >= MAX_VALUES:
            self._is_open = True
            return
        self._labels[value] = label
        self._values.insert(bisect_left(self._values, value), value)
        self._measure()

    def cut(self, value: float) -> float:
        """A rating within bounds."""
        return min(max(value, self.bounds[0]), self.bounds[1])

    def chances(
        self, mean: float, variance: float, given: Mapping[float, str], refuted: tuple[str, ...] = ()
    ) -> dict[str, float]:
        """Probability of every rating that a task may have, for a true value of this law; in order of the ratings.

        Args:
            given: the ratings that the task was given: on a continuous scale the only ones considered.
            refuted: labels that are known to be wrong; ignored where nothing else is left.
        """
        possible = dict(given) if self._is_open else {**given, **self._labels}
        left = {value: label for value, label in possible.items() if label not in refuted} or possible
        logs = {value: -((value - mean) ** 2) / (2.0 * variance) for value in sorted(left)}
        highest = max(logs.values())
        weights = {value: math.exp(log - highest) for value, log in logs.items()}
        total = sum(weights.values())
        if self._is_open:  # what lies within half a step of a rating counts as that rating
            total = max(total, math.sqrt(math.tau * variance) / self.step * math.exp(min(-highest, 700.0)))
        return {left[value]: weight / total for value, weight in weights.items()}

    def dump(self) -> list[Any]:
        """As plain values."""
        labels = [self._labels[value] for value in self._values]
        return [labels, self._is_open, self._count, self._origin, self._sum, self._squares]

    @classmethod
    def load(cls, state: list[Any]) -> Scale:
        """The scale that was dumped."""
        scale = cls()
        labels, scale._is_open, scale._count, scale._origin, scale._sum, scale._squares = state
        scale._labels = {float(label): label for label in labels}
        scale._values = list(scale._labels)
        scale._measure()
        return scale

    def _measure(self) -> None:
        values = self._values
        last = len(values) - 1
        if last < 1:
            return
        self.gap = median_low([high - low for low, high in pairwise(values)])
        low, high = values[math.ceil(last / 4)], values[3 * last // 4]
        self.spread = max(high - low, self.gap)
        if len(values) >= ENOUGH_VALUES:
            self.bounds = (low - FENCE * self.spread, high + FENCE * self.spread)
