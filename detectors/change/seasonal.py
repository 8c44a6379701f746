"""Numbers that follow the hour of the week: a robust forecast, and a CUSUM of what is off it.

The forecast is the median of what this hour of the week showed in the last weeks, drawn to the median of the same
hour on all days of its kind, working days or the weekend, which counts as so many values more. What is off counts by
its rank among the residuals of the last two weeks, as the quantile of a normal law: neither the spread nor the law of
the numbers is assumed, an error of the forecast widens the band instead of making alarms, and one wild value alone
decides nothing. Residuals that follow each other (autocorrelation) count for less, as they carry less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import NormalDist, median
from typing import Final, cast
from zoneinfo import ZoneInfo

from detectors.change.cusum import GaussianCusum
from detectors.change.finding import Direction, Finding, State, check_config

HOUR_MS: Final = 3_600_000
HOURS: Final = 168
#: Hours from a Monday to the epoch, a Thursday.
TO_MONDAY: Final = 72
#: The first hour of the weekend, and its kind of day; where working days end.
WEEKEND: Final = 120
#: Residuals that the spread is made of: two weeks of hours.
RESIDUALS: Final = 336
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Seasonal:
    """For one number an hour or so: volume, handling time, a rate where too little is seen for counts.

    `calibrate.seasonal` makes one for an average run length, in values.

    >>> detector = Seasonal(threshold=8.0).build()
    >>> night_and_day = [100 + 50 * (hour % 24 > 8) + hour * 7 % 11 for hour in range(24 * 21)]
    >>> found = [detector.update(value, hour * HOUR_MS) for hour, value in enumerate(night_and_day)]
    >>> any(found)
    False
    >>> like_a_night = [detector.update(110, hour * HOUR_MS) for hour in range(24 * 21 + 6, 24 * 21 + 15)]
    >>> finding = next(one for one in like_a_night if one)
    >>> finding.at_ms // HOUR_MS % 24, round(finding.baseline), finding.level
    (13, 155, 110.0)
    """

    threshold: float
    shift: float = 1.5
    """The shift that matters, in deviations."""
    direction: Direction = "down"
    min_count: int = 168
    """Values that are only learned from at first."""
    weeks: int = 8
    """Values kept of each hour of the week."""
    shrinkage: float = 3.0
    """How many values the wider median counts as."""
    time_zone: str = "UTC"
    """On whose clocks hours and days are told apart: people go by their own, in summer, too."""

    def __post_init__(self) -> None:
        check_config(self.min_count >= 2, f"min_count must be at least 2, not {self.min_count}")
        check_config(self.weeks > 0, f"weeks must be above 0, not {self.weeks}")
        check_config(self.shrinkage >= 0, f"shrinkage must not be negative, not {self.shrinkage}")
        self.chart()

    def chart(self) -> GaussianCusum:
        """What watches the residuals."""
        return GaussianCusum(self.threshold, 0.0, 1.0, self.shift, self.direction)

    def build(self, state: State | None = None) -> SeasonalDetector:
        """A detector at its beginning, or at a dumped state."""
        return SeasonalDetector(self, state)


class SeasonalDetector:
    """The state of one stream: the last values of every hour of the week, the last residuals, the chart."""

    __slots__ = ("_chart", "_latest", "_method", "_residuals", "_scores", "_seen", "_values")

    def __init__(self, method: Seasonal, state: State | None = None) -> None:
        self._method = method
        stored = cast(
            tuple[dict[str, list[float]], list[float], list[float], list[list[float]], int, State | None],
            state or ({}, [], [], [], 0, None),
        )
        self._values = {int(hour): [float(one) for one in values] for hour, values in stored[0].items()}
        self._residuals = [float(one) for one in stored[1]]
        self._scores = [float(one) for one in stored[2]]
        self._latest = [(float(value), float(forecast)) for value, forecast in stored[3]]
        self._seen = int(stored[4])
        self._chart = method.chart().build(stored[5])

    @property
    def statistic(self) -> float:
        """The chart's sum, in deviations."""
        return self._chart.statistic

    def forecast(self, at_ms: int) -> float:
        """What is expected at a time; not a number before there was any value."""
        hour = hour_of_week(at_ms, self._method.time_zone)
        first = hour % 24 + (WEEKEND if hour >= WEEKEND else 0)
        last = HOURS if hour >= WEEKEND else WEEKEND
        alike = [one for other in range(first, last, 24) for one in self._values.get(other, [])]
        if not alike:
            alike = [one for values in self._values.values() for one in values]
        if not alike:
            return math.nan
        values, kept = self._values.get(hour), self._method.shrinkage
        if not values:
            return median(alike)
        return (len(values) * median(values) + kept * median(alike)) / (len(values) + kept)

    def update(self, value: float, at_ms: int) -> Finding | None:
        """Take one number: hold it against the forecast, then learn it."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be a finite number, not {value}")
        forecast = self.forecast(at_ms)
        found = None
        if self._seen >= self._method.min_count:
            found = self._hold_against(value, forecast, at_ms)
        self._learn(value, forecast, hour_of_week(at_ms, self._method.time_zone))
        return found

    def dump(self) -> State:
        """As plain values."""
        values = {str(hour): list(values) for hour, values in self._values.items()}
        latest = [list(pair) for pair in self._latest]
        return [values, list(self._residuals), list(self._scores), latest, self._seen, self._chart.dump()]

    def _hold_against(self, value: float, forecast: float, at_ms: int) -> Finding | None:
        score = normal_score(value - forecast, self._residuals)
        carried = self._carried()
        self._scores = [*self._scores, score][-RESIDUALS:]
        off = score * math.sqrt((1.0 - carried) / (1.0 + carried))
        if self._chart.statistic == 0.0:
            self._latest = []
        self._latest.append((value, forecast))
        found = self._chart.update(off, at_ms)
        if found is None:
            return None
        values, forecasts = zip(*self._latest, strict=True)
        self._latest = []
        return found._replace(baseline=_mean(forecasts), level=_mean(values))

    def _carried(self) -> float:
        """How much of a score the next one shows again: the lag-one autocorrelation, from 0 to .9."""
        scores = self._scores
        total = sum(score * score for score in scores)
        if len(scores) < 2 or total == 0.0:
            return 0.0
        along = sum(one * other for one, other in pairwise(scores)) / total
        return min(max(along + 1.0 / math.sqrt(len(scores)), 0.0), 0.9)  # one standard error more, to be sure

    def _learn(self, value: float, forecast: float, hour: int) -> None:
        self._seen += 1
        self._values[hour] = [*self._values.get(hour, []), float(value)][-self._method.weeks :]
        if not math.isnan(forecast):
            self._residuals = [*self._residuals, value - forecast][-RESIDUALS:]


def hour_of_week(at_ms: int, time_zone: str = "UTC") -> int:
    """Hours since Monday, 0:00, as clocks there show them.

    >>> hour_of_week(0), hour_of_week(4 * 24 * HOUR_MS)  # a Thursday, a Monday
    (72, 0)
    >>> hour_of_week(4 * 24 * HOUR_MS, "America/New_York")  # is a Sunday evening
    163
    """
    if time_zone != "UTC":
        local = datetime.fromtimestamp(at_ms // 1_000, ZoneInfo(time_zone))
        return 24 * local.weekday() + local.hour
    return (at_ms // HOUR_MS + TO_MONDAY) % HOURS


def normal_score(residual: float, others: list[float]) -> float:
    """The quantile of the normal law where a residual stands among others.

    >>> round(normal_score(5.0, [1.0, 2.0, 3.0]), 2), normal_score(2.0, [1.0, 2.0, 3.0])
    (1.15, 0.0)
    """
    below = sum(one < residual for one in others)
    equal = sum(one == residual for one in others)
    return _NORMAL.inv_cdf((below + equal / 2.0 + 0.5) / (len(others) + 1))


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)
