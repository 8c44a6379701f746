"""What labelers of one label space have in common: how good they are on average, and how much they differ.

Concentrations say how far a labeler with little evidence is believed to be like the others. They are estimated by the
method of moments: counts of hits that scatter more than a binomial say how much the rates behind them differ (J. C.
Kleinman, *Proportions with Extraneous Variance: Single and Independent Samples*, JASA 68, 1973). A prior keeps the
estimate sensible while there is little to estimate from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Accuracy to begin with, on ordinary and on hard tasks of a class, and how many answers that is worth.
FIRST_ACCURACY: Final = (0.9, 0.7)
FIRST_ANSWERS: Final = 50.0
#: Concentrations lie in here: below, one answer would say everything; above, nothing would say anything.
LOWEST: Final = 1.0
HIGHEST: Final = 200.0


class Overdispersion:
    """Estimates the concentration of a beta law from counts of hits.

    Args:
        concentration: what to believe before there is data.
        weight: how many answers' worth of information that is.

    >>> alike, unlike = Overdispersion(20, weight=10), Overdispersion(20, weight=10)
    >>> for hits in (79, 80, 81):
    ...     alike.add(hits, 100, 0.8)
    >>> for hits in (60, 80, 100):
    ...     unlike.add(hits, 100, 0.8)
    >>> round(alike.concentration(), 1), round(unlike.concentration(), 1)
    (200.0, 6.2)
    """

    __slots__ = ("_excess", "_information")

    def __init__(self, concentration: float, weight: float) -> None:
        self._excess = weight / (1.0 + concentration)
        self._information = weight

    def add(self, hits: float, trials: float, rate: float) -> None:
        """See that somebody had so many hits in so many trials, where ``rate`` was expected."""
        if trials < 2.0:
            return
        variance = rate * (1.0 - rate)
        self._excess += (hits - trials * rate) ** 2 / trials - variance
        self._information += (trials - 1.0) * variance

    def concentration(self) -> float:
        """Pseudo-counts that a labeler's law is worth."""
        correlation = self._excess / self._information
        return min(max(1.0 / max(correlation, 1e-6) - 1.0, LOWEST), HIGHEST)


@dataclass(frozen=True, slots=True)
class Population:
    """What is believed of a labeler of whom nothing is known yet.

    >>> Population().accuracy
    0.8
    """

    accuracies: tuple[float, ...] = FIRST_ACCURACY
    """Mean accuracy by kind of task: ordinary, hard."""
    concentration: float = 20.0
    """How alike labelers' accuracies are: pseudo-counts of the beta law around the mean."""
    rate_concentration: float = 50.0
    """The same by kind of task, believed more slowly: what rows that have seen little start from."""
    row_concentration: float = 5.0
    """How alike a labeler's classes are: pseudo-counts of the Dirichlet law around the one-coin form."""
    share_hard: float = 0.5
    """Share of hard tasks, as last estimated."""

    @property
    def accuracy(self) -> float:
        """Mean accuracy over ordinary and hard tasks."""
        return self.accuracies[0] * (1.0 - self.share_hard) + self.accuracies[-1] * self.share_hard
