"""How labelers err in their ratings: one labeler's decayed errors, and the law that follows from them.

The law is the posterior mean of a normal-inverse-gamma law (A. Gelman et al., *Bayesian Data Analysis*, 3rd edition,
section 3.3): the bias is shrunk to 0, the variance to that of the middle labeler.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from detectors.consensus import Answer
from detectors.evidence import RATING, Evidence
from detectors.forgetting import MAX_EXPONENT, Forgetting

#: How many ratings' worth of information it is that a labeler has no bias; that its variance is the middle one.
BIAS_RATINGS: Final = 5.0
VARIANCE_RATINGS: Final = 10.0
#: The variance of rounding to a step (W. F. Sheppard, 1898): nobody who rates on steps is more precise.
ROUNDING: Final = 1.0 / 12.0
#: Accuracies at least this far from 0 and 1.
MARGIN: Final = 1e-6


class Law(NamedTuple):
    """How a labeler errs: normal."""

    bias: float
    """Mean error."""
    variance: float
    """Of the errors, around the bias."""
    predictive: float
    """Of the next error, around the bias: that the bias is not known exactly adds to it."""

    def within(self, tolerance: float) -> float:
        """Probability that the next rating is no further than this from the true value.

        >>> round(Law(0.0, 1.0, 1.0).within(0.5), 3), round(Law(0.5, 0.25, 0.25).within(0.5), 3)
        (0.383, 0.477)
        """
        unit = math.sqrt(2.0 * self.predictive)
        chance = (math.erf((tolerance - self.bias) / unit) - math.erf((-tolerance - self.bias) / unit)) / 2.0
        return min(max(chance, MARGIN), 1.0 - MARGIN)


class Raters(NamedTuple):
    """What labelers of one space have in common."""

    variance: float
    """Of the middle labeler's errors."""
    step: float
    """Ratings less than half of it apart are as good as equal (`detectors.rating_scale`)."""
    gap: float
    """Between neighbouring ratings of the scale."""

    def law(self, weight: float, error: float, squared: float) -> Law:
        """Posterior mean of a labeler's law, given sums over its ratings.

        >>> law = Raters(variance=0.5, step=1.0, gap=1.0).law(weight=95.0, error=50.0, squared=60.0)
        >>> round(law.bias, 3), round(law.variance, 3)
        (0.5, 0.381)
        """
        ratings = max(weight, 0.0) + BIAS_RATINGS
        bias = error / ratings
        apart = VARIANCE_RATINGS * self.variance + max(squared - error * bias, 0.0)
        variance = max(apart / (VARIANCE_RATINGS + max(weight, 0.0)), ROUNDING * self.gap**2)
        return Law(bias, variance, variance * (1.0 + 1.0 / ratings))

    @property
    def population(self) -> tuple[float, float]:
        """Accuracy of a labeler of whom nothing is known, and how many ratings that is worth."""
        return self.law(0.0, 0.0, 0.0).within(self.step / 2.0), VARIANCE_RATINGS

    def to_moments(self) -> dict[str, float]:
        """As part of evidence. Not sums: of several source partitions' one counts."""
        return {"population_variance": self.variance, "step": self.step, "gap": self.gap}

    @classmethod
    def from_moments(cls, moments: Mapping[str, float]) -> Raters:
        """The inverse; a value that is missing or impossible, in evidence from elsewhere, is taken as 1."""
        known = [moments.get(name, 1.0) for name in ("population_variance", "step", "gap")]
        return cls(*(value if value > 0 else 1.0 for value in known))


class Rater:
    """Errors of one labeler: sums that are scaled so that an answer of clock reading ``base`` counts 1."""

    __slots__ = ("base", "error", "forgetting", "heard", "labels", "scale", "squared", "weight")

    def __init__(self) -> None:
        self.weight = 0.0
        """Own ratings that were held against something."""
        self.error = 0.0
        """Rating less the true value's posterior mean, summed."""
        self.squared = 0.0
        """Its square plus the posterior variance, summed."""
        self.heard: dict[int, Evidence] = {}
        """Other source partitions' evidence."""
        self.labels = 0
        self.forgetting = Forgetting()
        self.base = 0.0
        self.scale = 1.0

    def sums(self) -> tuple[float, float, float]:
        """Weight, error and squared error, as they weigh now, from all source partitions."""
        sums = (self.weight / self.scale, self.error / self.scale, self.squared / self.scale)
        return _added(sums, self.heard.values()) if self.heard else sums

    def count(self, answer: Answer, value: float, share: list[float], sign: float) -> None:
        """Add a rating's errors according to what was believed of its task (sign 1), or take them back (-1)."""
        unit = sign * 2.0 ** (answer.clock - self.base)
        error, squared = errors(value, share)
        self.weight += unit
        self.error += unit * error
        self.squared += unit * squared

    def rescale(self) -> None:
        """Follow the clock."""
        exponent = self.forgetting.clock - self.base
        if exponent > MAX_EXPONENT:
            factor = 2.0**-exponent
            self.weight, self.error, self.squared = self.weight * factor, self.error * factor, self.squared * factor
            self.base, exponent = self.forgetting.clock, 0.0
        self.scale = 2.0**exponent


def read_rating(parts: Iterable[Evidence]) -> tuple[float, Law, float]:
    """Effective ratings, law and accuracy of a labeler from every source partition's evidence.

    Sums add up; what is believed of the population is that of the partition which saw the labeler last.

    Raises:
        ValueError: no evidence.
    """
    parts = [one for one in parts if one.form == RATING]
    if not parts:
        raise ValueError("no evidence on ratings to add up")
    raters = Raters.from_moments(max(parts, key=lambda one: (one.seen_ms, one.labels)).moments)
    weight, error, squared = _added((0.0, 0.0, 0.0), parts)
    law = raters.law(weight, error, squared)
    return weight, law, law.within(raters.step / 2.0)


def _added(sums: tuple[float, float, float], parts: Iterable[Evidence]) -> tuple[float, float, float]:
    weight, error, squared = sums
    for one in parts:
        weight += one.moments.get("weight", 0.0)
        error += one.moments.get("error", 0.0)
        squared += one.moments.get("squared", 0.0)
    return weight, error, squared


def errors(value: float, share: list[float]) -> tuple[float, float]:
    """Error of a rating, and its expected square, by a task's mean and variance, and the bounds of that time."""
    mean, variance, low, high = share
    error = min(max(value, low), high) - mean
    return error, error * error + variance
