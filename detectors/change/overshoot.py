"""How much longer the average run length (ARL) of an e-SR detector is than its threshold: simulated, for many at once.

M weighs how probable what was seen is after a change, at any time and of the sizes that are bet on, against no change.
So the ARL at a threshold is the harmonic mean of M where it first reaches that, over runs in which such a change does
come; those are short, however long the ARL is. (As in importance sampling: 1 = P(T < inf) = sum over bets k and starts
j of w_k E_kj[1 / M_T; T >= j], and the sum over j of P(T >= j) is the ARL.)

One run goes through all thresholds on its way up, and so one simulation tells the ARL of each of them. Beyond them the
ratio of the two is a constant (renewal theory; M. Pollak, *Average run lengths of an optimal method of detecting a
change in distribution*, Annals of Statistics 15, 1987).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.change.bets import Bet
from detectors.change.finding import check_config
from detectors.change.fleet import Floats

#: Simulated changes: the standard error of the ARL is then below 1 % (up to levels of .99).
RUNS: Final = 4_000
#: Answers in control before a simulated change; how much a false alarm overshoots does not depend on them.
BEFORE: Final = 100
#: Steps until a run is given up, at most a second. It matters for levels next to 1 and for tiny changes only, which
#: take for ever to be seen.
STEPS: Final = 2_000
#: Fewer runs than that tell nothing: of low thresholds, which nearly all reach before the change.
FEWEST: Final = 400
#: ARLs are lowered by as much of their standard error.
ERRORS: Final = 2.0
#: No threshold is lower: at 1, everything is a finding.
LOWEST: Final = 1.5
#: Simulated are thresholds up to so many times what comes at once, in so many steps for each doubling.
HIGHEST: Final = 10_000.0
_STEPS_OF_DOUBLING: Final = 16
#: Doublings below the highest threshold over which the smallest ratio is taken for what is beyond it. Near a level of 1
#: a wrong answer multiplies M by up to 50 (5.6 doublings), and the ratio goes up and down with that.
_TAIL: Final = 6


class RunLengths(NamedTuple):
    """ARLs that are kept to at ascending thresholds, never falling."""

    thresholds: Floats
    arls: Floats

    def threshold(self, arl: float) -> float:
        """The lowest threshold for an ARL: between two of them, or beyond by the smallest of the last ratios."""
        if arl > self.arls[-1]:
            last = slice(-_TAIL * _STEPS_OF_DOUBLING, None)
            return arl / float((self.arls[last] / self.thresholds[last]).min())
        return float(np.exp(np.interp(math.log(arl), np.log(self.arls), np.log(self.thresholds))))


@lru_cache(maxsize=256)
def run_lengths_of(bets: tuple[Bet, ...], level: float, at_once: int, seed: int) -> RunLengths:
    """The ARL of an e-SR detector for answers at all thresholds: simulated once, in a tenth of a second.

    >>> from detectors.change.bets import bets_on
    >>> found = run_lengths_of(bets_on(0.92, 0.1), 0.92, 1, 1)
    >>> [round(found.threshold(arl), -1) for arl in (1_000, 10_000, 1e9)]
    [640.0, 6400.0, 660010940.0]
    """
    doublings = math.log2(HIGHEST * at_once / LOWEST)
    thresholds = LOWEST * 2.0 ** (np.arange(math.ceil(doublings) * _STEPS_OF_DOUBLING) / _STEPS_OF_DOUBLING)
    arls, errors = simulated_arls(bets, level, thresholds, np.random.default_rng(seed), at_once=at_once)
    return RunLengths(thresholds, np.maximum.accumulate(np.maximum(arls * (1.0 - ERRORS * errors), thresholds)))


def simulated_arl(
    bets: tuple[Bet, ...], level: float, threshold: float, generator: np.random.Generator, *, at_once: int = 1
) -> tuple[float, float]:
    """The ARL of an e-SR detector for answers, and its relative standard error.

    >>> from detectors.change.bets import bets_on
    >>> arl, error = simulated_arl(bets_on(0.92, 0.1), 0.92, 1_000, np.random.default_rng(1))
    >>> round(arl), round(error, 3)
    (1582, 0.005)
    """
    arls, errors = simulated_arls(bets, level, np.array([threshold], dtype=np.float64), generator, at_once=at_once)
    return float(arls[0]), float(errors[0])


def simulated_arls(
    bets: tuple[Bet, ...], level: float, thresholds: Floats, generator: np.random.Generator, *, at_once: int = 1
) -> tuple[Floats, Floats]:
    """The ARL at each of some ascending thresholds, and their relative standard errors.

    The ARL is at least the threshold, whatever happens. So that is said where too few runs are left to tell, and a run
    that is given up counts as if it reached all that was left without overshooting.

    Raises:
        ValueError: ``at_once`` is not above 0.
    """
    check_config(at_once > 0, f"at_once must be above 0, not {at_once}")
    sizes, weights = np.array([[bet.size] for bet in bets]), np.array([bet.weight for bet in bets])
    after = level * (1.0 - sizes[:, 0]) / (1.0 - level * sizes[:, 0])
    levels = after[generator.choice(len(bets), size=RUNS, p=weights)]
    sums = np.zeros((len(bets), RUNS))
    reached = np.zeros(RUNS, dtype=np.int64)  # how many of the thresholds each run has reached
    reciprocals = _Reciprocals(len(thresholds))
    for step in range(1, STEPS + BEFORE // at_once + 1):
        is_before = step * at_once <= BEFORE
        now = level if is_before else levels
        if at_once == 1:  # the same, ten times as fast
            factors = (1.0 - sizes * (generator.random(len(levels)) < now)) / (1.0 - sizes * level)
        else:
            right = generator.binomial(at_once, now, len(levels))
            factors = (1.0 - sizes) ** right / (1.0 - sizes * level) ** at_once
        sums = (sums + at_once) * factors
        statistic = weights @ sums
        higher = np.maximum(np.searchsorted(thresholds, statistic, side="right"), reached)
        if not is_before:  # a false alarm before the change is no run
            up = higher > reached
            reciprocals.add(reached[up], higher[up], 1.0 / statistic[up])
        reached = higher
        running = reached < len(thresholds)
        if not running.all():
            sums, levels, reached = sums[:, running], levels[running], reached[running]
        if not len(levels):
            break
    for first in reached.tolist():
        reciprocals.add_each(first, 1.0 / thresholds[first:])
    arls, errors, runs = reciprocals.harmonic_means()
    is_told = runs >= FEWEST
    return np.where(is_told, arls, thresholds), np.where(is_told, errors, 0.0)


class _Reciprocals:
    """Numbers, their sums and sums of squares at each threshold."""

    def __init__(self, thresholds: int) -> None:
        self._steps = np.zeros((3, thresholds + 1))
        self._sums = np.zeros((3, thresholds))

    def add(self, first: NDArray[np.int64], last: NDArray[np.int64], values: Floats) -> None:
        """The same value at all thresholds of a run from the first to before the last."""
        for row, amounts in enumerate((np.ones(len(values)), values, values * values)):
            np.add.at(self._steps[row], first, amounts)
            np.subtract.at(self._steps[row], last, amounts)

    def add_each(self, first: int, values: Floats) -> None:
        """A value at each threshold from the first on."""
        self._sums[:, first:] += (np.ones(len(values)), values, values * values)

    def harmonic_means(self) -> tuple[Floats, Floats, Floats]:
        """They, their relative standard errors, and how many numbers they are of (where none: of 1 alone)."""
        count, total, squares = self._sums + np.cumsum(self._steps, axis=1)[:, :-1]
        is_there = count > 0.5
        mean = np.divide(total, count, out=np.ones_like(total), where=is_there)
        square = np.divide(squares, count, out=np.ones_like(total), where=is_there)
        spread = np.sqrt(np.maximum(square - mean * mean, 0.0) / np.maximum(count, 1.0))
        return 1.0 / mean, spread / mean, count
