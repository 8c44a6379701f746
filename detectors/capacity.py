"""What a history of work says about the work ahead: seconds an annotation will take, and labeler-hours that will come.

Plans are about sums, so everything here is about means: many short answers and a few long ones take as long together as
their mean says, not their median. And what varies together must be added up together: a slow labeler is slow on all of
their annotations, a hard batch is slow for everybody on that day, so the interval of a sum comes from sums by labeler
and by day, not from the spread of single annotations.

Pure: times are arguments, in milliseconds since the epoch (UTC); randomness is a generator passed in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: With less history than this nothing is known about hours of the day, and slices of the history are drawn instead.
DAYS_FROM: Final = 3
#: Slices that a history too short for days is cut into, none shorter than `SHORTEST_SLICE_MS`.
SLICES: Final = 24
SHORTEST_SLICE_MS: Final = 300_000
#: What is assumed of a project before it is known: labelers differ in speed by a third or so, and so do days. Worth
#: as much as that many labelers or days; without it one labeler's history would be an interval without width.
PRIOR_RELATIVE_SD: Final = 0.3
PRIOR_WEIGHT: Final = 3.0
#: Log spread of what the history cannot show: another day's work, where it has only hours; another month's, where it
#: has days. Without the former, 90 % intervals of the labeler-hours of crowds over hours held in 67 % of back-tests;
#: with it in 96 %, and in 91 % at other cuts than those it was chosen on (docs/capacity.md).
DRIFT_OF_HOURS: Final = 0.3
DRIFT_OF_DAYS: Final = 0.05
#: Share of the annotations that is taken for recent when forecasts are asked whether work has become slower.
RECENT_SHARE: Final = 0.25
#: A change of the forecasts below so many standard errors is chance, and is not followed.
CHANGE_STANDARD_ERRORS: Final = 2.0


class Stint(NamedTuple):
    """Annotations of one labeler at one time: a single one, or those of a few minutes added up."""

    labeler_id: str
    at_ms: int
    """When they were submitted."""
    annotations: int
    """How many count towards the overlap: 0 for a revision, whose time is spent all the same."""
    seconds: float
    """Handling time, all together."""
    expected_seconds: float | None = None
    """What was forecast for them before they were seen, all together; None where there was no forecast."""


class Pace(NamedTuple):
    """Seconds an annotation: their mean, and how far the mean of others yet to come may be from it.

    ``variance`` is of the sum of one annotation's share: the mean of n annotations has variance / n. It grows with what
    annotations of a labeler, or of a day, have in common.
    """

    seconds: float
    variance: float
    annotations: int
    degrees: float
    """Degrees of freedom: as many labelers, or days, as the variance really comes from."""
    drift: float = DRIFT_OF_DAYS
    """Log spread of what comes on top, whatever the number of annotations."""

    def draw(self, remaining: int, draws: int, rng: np.random.Generator) -> Array:
        """Mean seconds of ``remaining`` annotations, ``draws`` times: Student's t on the logarithm.

        >>> pace = Pace(seconds=30.0, variance=9_000.0, annotations=1_000, degrees=20.0)
        >>> drawn = pace.draw(4_000, 20_000, np.random.default_rng(7))
        >>> [round(float(q), 1) for q in np.quantile(drawn, (0.05, 0.5, 0.95))]
        [24.3, 30.0, 37.0]
        """
        spread = math.hypot(math.sqrt(math.log1p(self.error(remaining))), self.drift)
        drawn: Array = self.seconds * np.exp(spread * rng.standard_t(self.degrees, draws))
        return drawn

    def error(self, remaining: float = math.inf) -> float:
        """Relative variance of the mean of so many others around this one; of their expectation if there is no end."""
        return self.variance / self.seconds**2 * (1 / self.annotations + 1 / remaining)


def expected_pace(history: Sequence[Stint], unit_ms: int = DAY_MS) -> Pace:
    """The pace of a history, moved to where forecasts say that work has gone since, if it has plainly gone anywhere.

    Forecasts know who works how fast and what is being worked on, so their mean over the latest quarter, beside that of
    the time before, tells a change sooner than the times themselves. The mean is moved by the ratio of the two, times
    1 - (2 standard errors / log ratio)^2 where that is above 0: James and Stein's shrinkage, with a margin.

    Args:
        history: as for `pace_of`. Nothing is moved unless all that counts has a forecast.

    Raises:
        ValueError: as `pace_of`.

    >>> def month(slower):
    ...     for day in range(28):
    ...         for labeler in range(10):
    ...             seconds = (20 + labeler) * (slower if day >= 21 else 1.0)
    ...             yield Stint(f"l{labeler}", day * DAY_MS, 40, 40 * seconds, 40 * seconds)
    >>> [round(expected_pace(list(month(slower))).seconds, 1) for slower in (1.0, 1.1, 1.6)]
    [24.5, 25.1, 37.7]
    >>> round(pace_of(list(month(1.6))).seconds, 1)
    28.2
    """
    pace = pace_of(history, unit_ms)
    ordered = sorted(history, key=lambda work: work.at_ms)
    forecasts = [work._replace(seconds=work.expected_seconds) for work in ordered if work.expected_seconds is not None]
    if sum(work.annotations for work in forecasts) < pace.annotations:
        return pace
    cut, seen = 0, 0
    while seen < (1 - RECENT_SHARE) * pace.annotations:
        seen += forecasts[cut].annotations
        cut += 1
    try:
        before, recent = pace_of(forecasts[:cut], unit_ms), pace_of(forecasts[cut:], unit_ms)
        overall = pace_of(forecasts, unit_ms)
    except ValueError:  # too few to be divided
        return pace
    change = math.log(recent.seconds / before.seconds)
    noise = CHANGE_STANDARD_ERRORS**2 * (before.error() + recent.error())
    if change**2 <= noise:
        return pace
    moved = (recent.seconds / overall.seconds) ** (1 - noise / change**2)
    return pace._replace(seconds=pace.seconds * moved, variance=pace.variance * moved**2)


def pace_of(history: Sequence[Stint], unit_ms: int = DAY_MS) -> Pace:
    """Mean handling time with its uncertainty by labeler and by day (Cameron, Gelbach & Miller 2011, two-way clusters).

    Args:
        history: at least one annotation that counts.
        unit_ms: what is taken for a day; shorter where the history is.

    Raises:
        ValueError: no annotation counts, or none took any time.

    >>> one = [Stint("ana", 0, 2, 60.0), Stint("ben", DAY_MS, 2, 100.0), Stint("ben", DAY_MS, 0, 20.0)]
    >>> pace = pace_of(one)
    >>> pace.seconds, pace.annotations, round(pace.degrees, 1)
    (45.0, 4, 4.0)
    """
    counted = sum(work.annotations for work in history)
    seconds = math.fsum(work.seconds for work in history)
    if counted <= 0 or seconds <= 0:
        raise ValueError("no annotation in the history took any time")
    mean = seconds / counted
    labelers = _clusters(((work.labeler_id, work) for work in history), mean)
    days = _clusters(((work.at_ms // unit_ms, work) for work in history), mean)
    both = _clusters((((work.labeler_id, work.at_ms // unit_ms), work) for work in history), mean)
    # Only those who are new to the project can be of another speed than those who are known.
    lasting = (1 - _staying(history)) * max(0.0, labelers.variance - both.variance)
    degrees = PRIOR_WEIGHT + min(labelers.effective, days.effective) - 1
    drift = DRIFT_OF_HOURS if unit_ms < DAY_MS else DRIFT_OF_DAYS
    return Pace(mean, days.variance + lasting, counted, degrees, drift)


def _staying(history: Sequence[Stint]) -> float:
    """Share of the later half's annotations by labelers of the earlier half, less where there are few labelers.

    >>> _staying([Stint(name, at, 10, 1.0) for at in range(10) for name in ("ana", "ben", "cy")])
    0.5
    """
    ordered = sorted(history, key=lambda work: work.at_ms)
    half = sum(work.annotations for work in ordered) / 2
    known: set[str] = set()
    seen = later = again = 0
    for work in ordered:
        if seen < half:
            known.add(work.labeler_id)
        else:
            later += work.annotations
            again += work.annotations * (work.labeler_id in known)
        seen += work.annotations
    return again / max(1, later) * len(known) / (len(known) + PRIOR_WEIGHT)


class _Clusters(NamedTuple):
    variance: float
    effective: float


def _clusters(works: Iterable[tuple[object, Stint]], mean: float) -> _Clusters:
    """Variance of an annotation's share of the sum over clusters, and how many clusters of equal size that is."""
    sums: dict[object, tuple[int, float]] = {}
    for key, work in works:
        count, excess = sums.get(key, (0, 0.0))
        sums[key] = (count + work.annotations, excess + work.seconds - mean * work.annotations)
    counted = sum(count for count, _ in sums.values())
    effective = counted**2 / sum(count**2 for count, _ in sums.values())
    correction = len(sums) / max(1, len(sums) - 1)
    variance = correction * math.fsum(excess**2 for _, excess in sums.values()) / counted
    # Clusters of average size whose means are off by the prior's spread: what the prior says of the same variance.
    prior = (PRIOR_RELATIVE_SD * mean) ** 2 * counted / effective
    return _Clusters((PRIOR_WEIGHT * prior + (effective - 1) * variance) / (PRIOR_WEIGHT + effective - 1), effective)


