"""Handling time: which time of an annotation is to be trusted, and a simple forecast of it per queue.

The forecast is one mean of log-seconds per queue (river's ``Mean`` until it has seen enough, then its ``EWMean``), so
that it is a geometric mean: the typical time, which one unfinished lunch cannot move far, and which lies below the
average where times are skewed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, Literal, NamedTuple

from river.stats import EWMean, Mean


class Queue(NamedTuple):
    """Work of one kind: people and models are not timed together."""

    project_id: str
    task_type: str
    labeler_kind: str


class QueueState(NamedTuple):
    """A queue's state as plain values: how many were learned, and the mean of their log-seconds."""

    queue: Queue
    learned: int
    log_seconds: float


#: Queues remembered per model; the one idle longest is forgotten beyond it.
MAX_QUEUES: Final = 10_000
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


class _Level:
    """A mean that forgets, without giving its first value more weight than any other.

    An exponentially weighted mean that starts at its first value is still ruled by it a half-life later. So it is a
    plain mean until 1 / fading values were seen, which is when the two weigh a new value the same.
    """

    __slots__ = ("_fading", "_mean", "learned")

    def __init__(self, fading: float, learned: int = 0, log_seconds: float = 0.0) -> None:
        self._fading = fading
        self.learned = learned
        self._mean: Mean | EWMean = Mean._from_state(learned, log_seconds) if learned else Mean()
        self._hand_over()

    def get(self) -> float:
        return float(self._mean.get())

    def update(self, log_seconds: float) -> None:
        self._mean.update(log_seconds)
        self.learned += 1
        self._hand_over()

    def _hand_over(self) -> None:
        if isinstance(self._mean, Mean) and self.learned * self._fading >= 1.0:
            level = EWMean(self._fading)
            level.update(self._mean.get())  # the first update of an empty one sets it exactly
            self._mean = level


class HandlingTimeModel:
    """Forecasts seconds of work per queue.

    Args:
        half_life: annotations after which an old observation counts half.

    >>> model, queue = HandlingTimeModel(half_life=10), Queue("captions", "image_caption", "human")
    >>> model.forecast(queue) is None
    True
    >>> for seconds in (20.0, 30.0, 25.0):
    ...     model.learn(queue, seconds)
    >>> round(model.forecast(queue), 2)
    24.66
    """

    def __init__(self, half_life: float) -> None:
        self._fading = 1.0 - 0.5 ** (1.0 / half_life)
        self._levels: OrderedDict[Queue, _Level] = OrderedDict()

    def forecast(self, queue: Queue) -> float | None:
        """Expected seconds; None before anything was learned about the queue."""
        level = self._levels.get(queue)
        return None if level is None else math.exp(level.get())

    def learn(self, queue: Queue, seconds: float) -> None:
        """Take one observed handling time (seconds) into account."""
        level = self._levels.get(queue)
        if level is None:
            level = self._levels[queue] = _Level(self._fading)
            if len(self._levels) > MAX_QUEUES:
                self._levels.popitem(last=False)
        else:
            self._levels.move_to_end(queue)
        level.update(math.log(max(seconds, SMALLEST_SECONDS)))

    def dump(self) -> list[QueueState]:
        """State as plain values, in order of last use."""
        return [QueueState(queue, level.learned, level.get()) for queue, level in self._levels.items()]

    def load(self, state: list[QueueState]) -> None:
        """Continue from dumped state."""
        self._levels = OrderedDict((one.queue, _Level(self._fading, one.learned, one.log_seconds)) for one in state)
