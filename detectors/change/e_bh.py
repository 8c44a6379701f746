"""Many streams, one budget: which of many e-values may be believed together.

R. Wang and A. Ramdas, *False discovery rate control with e-values*, JRSS B 84, 2022: whatever the dependence between
the streams, at most a share alpha of those named is expected to be false. Run on values of e-detectors at any moment,
with alpha = 1 / ARL: the expected false share is at most alpha for each answer that a stream was watched, on average
(S. Dandapanthula and A. Ramdas, *Multiple testing in multi-stream sequential change detection*, 2025: error over
patience; e-d-BH). One stream of one is then the e-detector itself with its guaranteed threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from detectors.change.finding import check_config


def e_benjamini_hochberg(e_values: Sequence[float], alpha: float) -> list[int]:
    """Positions of the e-values to believe, largest first: the most r of which each is at least K / (r alpha).

    Raises:
        ValueError: alpha is not above 0, or an e-value is negative or not a number.

    >>> e_benjamini_hochberg([1.0, 90.0, 30.0, 0.5], alpha=0.1)
    [1, 2]
    >>> e_benjamini_hochberg([1.0, 30.0, 3.0, 0.5], alpha=0.1)  # alone, 30 is not enough among four
    []
    """
    check_config(alpha > 0, f"alpha must be above 0, not {alpha}")
    for value in e_values:
        if math.isnan(value) or value < 0:
            raise ValueError(f"an e-value must not be negative, not {value}")
    order = sorted(range(len(e_values)), key=lambda position: (-e_values[position], position))
    for named in range(len(order), 0, -1):
        if e_values[order[named - 1]] * named * alpha >= len(order):
            return order[:named]
    return []
