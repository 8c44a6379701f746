"""What the kinds of detectors do differently, for who runs any of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from detectors.change.cusum import BernoulliCusum
from detectors.change.e_process import EDetector, EProcess
from detectors.change.finding import Detector, Finding, Method
from detectors.change.seasonal import Seasonal, SeasonalDetector
from detectors.change.sparse import SparseDetector, SparseProcess
from detectors.change.threshold import FixedThreshold
from schemas.thresholds import MethodName

#: Methods that hold each value against what is expected of it.
ADJUSTED: Final[tuple[MethodName, ...]] = ("e_sr", "e_sr_guaranteed", "e_cusum", "e_sparse")
#: Methods that go on from their state when only the threshold is another one.
GO_ON: Final = (EProcess, SparseProcess, Seasonal, BernoulliCusum, FixedThreshold)


def feed(detector: Detector, value: float, at_ms: int, relative: float, labeler_id: str) -> Finding | None:
    """Take a value of a labeler; ``relative`` is what was expected of it, as a multiple of the level."""
    if isinstance(detector, SparseDetector):
        return detector.update(value, at_ms, relative, labeler_id)
    if relative == 1.0:
        return detector.update(value, at_ms)
    return e_detector(detector).update(value, at_ms, relative)


def doubt(detector: Detector, share: float) -> None:
    """Leave what speaks for a change at this share of the threshold, at most, where there is such evidence."""
    if isinstance(detector, EDetector | SparseDetector):
        detector.limit(share)


def as_when_found(
    detectors: Sequence[Detector], value: float, at_ms: int, baseline: float, *, is_ratio: bool
) -> tuple[float, float]:
    """A value of another hour than those in which a breach was found, as it counts beside the breach's levels.

    Args:
        detectors: of the scope; those that know no seasons leave the value as it is.
        value: what came.
        at_ms: its time.
        baseline: what was expected when the breach was found.
        is_ratio: the metric has a zero, and falls by half at night as by day; else by as much.

    Returns:
        The value and its weight: a mean is the sum of values through that of weights.

    >>> detector = Seasonal(8.0).build()
    >>> for hour in range(24 * 14):
    ...     _ = detector.update(20.0 if hour % 24 < 8 else 200.0, hour * 3_600_000)
    >>> as_when_found([detector], 10.0, 24 * 14 * 3_600_000, 200.0, is_ratio=True)  # of 20 at midnight
    (10.0, 0.1)
    >>> as_when_found([detector], 10.0, 24 * 14 * 3_600_000, 200.0, is_ratio=False)
    (190.0, 1.0)
    """
    known = next((one for one in detectors if isinstance(one, SeasonalDetector)), None)
    forecast = known.forecast(at_ms) if known is not None else math.nan
    if math.isnan(forecast):
        return value, 1.0
    if is_ratio and baseline > 0.0:
        return value, max(forecast, 0.0) / baseline
    return value - forecast + baseline, 1.0


def level_of(method: Method) -> float | None:
    """The level that a method's detectors begin with; None where they have none."""
    return method.level if isinstance(method, EProcess | SparseProcess) else None


def of_level(method: Method, level: float | None) -> Method:
    """The method as it was planned when the scope was new."""
    if isinstance(method, EProcess | SparseProcess) and level is not None:
        return replace(method, level=level)
    return method


def e_detector(detector: Detector) -> EDetector:
    """A detector that shares its budget with others, or adjusts."""
    assert isinstance(detector, EDetector), "only e-processes share their budget, or adjust"
    return detector
