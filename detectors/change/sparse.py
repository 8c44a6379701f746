"""A drop of a few labelers among many: e-processes of all labelers of a scope, put together start by start.

What a few people lose is lost in the level of all, and each of them may give too few answers to be found alone. So
every labeler has e-processes of their own (`bets`, against a level of their own that is learned), one started every
three hours, and for all those that were started together, at h,

    R_h = product over labelers i of (1 - p + p e_(i,h))        M = sum over starts h of n_h R_h

where p is the share of labelers who may have changed, and n_h how many values had come since the start before. Each
factor is an e-process against "this labeler is as before", so M minus the number of values is a supermartingale while
nobody changes, and the average number of values until M reaches A is at least A, as for other e-detectors
(`e_process`). The mixture over who changed is that of Y. Xie and D. Siegmund, *Sequential multi-sensor change-point
detection*, Annals of Statistics 41, 2013, equation 3.3, with e-values in place of likelihood ratios.

Eight of forty people who fall by 20 points are found in three fifths of the answers that it takes to find the first of
them alone, and the level of all does not show them at all (``python -m benchmarks.few_labelers``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from detectors.change.bets import Bet, bets_on
from detectors.change.finding import Direction, Finding, State, check_config, check_share

#: Share of a scope's labelers who may have changed, p. From .1 to .5 as many incidents are found, within two.
SHARE: Final = 0.2
#: Whom a finding is about: those who changed as probably as that, of whom p did before anything was seen. With a half,
#: those who did not say so soon that it is over.
SURE: Final = 0.8
#: E-processes are started so often, and run for three days: what takes longer is for those that look at one labeler.
#: Started every hour as many incidents are found, with three times the state.
STEP_MS: Final = 3 * 3_600_000
STARTS: Final = 24
#: What the scope's level is worth as a prior of a labeler, in answers; the metric's as one of the scope.
PRIOR: Final = 10.0
#: Answers of a scope that are only learned from; and those that a labeler's level may be worth at most.
LEARNED: Final = 50
MEMORY: Final = 1_000.0
#: A labeler of whom nothing came for so many steps is forgotten: five weeks.
FORGOTTEN: Final = 35 * 8
#: What is kept is a multiple of one part in so many: sums are exact, whatever their order, and take little room stored.
PARTS: Final = 65_536.0
_MOST_LOG: Final = 600.0
_GOOD, _SEEN = -2, -1
"""Of what is kept of a step: the sum of values, held against what was expected, and their number."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SparseProcess:
    """An e-detector of a few labelers among many, for answers (0 or 1).

    >>> method = SparseProcess(threshold=100_000, level=0.9)
    >>> detector, minute = method.build(), 60_000
    >>> for number in range(6_000):  # of twenty labelers, and three of them fall to .7 after 4,000 answers
    ...     labeler, slips = number % 20, 3 if number >= 4_000 and number % 20 < 3 else 10
    ...     right = (number // 20 + labeler) % slips != 0
    ...     if finding := detector.update(right, number * minute, labeler_id=f"w{labeler}"):
    ...         break
    >>> number, finding.labelers, round(finding.baseline, 2), round(finding.level, 2), finding.answers
    (4601, ('w0', 'w1', 'w2'), 0.87, 0.66, 98)
    """

    threshold: float
    level: float
    """Mean in control over scopes like this one: where learning begins."""
    smallest_drop: float = 0.1
    """Of a labeler."""
    direction: Direction = "down"
    min_count: int = 0
    spread: float = 1.0
    """How many times as much counts vary as those of independent answers: logs are smaller by it, so that the factors
    are e-values all the same."""

    def __post_init__(self) -> None:
        check_config(self.threshold > 1.0, f"threshold must be above 1, not {self.threshold}")
        check_config(self.min_count >= 0, f"min_count must not be negative, not {self.min_count}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")
        check_config(self.spread >= 1.0, f"spread must be at least 1, not {self.spread}")
        self.bets()

    def good(self) -> float:
        """The level in control, of what is good: rising is bad is falling of the rest."""
        return self.level if self.direction == "down" else 1.0 - self.level

    def bets(self) -> tuple[Bet, ...]:
        """What is bet on, of each labeler."""
        return bets_on(self.good(), self.smallest_drop)

    def build(self, state: State | None = None) -> SparseDetector:
        """A detector at its beginning, or at a dumped state."""
        return SparseDetector(self, state)


