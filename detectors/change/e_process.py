"""E-detectors: e-processes that bet on a drop, one started at every value, summed (e-SR) or the best one (e-CUSUM).

While nothing changes the sum M grows by 1 a value on average, and so the average number of values until it reaches A is
at least A, for every law with the level in control or a better one: no simulation is needed (J. Shin, A. Ramdas,
A. Rinaldo, *E-detectors: a nonparametric framework for sequential change detection*, New England Journal of Statistics
in Data Science 2, 2024; definition 2.2, theorem 2.4). Bets: `bets`. The recursions, for bets k with weights w:

    e-SR     R_k = (R_k + 1) f_k(x)       M = sum of w_k R_k      (Shiryaev, Roberts)
    e-CUSUM  R_k = max(R_k, 1) f_k(x)     M = sum of w_k R_k      (Page)

Counts of n answers at once multiply all their factors, and start n processes before them: M still grows by n.

The level in control is known, or learned. Learned means a beta prior (the fleet's) that answers update: the factors'
denominators are then the probabilities that this prior predicts. If each answer updates it at once, M minus the number
of answers is a martingale for answers of a labeler drawn from the prior, so the average run length holds over labelers
like those, with no error of estimation left out. But then a change soon after the start teaches the detector a lower
level, and is found late. So answers wait (``lag``) before they are learned from, and calibration makes up for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, cast

from detectors.change.bets import Bet, bets_on
from detectors.change.finding import Direction, Finding, State, check_config, check_counts, check_share

Form = Literal["sr", "cusum"]
_MOST: Final = 1e290
_MOST_LOG: Final = 600.0
#: A right and a wrong answer that wait: one object for all labelers.
_RIGHT: Final = (1.0, 1)
_WRONG: Final = (0.0, 1)


@dataclass(frozen=True, slots=True)
class Learning:
    """How a level that is not known is learned.

    The prior says how levels differ between labelers: a beta law with the method's level as mean, worth ``prior``
    answers. Labelers between .84 and .96 are worth some 25.
    """

    prior: float = 25.0
    answers: int = 50
    """Answers that are only learned from, before the first is tested."""
    lag: int = 60
    """How many later answers an answer waits for before it is learned from; 0 where the theorem must hold."""
    memory: float = math.inf
    """Answers that the learned level may be worth at most: what persists for longer becomes the new level."""


@dataclass(frozen=True, slots=True)
class EProcess:
    """An e-detector for values from 0 to 1.

    ``threshold`` is an average run length in answers if it is to be guaranteed by theory, or what
    `calibrate.e_process` found for one, which is lower by what M overshoots.

    >>> method = EProcess(threshold=1_000, level=0.92)
    >>> detector = method.build()
    >>> for second in range(100):
    ...     assert detector.update(second % 12 != 0, 1_000 * second) is None  # 11 of 12 right
    >>> for second in range(100, 200):
    ...     if finding := detector.update(second % 3 != 0, 1_000 * second):  # 2 of 3
    ...         break
    >>> finding.at_ms, finding.since_ms, round(finding.level, 3), round(finding.statistic)
    (117000, 96000, 0.682, 1290)
    """

    threshold: float
    level: float
    """Mean in control, or with ``learning`` its mean over the fleet."""
    smallest_drop: float = 0.1
    direction: Direction = "down"
    min_count: int = 0
    learning: Learning | None = None
    form: Form = "sr"
    variance: float | None = None
    """Of one value in control, where values are not 0 or 1."""

    def __post_init__(self) -> None:
        check_config(self.threshold > 1.0, f"threshold must be above 1, not {self.threshold}")
        check_config(self.min_count >= 0, f"min_count must not be negative, not {self.min_count}")
        check_config(self.direction in ("down", "up"), f"direction must be down or up, not {self.direction}")
        check_config(self.form in ("sr", "cusum"), f"form must be sr or cusum, not {self.form}")
        if self.learning is not None:
            check_config(self.learning.prior > 0, f"prior must be above 0, not {self.learning.prior}")
            check_config(self.learning.lag >= 0, f"lag must not be negative, not {self.learning.lag}")
            check_config(self.learning.memory >= self.learning.prior, "memory must be at least the prior")
        self.bets()

    def good(self) -> float:
        """The level in control, of what is good: rising is bad is falling of the rest."""
        return self.level if self.direction == "down" else 1.0 - self.level

    @property
    def highest(self) -> float:
        """No level is learned that is higher: where nothing ever went wrong, the first slip would be a change."""
        return max(self.good(), 1.0 - self.smallest_drop / 20.0)

    def bets(self) -> tuple[Bet, ...]:
        """What is bet on."""
        return bets_on(self.good(), self.smallest_drop, self.variance)

    def build(self, state: State | None = None) -> EDetector:
        """A detector at its beginning, or at a dumped state."""
        return EDetector(self, state)


class EDetector:
    """The state of one stream; `EProcess` says what it does."""

    __slots__ = (
        "_bad",
        "_best",
        "_factors",
        "_good",
        "_highest",
        "_learning",
        "_level",
        "_method",
        "_right",
        "_seen",
        "_sizes",
        "_starts",
        "_statistic",
        "_sums",
        "_threshold",
        "_waiting",
        "_waiting_seen",
        "_weights",
    )

    def __init__(self, method: EProcess, state: State | None = None) -> None:
        self._method = method
        self._learning = method.learning
        self._highest = method.highest
        self._threshold = method.threshold
        bets = method.bets()
        self._sizes = [bet.size for bet in bets]
        self._weights = [bet.weight for bet in bets]
        prior = method.learning.prior if method.learning else 0.0
        self._good = prior * method.good()
        self._bad = prior - self._good
        self._seen = 0
        """Values tested since the start or the last finding; below 0 while the level is only learned."""
        if method.learning:
            self._seen = -method.learning.answers
        self._right = 0.0
        self._waiting: list[tuple[float, int]] = []
        """Sums and numbers of the latest values, not learned from yet; and how many values they are."""
        self._waiting_seen = 0
        self._sums = [0.0] * len(bets)
        self._best = [0.0] * len(bets)
        self._starts: list[tuple[int, float, int] | None] = [None] * len(bets)
        self._statistic = 0.0
        if state is not None:
            self._load(state)
        self._set_level()

    @property
    def statistic(self) -> float:
        """The value of the e-detector."""
        return self._statistic

    @property
    def level(self) -> float:
        """The level in control, known or learned by now."""
        return self._level if self._method.direction == "down" else 1.0 - self._level

    @property
    def is_ripe(self) -> bool:
        """Whether so much was seen that a finding is allowed."""
        return self._seen >= max(self._method.min_count, 1)

    def update(self, value: float, at_ms: int, relative: float = 1.0) -> Finding | None:
        """Take one value from 0 to 1.

        Args:
            value: what came.
            at_ms: its time.
            relative: what is expected of it in control, as a multiple of the level. The level that is learned, and
                that of a finding, are those of values of which 1 was expected.
        """
        down = self._method.direction == "down"
        good = check_share(value) if down else 1.0 - check_share(value)
        factors, adjusted = self._factors, good
        if relative != 1.0:
            level = self._level * relative if down else 1.0 - (1.0 - self._level) * relative
            factors = self._factors_at(min(max(level, 0.0), self._highest))
            adjusted = value / relative if down else 1.0 - value / relative
        found = None
        if self._seen >= 0:
            factors = [f - f * g * good for f, g in zip(factors, self._sizes, strict=True)]
            found = self._test(factors, adjusted, 1, at_ms)
            if self._learning is not None:
                self._wait(adjusted, 1)
        else:
            self._seen += 1
            self._learn(adjusted, 1)
        return found

    def update_counts(self, right: int, seen: int, at_ms: int) -> Finding | None:
        """Take counts of answers. ``right`` are those that are 1: where rising is bad, the bad ones."""
        check_counts(right, seen)
        if not seen:
            return None
        good = right if self._method.direction == "down" else seen - right
        found = None
        if self._seen >= 0:
            log_null = self._log_null(good, seen)
            logs = [good * math.log1p(-g) - seen * math.log1p(-g * self._level) - log_null for g in self._sizes]
            found = self._test([math.exp(min(one, _MOST_LOG)) for one in logs], good, seen, at_ms)
            if self._method.learning:
                self._wait(good, seen)
        else:
            self._seen = min(self._seen + seen, 0)
            self._learn(good, seen)
        return found

    def limit(self, share: float) -> None:
        """Let what speaks for a change by now be this share of the threshold, at most.

        Made smaller, an e-detector is one all the same.
        """
        most = self._threshold * share
        if self._statistic > most:
            factor = most / self._statistic
            self._sums = [one * factor for one in self._sums]
            self._best = [one * factor for one in self._best]
            self._statistic = self._weighed()

    def conclude(self, at_ms: int) -> Finding:
        """The finding of what speaks for a change by now: for who decides on many detectors together.

        Raises:
            ValueError: nothing was tested yet.
        """
        check_config(any(self._starts), "nothing was tested yet")
        return self._found(self.statistic, at_ms)

    def dump(self) -> State:
        """As plain values."""
        starts = [list(start) if start else None for start in self._starts]
        waiting = [list(one) for one in self._waiting]
        return [self._good, self._bad, self._seen, self._right, list(self._sums), list(self._best), starts, waiting]

    def _load(self, state: State) -> None:
        good, bad, seen, right, sums, best, starts, waiting = state
        self._good, self._bad, self._right = (float(cast(float, one)) for one in (good, bad, right))
        self._seen = int(cast(int, seen))
        self._sums = [float(one) for one in cast(list[float], sums)]
        self._best = [float(one) for one in cast(list[float], best)]
        self._starts = [
            (int(start[0]), float(start[1]), int(start[2])) if start else None
            for start in cast(list[list[float] | None], starts)
        ]
        self._waiting = [(float(good), int(seen)) for good, seen in cast(list[tuple[float, int]], waiting)]
        self._waiting_seen = sum(seen for _, seen in self._waiting)
        kept = len(self._sizes)
        check_config(
            len(self._sums) == len(self._best) == len(self._starts) == kept, f"the state is not of {kept} bets"
        )
        self._statistic = self._weighed()

    def _weighed(self) -> float:
        statistic = 0.0
        values = self._sums if self._method.form == "sr" else self._best
        for weight, value in zip(self._weights, values, strict=True):  # in the order of `_test`, to the last bit
            statistic += weight * value
        return statistic

    def _test(self, factors: list[float], good: float, seen: int, at_ms: int) -> Finding | None:
        """Let every bet have its factor; ``good`` is the sum of the ``seen`` values."""
        sums, best, starts = self._sums, self._best, self._starts
        here = (self._seen, self._right, at_ms)
        statistic = 0.0
        is_sr = self._method.form == "sr"
        for k, factor in enumerate(factors):
            longest = best[k]
            if longest <= 1.0:
                longest, starts[k] = 1.0, here
            longest *= factor
            best[k] = longest = longest if longest < _MOST else _MOST
            total = (sums[k] + seen) * factor
            sums[k] = total = total if total < _MOST else _MOST
            statistic += self._weights[k] * (total if is_sr else longest)
        self._seen += seen
        self._right += good
        self._statistic = statistic
        if statistic < self._threshold or self._seen < self._method.min_count:
            return None
        return self._found(statistic, at_ms)

    def _found(self, statistic: float, at_ms: int) -> Finding:
        """Say what was found, and begin anew."""
        k = max(range(len(self._best)), key=self._best.__getitem__)
        start = self._starts[k]
        assert start is not None, "every test starts or goes on with a start"
        answers = self._seen - start[0]
        level = (self._right - start[1]) / answers
        down = self._method.direction == "down"
        finding = Finding(
            at_ms=at_ms,
            direction=self._method.direction,
            statistic=statistic,
            threshold=self._method.threshold,
            baseline=self.level,
            level=level if down else 1.0 - level,
            since_ms=start[2],
            answers=answers,
            e_value=statistic,
        )
        self._seen, self._right, self._statistic = 0, 0.0, 0.0
        for k in range(len(self._best)):
            self._sums[k] = self._best[k] = 0.0
            self._starts[k] = None
        return finding

    def _wait(self, good: float, seen: int) -> None:
        """Learn from what has waited for long enough."""
        learning = self._learning
        assert learning is not None
        if not learning.lag:
            self._learn(good, seen)
            return
        waiting = self._waiting
        waiting.append((_RIGHT if good else _WRONG) if seen == 1 and good in (0.0, 1.0) else (good, seen))
        self._waiting_seen += seen
        while waiting and self._waiting_seen - waiting[0][1] >= learning.lag:
            oldest = waiting.pop(0)
            self._waiting_seen -= oldest[1]
            self._learn(*oldest)

    def _learn(self, good: float, seen: int) -> None:
        learning = self._learning
        assert learning is not None
        self._good += good
        self._bad += seen - good
        weight = self._good + self._bad
        if weight > learning.memory:
            self._good *= learning.memory / weight
            self._bad *= learning.memory / weight
        self._set_level()

    def _set_level(self) -> None:
        if self._learning is None:
            level = self._method.good()
        else:
            level = self._good / (self._good + self._bad)
            level = level if level < self._highest else self._highest
        self._level = level
        self._factors = self._factors_at(level)

    def _factors_at(self, level: float) -> list[float]:
        """What a value of 0 multiplies every bet by."""
        return [1.0 / (1.0 - g * level) for g in self._sizes]

    def _log_null(self, good: int, seen: int) -> float:
        """How much likelier a learned level makes counts than its mean does: levels differ, so counts vary more."""
        if not self._method.learning or seen == 1:
            return 0.0
        bad, a, b = seen - good, self._good, self._bad
        mixed = math.lgamma(a + good) - math.lgamma(a) + math.lgamma(b + bad) - math.lgamma(b)
        mixed += math.lgamma(a + b) - math.lgamma(a + b + seen)
        return mixed - good * math.log(self._level) - bad * math.log1p(-self._level)
