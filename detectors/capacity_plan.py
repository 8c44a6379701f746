"""When work will be done, and by how many: a simulation of labeler-hours to come out of those that came.

Days to come are runs of days that were (the stationary bootstrap of Politis and Romano, 1994), so that hours of the
day, days of the week and campaigns that last some days stay what they were; with three weeks of history and more a run
starts on the same day of the week. Runs alone would promise that the average stays as it was. So each simulated future
as a whole is faster or slower than the past by as much as parts of the past differ from one another, shrunk to a prior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.capacity import Array, Pace, Supply

#: Units of time that are simulated one by one; what is not done by then goes on at its future's mean rate.
HORIZON_UNITS: Final = 1_000
#: Simulated futures: enough for the 5 % quantile to move by about 1 % of the interval from seed to seed.
DRAWS: Final = 2_000
#: Mean length of a run of units: campaigns and weekends last about that.
RUN_UNITS: Final = 3.0
#: Units in a week, and how many of them make days of the week worth telling apart.
WEEK: Final = 7
WEEKS_FROM: Final = 3
#: Parts of the history whose rates are compared: weeks where there are enough, else quarters.
FEWEST_PARTS: Final = 4
MOST_PARTS: Final = 12
#: What is assumed of how the rates of parts differ before they are known, worth as much as that many parts: weeks of a
#: project differ little until they are seen to; hours of a project that began today say little of tomorrow.
PRIOR_SD_OF_HOURS: Final = 1.0
PRIOR_SD_OF_DAYS: Final = 0.2
PRIOR_PARTS: Final = 3.0
#: Beyond so many standard deviations Student's tails are cut, or a sum over them would overflow.
WIDEST: Final = 8.0


class Interval(NamedTuple):
    """Quantiles of a forecast: with probability .5 it lies in the inner interval, with .9 in the outer one."""

    low_90: float
    low_50: float
    median: float
    high_50: float
    high_90: float

    def covers_50(self, value: float) -> bool:
        """Whether the value lies in the inner interval."""
        return self.low_50 <= value <= self.high_50

    def covers_90(self, value: float) -> bool:
        """Whether the value lies in the outer interval."""
        return self.low_90 <= value <= self.high_90


QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


def interval(drawn: Array) -> Interval:
    """The quantiles of what was drawn; infinity is later than everything.

    >>> interval(np.array([1.0, 2.0, 3.0, 4.0, math.inf]))
    Interval(low_90=1.0, low_50=2.0, median=3.0, high_50=4.0, high_90=inf)
    """
    return Interval(*(float(q) for q in np.quantile(drawn, QUANTILES, method="nearest")))


@dataclass(frozen=True)
class Futures:
    """What came out of a simulation, a number a simulated future."""

    need_hours: Array
    """Labeler-hours of the work that remains."""
    done_ms: Array
    """Milliseconds from now until it is done; infinity where nobody ever comes."""
    labelers: Array | None
    """Labelers a unit who would have done it by the deadline; infinity where nobody came until then."""

    def probability_by(self, after_ms: float) -> float:
        """Share of the futures in which the work is done so long from now."""
        return float((self.done_ms <= after_ms).mean())

    def labelers_for(self, probability: float) -> int | None:
        """Labelers a unit with whom it is done by the deadline with that probability; None where nobody comes."""
        assert self.labelers is not None  # asked for without a deadline
        needed = float(np.quantile(self.labelers, probability, method="higher"))
        return None if math.isinf(needed) else max(1, math.ceil(needed))


def simulate(
    pace: Pace,
    supply: Supply,
    remaining: int,
    rng: np.random.Generator,
    *,
    labelers: float | None = None,
    deadline_ms: float | None = None,
    draws: int = DRAWS,
) -> Futures:
    """Futures in which ``remaining`` annotations are made.

    Args:
        pace, supply: of the history.
        remaining: annotations that are missing, at least one.
        labelers: so many in every unit in which anybody came, instead of those who came; each with the hours that one
            labeler had in that unit.
        deadline_ms: from now; counts the labelers needed by then.

    >>> from detectors.capacity import DAY_MS
    >>> supply = Supply(DAY_MS, np.full((28, 24), 1.0), np.full(28, 6.0))  # six labelers, four hours a day each
    >>> pace = Pace(seconds=36.0, variance=600.0, annotations=50_000, degrees=30.0)
    >>> futures = simulate(pace, supply, 24_000, np.random.default_rng(1), deadline_ms=10 * DAY_MS)
    >>> [round(hours) for hours in interval(futures.need_hours)]
    [220, 232, 240, 248, 261]
    >>> [round(ms / DAY_MS, 1) for ms in interval(futures.done_ms)]
    [7.3, 8.8, 10.0, 11.2, 13.9]
    >>> futures.labelers_for(0.5), futures.labelers_for(0.9)
    (6, 8)
    """
    need = pace.draw(remaining, draws, rng) * remaining / 3_600
    each = supply.per_labeler()
    hours = supply.hours if labelers is None else each * labelers
    parts = _parts(len(hours))
    prior = PRIOR_SD_OF_DAYS if supply.knows_hours else PRIOR_SD_OF_HOURS
    luck = np.clip(rng.standard_t(PRIOR_PARTS + parts - 1, draws), -WIDEST, WIDEST)
    state = rng.bit_generator.state
    done = _walk(hours, need, np.exp(_rate_spread(hours, parts, prior) * luck), rng)
    needed = None
    if deadline_ms is not None:
        rng.bit_generator.state = state  # the same futures, each with a single labeler
        by_one = _hours_by(each, np.exp(_rate_spread(each, parts, prior) * luck), deadline_ms / supply.unit_ms, rng)
        needed = np.divide(need, by_one, out=np.full(draws, math.inf), where=by_one > 0)
    return Futures(need, done * supply.unit_ms, needed)


def _parts(units: int) -> int:
    """Into how many parts a history is divided to see how rates differ: weeks, or quarters of a short one."""
    return min(units, max(FEWEST_PARTS, min(MOST_PARTS, units // WEEK)))


def _rate_spread(hours: Array, parts: int, prior: float) -> float:
    """Spread of the logarithm of the rate in time to come, around that of the history as a whole."""
    rates = hours.sum(axis=1)
    relative = np.array([part.mean() for part in np.array_split(rates, parts)]) / rates.mean()
    squares = PRIOR_PARTS * prior**2 + float(((relative - 1) ** 2).sum())
    return math.sqrt(math.log1p(squares / (PRIOR_PARTS + parts - 1)) * (1 + 1 / parts))


class _Runs:
    """Which unit of the history each future repeats, unit after unit."""

    def __init__(self, units: int, draws: int, rng: np.random.Generator) -> None:
        self._units, self._draws, self._rng = units, draws, rng
        self._week = WEEK if units >= WEEK * WEEKS_FROM else 1
        self._next = units
        self._at: NDArray[np.int64] = np.full(draws, units)  # beyond the end: the first step starts a run

    def step(self) -> NDArray[np.int64]:
        """The unit repeated now, shape (draws,)."""
        weekday = self._next % self._week
        choices = (self._units - 1 - weekday) // self._week + 1
        starts = weekday + self._week * self._rng.integers(0, choices, self._draws)
        ended = (self._rng.random(self._draws) < 1 / RUN_UNITS) | (self._at + 1 >= self._units)
        self._at = np.where(ended, starts, self._at + 1)
        self._next += 1
        return self._at


def _walk(hours: Array, need: Array, factor: Array, rng: np.random.Generator) -> Array:
    """Units until each future has come to the hours it needs, infinity where nobody ever comes."""
    runs = _Runs(len(hours), len(need), rng)
    slots = hours.shape[1]
    within = np.cumsum(hours, axis=1)
    had, done = np.zeros(len(need)), np.full(len(need), math.inf)
    for unit in range(HORIZON_UNITS):
        at = runs.step()
        has = had + within[at, -1] * factor
        for one in np.flatnonzero((had < need) & (has >= need)):
            so_far = had[one] + within[at[one]] * factor[one]
            slot = min(slots - 1, int(np.searchsorted(so_far, need[one])))
            before = had[one] if slot == 0 else so_far[slot - 1]
            done[one] = unit + (slot + (need[one] - before) / (so_far[slot] - before)) / slots
        had = has
        if (had >= need).all():
            return done
    late = np.isinf(done) & (had > 0)
    done[late] = HORIZON_UNITS * need[late] / had[late]
    return done


def _hours_by(hours: Array, factor: Array, end: float, rng: np.random.Generator) -> Array:
    """Hours that came in each future until ``end``, in units."""
    runs = _Runs(len(hours), len(factor), rng)
    slots = hours.shape[1]
    had = np.zeros(len(factor))
    for unit in range(min(HORIZON_UNITS, math.ceil(end))):
        open_slots = np.clip((end - unit) * slots - np.arange(slots), 0, 1)  # 1 before the end, 0 after it
        had += hours[runs.step()] @ open_slots * factor
    return had * max(1.0, end / HORIZON_UNITS)