@dataclass(frozen=True)
class Supply:
    """Labeler-hours that came, in equal units of time up to now, each cut into slots.

    A unit is a day of 24 hourly slots that ends at the hour of now, or, where the history is shorter than three days,
    a slice of it with a single slot. Unit 0 is the earliest.
    """

    unit_ms: int
    hours: Array
    """Labeler-hours, shape (units, slots)."""
    labelers: Array
    """Labelers who were active in each unit, shape (units,)."""

    @property
    def knows_hours(self) -> bool:
        """Whether a unit is a day, so that work comes at the hours at which it came before."""
        return self.unit_ms == DAY_MS

    @property
    def usual_labelers(self) -> float:
        """Labelers active in a unit in which anybody was, on average."""
        return float(self.labelers[self.labelers > 0].mean())

    def per_labeler(self) -> Array:
        """Hours of one labeler, same shape: nothing where nobody came."""
        each: Array = self.hours / np.maximum(self.labelers, 1)[:, None]
        return each


def supply_of(history: Sequence[Stint], start_ms: int, now_ms: int) -> Supply:
    """The labeler-hours of a history, by unit and slot.

    Args:
        history: work from ``start_ms`` to ``now_ms``; what is outside is left out.
        start_ms: from when on the history is complete: the first annotation, or where the history was cut.
        now_ms: later than that.

    Raises:
        ValueError: no work lies between the two, or there is no time between them.

    >>> supply = supply_of([Stint("ana", 9 * HOUR_MS, 10, 1_800.0)], start_ms=0, now_ms=4 * DAY_MS)
    >>> supply.hours.shape, float(supply.hours[0, 9]), supply.usual_labelers
    ((4, 24), 0.5, 1.0)
    """
    span = now_ms - start_ms
    inside = [work for work in history if start_ms <= work.at_ms <= now_ms and work.seconds > 0]
    if span <= 0 or not inside:
        raise ValueError("no history before now")
    by_days = span >= DAYS_FROM * DAY_MS
    unit_ms = DAY_MS if by_days else max(SHORTEST_SLICE_MS, math.ceil(span / SLICES))
    slots = 24 if by_days else 1
    # A first unit of which less than half is history would look idle; it counts only if all the work is in it.
    units = max(1, math.floor(span / unit_ms + 0.5))
    if now_ms - max(work.at_ms for work in inside) > units * unit_ms:
        units += 1
    hours = np.zeros((units, slots))
    labelers: list[set[str]] = [set() for _ in range(units)]
    for work in inside:
        back = max(0, now_ms - 1 - work.at_ms)
        unit = units - 1 - back // unit_ms
        if unit < 0:
            continue
        slot = slots - 1 - back % unit_ms * slots // unit_ms
        hours[unit, slot] += work.seconds / 3_600
        labelers[unit].add(work.labeler_id)
    return Supply(unit_ms, hours, np.array([float(len(some)) for some in labelers]))


def by_hour_of_week(history: Iterable[Stint]) -> Array:
    """Labeler-hours by weekday and hour, UTC; shape (7, 24), Monday first.

    >>> week = by_hour_of_week([Stint("ana", 1_767_603_600_000, 10, 1_800.0)])  # Monday 2026-01-05T09:00:00Z
    >>> float(week[0, 9]), float(week.sum())
    (0.5, 0.5)
    """
    week = np.zeros(7 * 24)
    for work in history:
        week[(work.at_ms // HOUR_MS + 3 * 24) % (7 * 24)] += work.seconds / 3_600  # the epoch was a Thursday
    return week.reshape(7, 24)