@dataclass(slots=True)
class _Level:
    """A level that is learned: what was good and what was not, the prior included."""

    good: float
    bad: float

    @property
    def value(self) -> float:
        return self.good / (self.good + self.bad)

    def learn(self, good: float, most: float) -> None:
        self.good += good
        self.bad += 1.0 - good
        weight = self.good + self.bad
        if weight > most:
            self.good *= most / weight
            self.bad *= most / weight


@dataclass(slots=True)
class _Labeler:
    """Whom a row is about."""

    name: str
    level: _Level
    step: int
    """Of the latest answer."""


class SparseDetector:
    """The state of one scope; `SparseProcess` says what it does. Times must not go back."""

    def __init__(self, method: SparseProcess, state: State | None = None) -> None:
        self._method = method
        bets = method.bets()
        self._sizes = [bet.size for bet in bets]
        self._weights = np.array([bet.weight for bet in bets])
        self._highest = max(method.good(), 1.0 - method.smallest_drop / 20.0)
        self._step = 0
        self._seen = -LEARNED
        """Values tested since the start or the last finding; below 0 while levels are only learned."""
        self._level = _Level(PRIOR * method.good(), PRIOR * (1.0 - method.good()))
        self._labelers: list[_Labeler] = []
        self._rows: dict[str, int] = {}
        self._kept: Ints = np.zeros((8, STARTS, len(bets) + 2), dtype=np.int64)
        """By labeler and step, the latest first: logs of what each bet gained, sum and number of values; in `PARTS`."""
        self._started: Floats = np.zeros(STARTS)
        """Processes that were started in each step: as many as values had come since the start before."""
        self._coming = 1.0
        """Those to be started next."""
        self._gains: Floats = np.zeros((8, STARTS))
        """Log of each labeler's factor, by start; out of date where it is stale."""
        self._stale: dict[int, None] = {}
        if state is not None:
            self._load(state)

    @property
    def statistic(self) -> float:
        """The value of the e-detector."""
        return float((self._started * np.exp(self._logs())).sum())

    def update(self, value: float, at_ms: int, relative: float = 1.0, labeler_id: str = "") -> Finding | None:
        """Take one answer of a labeler.

        Args:
            value: what came.
            at_ms: its time.
            relative: what is expected of it in control, as a multiple of the labeler's level.
            labeler_id: whose it is.
        """
        down = self._method.direction == "down"
        good = check_share(value) if down else 1.0 - check_share(value)
        step = at_ms // STEP_MS
        if step > self._step:
            self._turn_to(step)
        row = self._row(labeler_id)
        labeler = self._labelers[row]
        labeler.step = self._step
        level, adjusted = labeler.level.value, good
        if relative != 1.0:
            level = level * relative if down else 1.0 - (1.0 - level) * relative
            adjusted = value / relative if down else 1.0 - value / relative
        labeler.level.learn(adjusted, MEMORY)
        self._level.learn(adjusted, MEMORY)
        self._seen += 1
        if self._seen <= 0:
            return None
        self._coming += 1.0
        level = min(max(level, 0.0), self._highest)
        logs = [math.log1p(-size * good) - math.log1p(-size * level) for size in self._sizes]
        kept = (*(one / self._method.spread for one in logs), adjusted, 1.0)
        self._kept[row, 0] += [round(PARTS * one) for one in kept]
        self._stale[row] = None
        return self._test(at_ms) if good < 1.0 else None  # what is right makes no sum grow

    def limit(self, share: float) -> None:
        """Let what speaks for a change by now be this share of the threshold, at most."""
        most = self._method.threshold * share
        statistic = self.statistic
        if statistic > most:
            self._started *= most / statistic

    def dump(self) -> State:
        """As plain values."""
        return [
            self._step,
            self._seen,
            [self._level.good, self._level.bad],
            self._coming,
            self._started.tolist(),
            [
                [one.name, one.level.good, one.level.bad, one.step, _not_empty(self._kept[row])]
                for row, one in enumerate(self._labelers)
            ],
        ]

    def _load(self, state: State) -> None:
        step, seen, level, coming, started, labelers = cast("list[Any]", state)
        self._step, self._seen, self._level, self._coming = int(step), int(seen), _Level(*level), float(coming)
        self._started[:] = started
        for name, good, bad, last, kept in labelers:
            row = self._add(_Labeler(name, _Level(good, bad), int(last)))
            for number, values in kept:
                check_config(len(values) == self._kept.shape[2], f"the state is not of {len(self._sizes)} bets")
                self._kept[row, number] = values

    def _row(self, labeler_id: str) -> int:
        row = self._rows.get(labeler_id)
        if row is None:
            level = self._level.value
            row = self._add(_Labeler(labeler_id, _Level(PRIOR * level, PRIOR * (1.0 - level)), self._step))
        return row

    def _add(self, labeler: _Labeler) -> int:
        row = self._rows[labeler.name] = len(self._labelers)
        self._labelers.append(labeler)
        if row == len(self._kept):
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)])
            self._gains = np.concatenate([self._gains, np.zeros_like(self._gains)])
        self._stale[row] = None
        return row

    def _turn_to(self, step: int) -> None:
        """Begin a step: what was started longest ago ends."""
        by = min(step - self._step, STARTS)
        self._step = step
        for by_step in (self._kept.swapaxes(0, 1), self._started):
            by_step[by:] = by_step[: STARTS - by].copy()
            by_step[:by] = 0
        self._started[0], self._coming = self._coming, 0.0
        self._stale.update(dict.fromkeys(range(len(self._labelers))))
        if any(step - one.step > FORGOTTEN for one in self._labelers):
            self._forget()

    def _forget(self) -> None:
        """Labelers of whom nothing came for long; they have nothing in any step."""
        known = [(one, self._kept[row].copy()) for row, one in enumerate(self._labelers)]
        self._labelers, self._rows, self._stale = [], {}, {}
        self._kept[:] = 0
        for one, kept in known:
            if self._step - one.step <= FORGOTTEN:
                self._kept[self._add(one)] = kept

    def _logs(self) -> Floats:
        """Log of R, by start."""
        rows = list(self._stale)
        if rows:
            gained = np.minimum(np.cumsum(self._kept[rows, :, :_GOOD], axis=1) / PARTS, _MOST_LOG)
            factors = (np.exp(gained) * self._weights).sum(axis=2)
            self._gains[rows] = np.log1p(SHARE * (factors - 1.0))
            self._stale = {}
        return cast(Floats, np.minimum(self._gains[: len(self._labelers)].sum(axis=0), _MOST_LOG))

    def _test(self, at_ms: int) -> Finding | None:
        statistic = self.statistic
        if statistic < self._method.threshold or self._seen < self._method.min_count:
            return None
        finding = self._finding(statistic, at_ms)
        if finding is None:
            return None
        self._kept[:] = 0
        self._started[:] = 0.0
        self._seen, self._coming = 0, 1.0
        self._stale = dict.fromkeys(range(len(self._labelers)))
        return finding

    def _finding(self, statistic: float, at_ms: int) -> Finding | None:
        """Of the start that says most, and the labelers who probably changed since; None if it is on nobody."""
        start = int(np.argmax(self._started * np.exp(self._logs())))
        changed = _changed(self._gains[: len(self._labelers), start])
        if not len(changed):  # so many starts that their number alone reaches a low threshold
            return None
        kept = self._kept[changed, : start + 1].sum(axis=1) / PARTS
        good, seen = float(kept[:, _GOOD].sum()), float(kept[:, _SEEN].sum())
        before = sum(
            self._labelers[row].level.value * count for row, count in zip(changed, kept[:, _SEEN], strict=True)
        )
        levels = float(before) / seen, good / seen
        baseline, level = levels if self._method.direction == "down" else (1.0 - one for one in levels)
        return Finding(
            at_ms=at_ms,
            direction=self._method.direction,
            statistic=statistic,
            threshold=self._method.threshold,
            baseline=baseline,
            level=level,
            since_ms=(self._step - start) * STEP_MS,
            answers=int(seen),
            e_value=statistic,
            labelers=tuple(self._labelers[row].name for row in changed.tolist()),
        )


def _changed(gains: Floats) -> Ints:
    """Rows of those whom it is about: who surely changed, or if most of the evidence is others', all whom any is on."""
    sure = (1.0 - SHARE) * np.exp(-gains) <= 1.0 - SURE
    if 2.0 * gains[sure].sum() < gains[gains > 0.0].sum():
        sure = gains > 0.0
    return np.flatnonzero(sure)


def _not_empty(rows: Ints) -> list[list[object]]:
    """Rows with anything in them, with their numbers."""
    return [[number, rows[number].tolist()] for number in np.flatnonzero(rows.any(axis=1)).tolist()]
