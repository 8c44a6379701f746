"""How good forecasts of work are: a history is cut where one knows what came after, and the rest is forecast.

Two questions at each cut: how many labeler-hours the annotations still to come take, and when the last of them comes.
The second knows how many there will be, as somebody who plans does, and nothing else of what follows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from detectors.capacity import DAY_MS, HOUR_MS, Stint, expected_pace, supply_of
from detectors.capacity_plan import Interval, interval, simulate
from schemas.events import AnnotationEvent
from schemas.times import to_ms

CUTS: Final = (0.3, 0.5, 0.7)
By = Literal["annotations", "time"]
#: Standard deviations of a normal distribution at the quantiles of an `Interval`.
_NORMAL: Final = tuple(statistics.NormalDist().inv_cdf(q) for q in (0.05, 0.25, 0.5, 0.75, 0.95))


def works_of(
    events: Iterable[AnnotationEvent], expect: Callable[[AnnotationEvent], float | None] = lambda event: None
) -> list[Stint]:
    """Annotations as work, in order of submission; ``expect`` gives the forecast of each, asked in the given order."""
    works = [
        Stint(event.labeler_id, to_ms(event.submitted_at), 1, event.handling_seconds, expect(event)) for event in events
    ]
    return sorted(works, key=lambda work: work.at_ms)


@dataclass(frozen=True)
class Outcome:
    """A forecast beside what came, in labeler-hours or in days from the cut."""

    actual: float
    ours: Interval
    naive: Interval
    """Mean and rate of the history as if annotations were independent."""


@dataclass(frozen=True)
class Cut:
    """One cut of one history."""

    share: float
    by: By
    remaining: int
    hours: Outcome
    days: Outcome


def backtest(
    works: Sequence[Stint], seed: int, since_days: float = math.inf, cuts: Sequence[float] = CUTS
) -> Iterator[Cut]:
    """Forecasts at each cut, by share of the annotations and by share of the time.

    Args:
        works: in order of time, single annotations.
        since_days: how much history before the cut counts. A cut without any within it is left out.
        cuts: shares above 0 and below 1.
    """
    by: By
    first, last = works[0].at_ms, works[-1].at_ms
    for by in ("annotations", "time"):
        for share in cuts:
            at = works[int(share * len(works)) - 1].at_ms + 1 if by == "annotations" else None
            now_ms = int(first + share * (last - first)) if at is None else at
            start_ms = max(first, now_ms - int(min(since_days, 36_500) * DAY_MS))
            history = [work for work in works if start_ms <= work.at_ms < now_ms]
            rest = [work for work in works if work.at_ms >= now_ms]
            if history and rest:
                yield _cut(share, by, history, rest, start_ms, now_ms, np.random.default_rng(seed))


def _cut(
    share: float,
    by: By,
    history: Sequence[Stint],
    rest: Sequence[Stint],
    start_ms: int,
    now_ms: int,
    rng: np.random.Generator,
) -> Cut:
    supply = supply_of(history, start_ms, now_ms)
    futures = simulate(expected_pace(history, supply.unit_ms), supply, len(rest), rng)
    hours = Outcome(
        math.fsum(work.seconds for work in rest) / 3_600,
        interval(futures.need_hours),
        naive_hours(history, len(rest)),
    )
    days = Outcome(
        (rest[-1].at_ms - now_ms) / DAY_MS,
        Interval(*(ms / DAY_MS for ms in interval(futures.done_ms))),
        naive_days(len(history), (now_ms - start_ms) / DAY_MS, len(rest)),
    )
    return Cut(share, by, len(rest), hours, days)


def naive_hours(history: Sequence[Stint], remaining: int) -> Interval:
    """Mean handling time times what remains; the interval as if annotations were independent.

    >>> [round(q, 2) for q in naive_hours([Stint("a", 0, 1, 30.0), Stint("b", 1, 1, 42.0)], 100)]
    [0.72, 0.89, 1.0, 1.11, 1.28]
    """
    seconds = [work.seconds for work in history]
    mean = statistics.fmean(seconds)
    spread = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
    error = spread * math.sqrt(1 / len(seconds) + 1 / remaining)
    return Interval(*((mean + z * error) * remaining / 3_600 for z in _NORMAL))


def naive_days(annotations: int, days: float, remaining: int) -> Interval:
    """What remains divided by the mean rate; the interval as if annotations came independently.

    >>> [round(q, 2) for q in naive_days(100, 10.0, 200)]
    [16.35, 18.41, 20.0, 21.72, 24.46]
    """
    spread = math.sqrt(1 / annotations + 1 / remaining)
    return Interval(*(remaining * days / annotations * math.exp(z * spread) for z in _NORMAL))


@dataclass(frozen=True)
class Coverage:
    """How often intervals held, and how wide they were, over several outcomes."""

    forecasts: int
    coverage_50: float
    coverage_90: float
    late_90: float
    """Share of outcomes above the 90 % interval: more work, or later."""
    ratio_90: float
    """Typical (median) upper end over lower end of the 90 % interval."""
    error: float
    """Typical (median) factor by which the median was off, up or down: 1.1 is 10 %."""


def coverage(outcomes: Sequence[tuple[float, Interval]]) -> Coverage:
    """The figures of actual values and their intervals.

    >>> coverage([(9.0, Interval(4, 6, 8, 10, 16)), (20.0, Interval(4, 6, 10, 12, 16))])
    Coverage(forecasts=2, coverage_50=0.5, coverage_90=0.5, late_90=0.5, ratio_90=4.0, error=1.5625)
    """
    found = list(outcomes)
    return Coverage(
        len(found),
        statistics.fmean(known.covers_50(actual) for actual, known in found),
        statistics.fmean(known.covers_90(actual) for actual, known in found),
        statistics.fmean(actual > known.high_90 for actual, known in found),
        statistics.median(known.high_90 / known.low_90 for _, known in found),
        statistics.median(max(actual / known.median, known.median / actual) for actual, known in found),
    )


#: The invented workforce: people with office hours, on weekdays, most of the days.
_PEOPLE: Final = 12
_PRESENT: Final = 0.85
_START_MS: Final = 1_767_571_200_000  # Monday 2026-01-05T00:00:00Z


def steady_workforce(rng: np.random.Generator, days: int = 56) -> list[Stint]:
    """Work of people with office hours, invented: what crowds are not, and paid teams are more like.

    Twelve people of different speed come on 85 % of the weekdays and work from 3 to 7 hours at times between 8 and 17.
    Singles come every minute or so, of which some take long.
    """
    works = []
    speeds = 60 * np.exp(0.3 * rng.standard_normal(_PEOPLE))
    for day in range(days):
        for person, speed in enumerate(speeds):
            if day % 7 >= 5 or rng.random() > _PRESENT:
                continue
            at = _START_MS + day * DAY_MS + int(rng.uniform(8, 10) * HOUR_MS)
            end = at + int(rng.uniform(3, 7) * HOUR_MS)
            while at < end:
                seconds = float(speed * math.exp(0.6 * rng.standard_normal()))
                at += int(seconds * 1_000)
                works.append(Stint(f"person-{person}", at, 1, seconds))
    return sorted(works, key=lambda work: work.at_ms)
