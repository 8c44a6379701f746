"""River's ADWIN, Page-Hinkley and KSWIN, with a direction, a state that can be stored, and a budget.

By default they miss most drops of accuracy, or fire falsely (docs/detectors.md has figures); `river_table` has the
parameters that keep to an average run length. All three learn the level by themselves, and take what persists for the
new level. They know nothing of a known level, and so are slower than what does.

``river.drift`` is imported where a detector is built: it brings pandas, scikit-learn and SQLAlchemy with it, which take
longer than all else that a worker loads, and shipped rules do not use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, cast

from detectors.change.finding import Direction, Finding, State, check_config, check_share

#: Values that ADWIN may hold; then it goes on with the latest half of them, so that its state stays small.
ADWIN_VALUES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Adwin:
    """ADWIN: cuts its window where two parts of it differ too much (A. Bifet, R. Gavaldà, SDM 2007).

    >>> detector = Adwin(delta=0.3).build()
    >>> found = [detector.update(float(number % 12 != 0), number) for number in range(300)]
    >>> found += [detector.update(float(number % 2 == 0), number) for number in range(300, 400)]
    >>> next(one.at_ms for one in found if one)
    317
    """

    delta: float
    direction: Direction = "down"
    min_count: int = 10
    clock: int = 1
    """Values between two checks; River's default is 32."""

    def __post_init__(self) -> None:
        check_config(0.0 < self.delta <= 1.0, f"delta must be above 0 and at most 1, not {self.delta}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    def build(self, state: State | None = None) -> AdwinDetector:
        """A detector at its beginning, or at a dumped state."""
        return AdwinDetector(self, state)


class AdwinDetector:
    """The state of one stream: the values that ADWIN was given, from which it is made again."""

    __slots__ = ("_method", "_river", "_seen", "_times", "_values")

    def __init__(self, method: Adwin, state: State | None = None) -> None:
        self._method = method
        values, times, seen = cast(tuple[list[float], list[int], int], state or ([], [], 0))
        self._seen = int(seen)
        self._restart([float(one) for one in values], [int(one) for one in times])

    def _restart(self, values: list[float], times: list[int]) -> None:
        from river.drift import ADWIN

        self._values, self._times = values, times
        self._river = ADWIN(delta=self._method.delta, clock=self._method.clock)
        for value in values:
            self._river.update(value)

    @property
    def statistic(self) -> float:
        """Mean of the window."""
        return float(self._river.estimation)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one value from 0 to 1."""
        before = self._river.estimation
        self._river.update(check_share(value))
        self._values.append(value)
        self._times.append(at_ms)
        self._seen += 1
        if self._river.drift_detected:
            return self._cut(before, at_ms)
        if len(self._values) >= ADWIN_VALUES:
            self._restart(self._values[-ADWIN_VALUES // 2 :], self._times[-ADWIN_VALUES // 2 :])
        return None

    def dump(self) -> State:
        """As plain values."""
        return [list(self._values), list(self._times), self._seen]

    def _cut(self, before: float, at_ms: int) -> Finding | None:
        level, kept = float(self._river.estimation), max(int(self._river.width), 1)
        start = last_change(self._values)
        since_ms, values = self._times[start], self._values[start:]
        self._restart(self._values[-kept:], self._times[-kept:])
        is_bad = level < before if self._method.direction == "down" else level > before
        if not is_bad or self._seen < self._method.min_count:
            return None
        self._seen = 0
        return Finding(
            at_ms=at_ms,
            direction=self._method.direction,
            statistic=abs(before - level),
            threshold=0.0,
            baseline=float(before),
            level=sum(values) / len(values),
            since_ms=since_ms,
            answers=len(values),
        )


def last_change(values: list[float]) -> int:
    """Where the second of two parts begins whose means differ most, by their variance between.

    ADWIN drops a little of its window at a time, and so its start is no estimate of when the change came.

    >>> last_change([1, 1, 0, 1, 1, 0, 0, 1, 0])
    5
    """
    total, before, best, start = sum(values), 0.0, -1.0, 0
    for count, value in enumerate(values[:-1], 1):
        before += value
        rest = len(values) - count
        between = count * rest * (before / count - (total - before) / rest) ** 2
        if between > best:
            best, start = between, count
    return start


@dataclass(frozen=True, slots=True)
class PageHinkleyMethod:
    """Page-Hinkley's test: a CUSUM against the mean of everything so far.

    >>> detector = PageHinkleyMethod(threshold=6.0).build()
    >>> found = [detector.update(float(number % 12 != 0), number) for number in range(300)]
    >>> found += [detector.update(float(number % 2 == 0), number) for number in range(300, 400)]
    >>> finding = next(one for one in found if one)
    >>> finding.at_ms, finding.since_ms, round(finding.level, 2)
    (317, 301, 0.47)
    """

    threshold: float
    delta: float = 0.05
    """Half the smallest drop that matters."""
    direction: Direction = "down"
    min_count: int = 30

    def __post_init__(self) -> None:
        check_config(self.threshold > 0.0, f"threshold must be above 0, not {self.threshold}")
        check_config(self.delta >= 0.0, f"delta must not be negative, not {self.delta}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    def build(self, state: State | None = None) -> PageHinkleyDetector:
        """A detector at its beginning, or at a dumped state."""
        return PageHinkleyDetector(self, state)


class PageHinkleyDetector:
    """The state of one stream: River's five sums, and where its largest one was."""

    __slots__ = ("_method", "_river", "_since_ms", "_total", "_values")

    def __init__(self, method: PageHinkleyMethod, state: State | None = None) -> None:
        self._method = method
        self._restart()
        if state is not None:
            from river.stats import Mean

            values, mean, rise, fall, lowest, highest, answers, total, since_ms = cast(list[float], state)
            self._river._x_mean = Mean._from_state(int(values), float(mean))
            self._river._sum_increase, self._river._sum_decrease = float(rise), float(fall)
            self._river._min_increase, self._river._max_decrease = float(lowest), float(highest)
            self._values, self._total, self._since_ms = int(answers), float(total), int(since_ms)

    def _restart(self) -> None:
        from river.drift import PageHinkley

        method = self._method
        self._river = PageHinkley(
            min_instances=max(method.min_count, 1),
            delta=method.delta,
            threshold=method.threshold,
            alpha=1.0,
            mode=method.direction,
        )
        self._river._min_increase, self._river._max_decrease = 0.0, 0.0  # infinity is not JSON
        self._values, self._total, self._since_ms = 0, 0.0, 0

    @property
    def statistic(self) -> float:
        """How far the sum is from its extreme."""
        river = self._river
        if self._method.direction == "down":
            return float(river._max_decrease - river._sum_decrease)
        return float(river._sum_increase - river._min_increase)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one value from 0 to 1."""
        if self.statistic == 0.0:
            self._values, self._total, self._since_ms = 0, 0.0, at_ms
        self._river.update(check_share(value))
        self._values += 1
        self._total += value
        if not self._river.drift_detected:
            return None
        finding = Finding(
            at_ms=at_ms,
            direction=self._method.direction,
            statistic=self.statistic,
            threshold=self._method.threshold,
            baseline=float(self._river._x_mean.get()),
            level=self._total / self._values,
            since_ms=self._since_ms,
            answers=self._values,
        )
        self._restart()
        return finding

    def dump(self) -> State:
        """As plain values."""
        river = self._river
        sums = [river._sum_increase, river._sum_decrease, river._min_increase, river._max_decrease]
        return [river._x_mean.n, river._x_mean.get(), *sums, self._values, self._total, self._since_ms]


@dataclass(frozen=True, slots=True)
class Kswin:
    """KSWIN: the latest values against a sample of those before, by Kolmogorov and Smirnov (C. Raab et al., 2020).

    For windows, not answers: an update takes a third of a millisecond, and ties make it miss.

    >>> detector = Kswin(alpha=0.001, window=40, latest=15).build()
    >>> found = [detector.update(90 + number * 7 % 5 - 12 * (number >= 60), number) for number in range(90)]
    >>> next(one.at_ms for one in found if one)
    70
    """

    alpha: float
    window: int = 60
    latest: int = 20
    direction: Direction = "down"

    def __post_init__(self) -> None:
        check_config(0.0 < self.alpha < 1.0, f"alpha must be above 0 and below 1, not {self.alpha}")
        check_config(2 * self.latest <= self.window, "the window must hold the latest values twice")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")

    @property
    def min_count(self) -> int:
        """A whole window."""
        return self.window

    def build(self, state: State | None = None) -> KswinDetector:
        """A detector at its beginning, or at a dumped state."""
        return KswinDetector(self, state)


class KswinDetector:
    """The state of one stream: the window. What is sampled of it depends on how many values there were alone."""

    __slots__ = ("_method", "_river", "_seen", "_times")

    def __init__(self, method: Kswin, state: State | None = None) -> None:
        self._method = method
        self._times: list[int] = []
        self._restart()
        if state is not None:
            values, times, seen, p_value = cast(tuple[list[float], list[int], int, float], state)
            self._river.window.extend(float(one) for one in values)
            self._river.p_value = float(p_value)
            self._times, self._seen = [int(one) for one in times], int(seen)

    def _restart(self) -> None:
        from river.drift import KSWIN

        method = self._method
        self._river = KSWIN(alpha=method.alpha, window_size=method.window, stat_size=method.latest, seed=0)
        self._times = []
        self._seen = 0

    @property
    def statistic(self) -> float:
        """The latest p-value."""
        return float(self._river.p_value)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one number."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be a finite number, not {value}")
        method = self._method
        before = [float(one) for one in self._river.window][-(method.window - 1) :]
        self._river._rng.seed(self._seen)
        self._river.update(value)
        self._seen += 1
        self._times = [*self._times, at_ms][-method.window :]
        if not self._river.drift_detected:
            return None
        values = [*before, float(value)]
        old, new = values[: -method.latest], values[-method.latest :]
        baseline, level = sum(old) / len(old), sum(new) / len(new)
        since_ms, p_value = self._times[-method.latest], self.statistic
        self._restart()
        if not (level < baseline if method.direction == "down" else level > baseline):
            return None
        return Finding(at_ms, method.direction, p_value, method.alpha, baseline, level, since_ms, method.latest)

    def dump(self) -> State:
        """As plain values."""
        return [[float(one) for one in self._river.window], list(self._times), self._seen, self.statistic]
