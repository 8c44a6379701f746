"""Expected handling time: what an annotation should take, forecast before it is seen and learned after.

One mean of log-seconds per queue (river's ``Mean`` until it has seen enough, then its ``EWMean``), so that the forecast
is a geometric mean: the typical time, which one unfinished lunch cannot move far, and which lies below the average
where times are skewed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, NamedTuple

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
