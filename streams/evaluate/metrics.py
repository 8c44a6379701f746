"""How good forecasts and rankings are. NumPy and SciPy are imported where they are used, since --help need not wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BINS = 10
#: Simulated sets of outcomes behind a chance ECE: its standard error is then about a hundredth of its value.
CHANCE_DRAWS = 200
#: Labelers that a ranking should put last.
WORST_SHARE = 0.2


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float | None:
    """Mean distance of confidence and share right over bins of equal width, weighted by their forecasts.

    None without forecasts. (Naeini, Cooper & Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI; a confidence on the border of two bins is in the upper one, 1 in the last.)

    >>> round(expected_calibration_error([0.95, 0.95, 0.55, 0.55], [True, False, True, False]), 3)
    0.25
    """
    import numpy as np

    return _ece(np.asarray(confidences, float), np.asarray(right, float)[None, :], bins)


def chance_ece(
    confidences: Sequence[float], generator: np.random.Generator, draws: int = CHANCE_DRAWS, bins: int = BINS
) -> float | None:
    """The ECE that perfect forecasts with these confidences show on average: what so few outcomes leave to chance.

    >>> import numpy as np
    >>> round(chance_ece([0.5], np.random.default_rng(1)), 3)
    0.5
    """
    import numpy as np

    confidence = np.asarray(confidences, float)
    return _ece(confidence, generator.random((draws, len(confidence))) < confidence, bins)


def _ece(confidence: np.ndarray, outcomes: np.ndarray, bins: int) -> float | None:
    """Mean over sets of outcomes: ``confidence`` (n,), ``outcomes`` (sets, n)."""
    import numpy as np

    if not len(confidence):
        return None
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    distance = np.zeros(len(outcomes))
    for one in range(bins):
        inside = which == one
        distance += np.abs((outcomes[:, inside] - confidence[inside]).sum(axis=1))
    return float(distance.mean() / len(confidence))


def brier_score(confidences: Sequence[float], right: Sequence[bool]) -> float | None:
    """Mean squared distance of confidence and outcome; None without forecasts. (Brier 1950.)

    >>> round(brier_score([0.8, 0.6], [True, False]), 3)
    0.2
    """
    if not confidences:
        return None
    return sum((p - hit) ** 2 for p, hit in zip(confidences, right, strict=True)) / len(confidences)


def spearman(estimates: Sequence[float], truth: Sequence[float]) -> float | None:
    """Rank correlation, ties sharing their mean rank; None where either side has no order to compare.

    >>> round(spearman([0.9, 0.8, 0.7, 0.6], [0.95, 0.5, 0.7, 0.4]), 3)
    0.8
    """
    if min(len(set(estimates)), len(set(truth))) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(estimates, truth).statistic)


def auc_worst(estimates: Sequence[float], truth: Sequence[float], share: float = WORST_SHARE) -> float | None:
    """Probability that one of the truly worst ``share`` is estimated below one of the others; a tie counts half.

    Whoever is as bad as the last of the worst is one of them. None where that leaves no others. (The area under the
    ROC curve as the Mann-Whitney statistic: Hanley & McNeil 1982.)

    >>> auc_worst([0.5, 0.9, 0.4, 0.8, 0.7], [0.2, 0.9, 0.8, 0.7, 0.6])
    0.75
    """
    if not truth:
        return None
    from scipy.stats import rankdata

    last = sorted(truth)[max(1, round(share * len(truth))) - 1]
    worst = [accuracy <= last for accuracy in truth]
    bad, good = sum(worst), len(worst) - sum(worst)
    if not good:
        return None
    ranks = rankdata([-estimate for estimate in estimates])
    rank_sum = float(sum(rank for rank, is_worst in zip(ranks, worst, strict=True) if is_worst))
    return (rank_sum - bad * (bad + 1) / 2) / (bad * good)
