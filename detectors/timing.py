"""What goes into the forecast of a handling time, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

#: Below: too fast; above: too slow. One annotation in forty of ordinary work is either.
TOO_FAST: Final = 0.025
TOO_SLOW: Final = 0.975


class Work(NamedTuple):
    """One annotation, as far as its time goes."""

    labeler_id: str
    project_id: str
    task_type: str
    vendor_id: str
    task_id: str
    started_ms: int
    submitted_ms: int
    seconds: float | None
    """Trusted time (`detectors.handling_time.trusted_time`); None where there is none: it is forecast, not learned."""
    is_page_time: bool = False
    """Whether that is the time of all answers with the same start and submit time, not yet divided."""
    labeler_kind: str = "human"
    features: Mapping[str, object] = {}


class Expectation(NamedTuple):
    """A forecast in seconds. Intervals are 50 % and 90 % predictive intervals, the shortest rather than symmetric."""

    seconds: float
    low_50: float
    high_50: float
    low_90: float
    high_90: float
    learned: int
    """Annotations of the queue that it rests on."""


class Timing(NamedTuple):
    """A forecast and what came of it; None where the time is not trusted, or nothing was learned before."""

    expected: Expectation
    p_value: float | None = None
    """Conformal rank of the time among recent ones, from 0 (faster than nearly all) to 1 (slower)."""
    pace: float | None = None
    """Logarithm of time over forecast."""
    is_in_50: bool | None = None
    is_in_90: bool | None = None
    flag: str = ""
    """Why the time is not trusted: ``impossible`` (never learned), ``idle`` (far beyond what can be work: learned only
    as if it were a long time), or empty."""

    @property
    def is_too_fast(self) -> bool:
        """Out of line with what this labeler, task and moment make one expect; by itself no fault."""
        return self.p_value is not None and self.p_value <= TOO_FAST

    @property
    def is_too_slow(self) -> bool:
        """The same at the other end."""
        return self.p_value is not None and self.p_value >= TOO_SLOW
