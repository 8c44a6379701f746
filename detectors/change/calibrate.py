"""Thresholds for an average run length (ARL): exact where there is a formula, simulated where there is none.

Randomness is an argument. The same seed gives the same threshold; it is rounded up to three digits, so that another
version of numpy hardly ever gives another one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
from scipy.special import bdtr, betaincinv, ndtr

from detectors.change.cusum import BernoulliCusum, GaussianCusum, bernoulli_penalty
from detectors.change.e_process import EProcess, Form, Learning
from detectors.change.finding import Direction, check_config
from detectors.change.fleet import EFleet, run_lengths
from detectors.change.overshoot import LOWEST, run_lengths_of
from detectors.change.seasonal import HOURS, Seasonal
from detectors.change.threshold import FixedThreshold

#: Thresholds are raised by as much of the ARL's standard error.
ERRORS: Final = 2.0
#: Of the prior of a level that is learned: the ARL is met there. At higher levels M overshoots more, and it is longer.
LOW_QUANTILE: Final = 0.1
#: A level that is learned from a prior with fewer answers of the rarer kind: the first 50 answers mostly have none, and
#: it is thought to be nearer to 1 (or 0) than it is. The ARL at .985 was .65 of the declared one, at .975 .75.
#: The threshold of the theorem makes up for it.
FEWEST_OF_PRIOR: Final = 0.5
#: How much higher a threshold is where answers wait before a level is learned from them. Without it, the ARL over a
#: fleet around .90 was .83 to .9 of what it should be, for lags of 30 to 100 and ARLs of 1,000 to 50,000.
LAG_SURCHARGE: Final = 1.25
#: How much higher the threshold of a seasonal baseline is: where busy hours vary more than nights do, scores far out
#: follow each other. Without it, the ARL over counts with a daily rhythm was .52 (at 700) to .21 (at 33,600) of the
#: declared one; with a quarter more at least 1.06.
SEASONAL_SURCHARGE: Final = 1.3
#: ARL of an e-CUSUM up to which it is simulated, the runs in which a wrong answer is never seen being given up; and the
#: highest level at which such an ARL says anything of a longer one: there are ten wrong answers in it.
LONGEST_SIMULATED: Final = 1_000.0
PATIENCE: Final = 20
HIGHEST_LEVEL: Final = 0.99
#: Nothing is calibrated for a longer ARL: no operation waits that long, and numbers lose their digits.
LONGEST: Final = 1e12
#: Highest threshold of a CUSUM of answers: a tenth of a second for its exact ARL.
HIGHEST_CUSUM: Final = 50_000
#: Intervals into which a Gaussian CUSUM's sum is cut.
CELLS: Final = 200

Mode = Literal["calibrated", "guaranteed"]


def e_process(
    arl: float,
    level: float,
    generator: np.random.Generator,
    *,
    smallest_drop: float = 0.1,
    mode: Mode = "calibrated",
    form: Form = "sr",
    direction: Direction = "down",
    min_count: int = 0,
    learning: Learning | None = None,
    variance: float | None = None,
    at_once: int = 1,
) -> EProcess:
    """An e-detector for an ARL of so many answers.

    *Guaranteed*: the threshold is the ARL itself. *Calibrated*, for answers (0 or 1): it is lowered by what the
    e-detector overshoots it, so that the ARL is met and not exceeded on streams at the level exactly; where the level
    is learned, at a low level of the prior; it is not lowered where that level is next to 0 or 1.

    The answer is a function of the arguments and of one number from the generator, for which what takes time is kept:
    asked again, for any ARL, it takes microseconds.

    Where answers come as counts of many at once, the overshoot is larger and the threshold lower still: say how many
    come ``at_once`` at least. Fewer would make more false alarms.

    Raises:
        ValueError: a number is out of range.

    >>> method = e_process(6_700, 0.92, np.random.default_rng(1))
    >>> method.threshold, e_process(6_700, 0.92, np.random.default_rng(1), mode="guaranteed").threshold
    (4310.0, 6700)
    """
    _check_arl(arl)
    method = EProcess(arl, level, smallest_drop, direction, min_count, learning, form, variance)
    lag = learning.lag if learning else 0
    if mode == "guaranteed":
        check_config(not lag, "nothing is guaranteed where answers wait to be learned from; take lag=0")
        return method
    check_config(at_once > 0, f"at_once must be above 0, not {at_once}")
    check_config(form == "sr", "calibrate.e_cusum is for e-CUSUM")
    check_config(variance is None, "only streams of answers can be calibrated; use mode='guaranteed'")
    good = method.good()
    if learning is not None:
        good = float(betaincinv(learning.prior * good, learning.prior * (1.0 - good), LOW_QUANTILE))
    seed = int(generator.integers(1 << 32))
    if learning is not None and learning.prior * min(method.good(), 1.0 - method.good()) < FEWEST_OF_PRIOR:
        return replace(method, threshold=_rounded_up(arl * (LAG_SURCHARGE if lag else 1.0)))
    threshold = run_lengths_of(method.bets(), good, at_once, seed).threshold(arl) * (LAG_SURCHARGE if lag else 1.0)
    return replace(method, threshold=_rounded_up(max(threshold, LOWEST)))


def _check_arl(arl: float) -> None:
    check_config(arl > 1, f"the average run length must be above 1, not {arl}")
    check_config(
        arl <= LONGEST,
        f"one false alarm in {arl:.0e} values is rarer than can be calibrated ({LONGEST:.0e}); allow more of them",
    )


def e_cusum(
    arl: float, level: float, generator: np.random.Generator, *, smallest_drop: float = 0.1, runs: int = 1_000
) -> EProcess:
    """An e-CUSUM for an ARL, from streams that are simulated to their end: half a second.

    A long ARL is to a short one as their thresholds, since with each answer as many sums leave zero. So none longer
    than `LONGEST_SIMULATED` is simulated.

    Raises:
        ValueError: a number is out of range, or the level is above .99.

    >>> e_cusum(500, 0.92, np.random.default_rng(1)).threshold
    48.2
    """
    _check_arl(arl)
    check_config(
        level <= HIGHEST_LEVEL,
        f"an e-CUSUM is calibrated for levels up to {HIGHEST_LEVEL:g}, not {level:g}; an e-SR has no such limit",
    )
    method = EProcess(arl, level, smallest_drop, form="cusum")
    simulated = min(arl, LONGEST_SIMULATED)
    threshold = simulated / 12.0
    for _ in range(2):
        threshold = max(threshold, LOWEST)
        fleet = EFleet(replace(method, threshold=threshold), runs)
        at_most = PATIENCE * int(simulated)
        lengths = run_lengths(fleet, np.full(runs, level), generator, at_most=at_most)
        threshold *= simulated / float(np.minimum(lengths, at_most).mean())
    threshold *= arl / simulated * (1.0 + ERRORS / math.sqrt(runs))
    return replace(method, threshold=_rounded_up(max(threshold, LOWEST)))


def bernoulli_cusum(
    arl: float, level: float, level_after: float, *, direction: Direction = "down", min_count: int = 0
) -> BernoulliCusum:
    """The CUSUM tuned to both levels, with the lowest threshold whose exact ARL is at least this.

    Raises:
        ValueError: a number is out of range, or the levels are so near to each other that the sum would have to go
            beyond all bounds.

    >>> method = bernoulli_cusum(6_700, 0.92, 0.80)
    >>> method.threshold, method.penalty, round(bernoulli_cusum_arl(0.92, method.penalty, method.threshold))
    (46, 7, 6820)
    """
    _check_arl(arl)
    good, after = (level, level_after) if direction == "down" else (1.0 - level, 1.0 - level_after)
    penalty = bernoulli_penalty(good, after)
    low, high = 0, penalty  # the ARL is below at low, and not at high
    while bernoulli_cusum_arl(good, penalty, high) < arl:
        low, high = high, 2 * high
        check_config(
            high <= HIGHEST_CUSUM, f"a CUSUM for {good:g} against {after:g} would be too slow; take a larger drop"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bernoulli_cusum_arl(good, penalty, middle) < arl else (low, middle)
    return BernoulliCusum(high, penalty, level, direction, min_count)


def bernoulli_cusum_arl(level: float, penalty: int, threshold: int) -> float:
    """The exact ARL: expected answers from 0 until the sum, a Markov chain, reaches the threshold.

    From s they are t(s) = 1 + level t(max(s - 1, 0)) + (1 - level) t(s + penalty). Divided by level, that is a
    recursion downwards from t(threshold - 1), which the equation at 0 then tells.

    >>> round(bernoulli_cusum_arl(0.92, 7, 1), 2)  # the first wrong answer
    12.5
    """
    constant, slope = [0.0] * (threshold + penalty), [0.0] * (threshold + penalty)
    slope[threshold - 1] = 1.0
    for s in range(threshold - 1, 0, -1):
        for one, step in ((constant, 1.0), (slope, 0.0)):
            one[s - 1] = (one[s] - step - (1.0 - level) * one[s + penalty]) / level
    wrong = 1.0 - level
    last = (1.0 + wrong * constant[penalty] - wrong * constant[0]) / (wrong * slope[0] - wrong * slope[penalty])
    return constant[0] + slope[0] * last


def gaussian_cusum(
    arl: float,
    mean: float,
    deviation: float,
    *,
    shift: float = 1.0,
    direction: Direction = "down",
    min_count: int = 0,
    clip: float | None = None,
) -> GaussianCusum:
    """The CUSUM for a shift of so many deviations, for normal values around a known mean.

    Clipped values make it fire later at most.

    >>> method = gaussian_cusum(465, mean=0.0, deviation=1.0, shift=1.0)
    >>> round(method.threshold, 2), round(gaussian_cusum_arl(1.0, 4.0))  # half of what two sides have: 168
    (4.32, 335)
    """
    return GaussianCusum(_gaussian_threshold(arl, shift), mean, deviation, shift, direction, min_count, clip)


@lru_cache(maxsize=256)
def _gaussian_threshold(arl: float, shift: float) -> float:
    _check_arl(arl)
    check_config(shift > 0, f"shift must be above 0, not {shift}")
    low, high = 0.0, 4.0
    while gaussian_cusum_arl(shift, high) < arl:
        low, high = high, 2.0 * high
    while high - low > 1e-3:
        middle = (low + high) / 2.0
        low, high = (middle, high) if gaussian_cusum_arl(shift, middle) < arl else (low, middle)
    return _rounded_up(high)


def gaussian_cusum_arl(shift: float, threshold: float) -> float:
    """The ARL of a CUSUM of standard normal values, as a Markov chain on intervals of its sum.

    D. Brook and D. A. Evans, *An approach to the probability distribution of CUSUM run length*, Biometrika 59, 1972.
    """
    width = threshold / (CELLS - 0.5)  # the first cell is 0, and half as wide
    centres = width * np.arange(CELLS)
    above = ndtr(centres[None, :] - centres[:, None] + shift / 2.0 + width / 2.0)
    moves = np.diff(above, axis=1, prepend=0.0)
    return float(np.linalg.solve(np.eye(CELLS) - moves, np.ones(CELLS))[0])


def seasonal(arl: float, *, shift: float = 1.5, direction: Direction = "down", min_count: int = HOURS) -> Seasonal:
    """A seasonal baseline for an ARL in values, after those that are only learned from.

    Its scores are standard normal over a fortnight, not over each hour of the day; so its threshold is that of the
    Gaussian CUSUM, and more.

    >>> seasonal(1_000).threshold
    4.61
    """
    threshold = _rounded_up(SEASONAL_SURCHARGE * gaussian_cusum(arl, 0.0, 1.0, shift=shift).threshold)
    return Seasonal(threshold, shift, direction, min_count)


def fixed_threshold(
    arl: float, level: float, min_count: int, *, direction: Direction = "down"
) -> FixedThreshold | None:
    """The tightest limit on blocks of so many answers whose ARL is at least this; None where even "all wrong" is not.

    >>> fixed_threshold(6_700, 0.92, 50)
    FixedThreshold(limit=0.81, min_count=50, direction='down')
    """
    bad = 1.0 - level if direction == "down" else level

    def is_rare(allowed: int) -> bool:  # more bad answers than that
        return bool(min_count / arl >= 1.0 - bdtr(allowed, min_count, bad))

    allowed = bisect_left(range(min_count), True, key=is_rare)
    if allowed == min_count:
        return None
    share = (allowed + 0.5) / min_count
    return FixedThreshold(1.0 - share if direction == "down" else share, min_count, direction)


def _rounded_up(threshold: float) -> float:
    """Up to three digits.

    >>> _rounded_up(4321.0), _rounded_up(5.0731)
    (4330.0, 5.08)
    """
    unit = 10.0 ** (math.floor(math.log10(threshold)) - 2)
    return round(math.ceil(threshold / unit - 1e-9) * unit, 6)
