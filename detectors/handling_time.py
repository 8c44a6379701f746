"""Handling time: which time of an annotation is to be trusted. What it should be: `detectors.expected_time`."""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple


class Queue(NamedTuple):
    """Work of one kind: people and models are not timed together."""

    project_id: str
    task_type: str
    labeler_kind: str


#: Durations below a millisecond have no useful logarithm.
SMALLEST_SECONDS: Final = 0.001

#: Nobody reads a task and answers it in less (seconds), by kind of label. What is faster was not measured, or was not
#: a person. Models may be as fast as they like.
FASTEST_SECONDS: Final = {"class": 0.2, "rating": 0.2, "multiclass": 0.3, "text": 0.5, "span": 0.5}

Origin = Literal["active", "clock"]
"""Told by the tool, or submit minus start."""


class TrustedTime(NamedTuple):
    """Seconds of work on one annotation, and whether they can be learned from."""

    seconds: float
    origin: Origin
    is_impossible: bool
    """Too short to be work. It is flagged, and no model learns it."""

    @property
    def is_page_time(self) -> bool:
        """Whether answers with the same start and submit time share it, undivided."""
        return self.origin == "clock"


def trusted_time(
    active_seconds: float | None, started_ms: int, submitted_ms: int, label_kind: str, labeler_kind: str = "human"
) -> TrustedTime:
    """The time to be trusted: active seconds where the tool gives them, else submit minus start.

    A time that is far too long is no less trusted here: somebody may have been at lunch, or the task is hard. It is
    learned as if it were somewhat long (`detectors.expected_time`).

    >>> trusted_time(12.5, 0, 900_000, "class")
    TrustedTime(seconds=12.5, origin='active', is_impossible=False)
    >>> trusted_time(None, 1_000, 1_100, "text")
    TrustedTime(seconds=0.1, origin='clock', is_impossible=True)
    """
    seconds = (submitted_ms - started_ms) / 1_000 if active_seconds is None else active_seconds
    fastest = FASTEST_SECONDS.get(label_kind, 0.0) if labeler_kind == "human" else 0.0
    is_impossible = not (seconds > 0.0 and seconds >= fastest and math.isfinite(seconds))
    return TrustedTime(seconds, "clock" if active_seconds is None else "active", is_impossible)
