"""What the kinds of detectors do differently, for who runs any of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from detectors.change.cusum import BernoulliCusum
from detectors.change.e_process import EDetector, EProcess
from detectors.change.finding import Detector, Finding, Method
from detectors.change.seasonal import Seasonal
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
