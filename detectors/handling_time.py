"""Expected handling time: what an annotation should take, forecast before it is seen and learned after.

One exponentially weighted mean of log-seconds per project and task type (river's ``EWMean``), so that the forecast
is a geometric mean and one unfinished lunch cannot move it far.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from river.stats import EWMean

Queue = tuple[str, str]
"""Project and task type: work of one kind."""

#: Queues remembered per model; the one idle longest is forgotten beyond it.
MAX_QUEUES: Final = 10_000
#: Durations below a millisecond have no useful logarithm.
SMALLEST_SECONDS: Final = 0.001


class HandlingTimeModel:
    """Forecasts seconds of work per queue.

    Args:
        half_life: annotations after which an old observation counts half.

    >>> model = HandlingTimeModel(half_life=10)
    >>> model.forecast(("captions", "image_caption")) is None
    True
    >>> for seconds in (20.0, 30.0, 25.0):
    ...     model.learn(("captions", "image_caption"), seconds)
    >>> round(model.forecast(("captions", "image_caption")), 2)
    20.82
    """

    def __init__(self, half_life: float) -> None:
        self._fading = 1.0 - 0.5 ** (1.0 / half_life)
        self._means: OrderedDict[Queue, EWMean] = OrderedDict()

    def forecast(self, queue: Queue) -> float | None:
        """Expected seconds; None before anything was learned about the queue."""
        mean = self._means.get(queue)
        return None if mean is None else math.exp(mean.get())

    def learn(self, queue: Queue, seconds: float) -> None:
        """Take one observed handling time (seconds) into account."""
        mean = self._means.get(queue)
        if mean is None:
            mean = self._means[queue] = EWMean(self._fading)
            if len(self._means) > MAX_QUEUES:
                self._means.popitem(last=False)
        else:
            self._means.move_to_end(queue)
        mean.update(math.log(max(seconds, SMALLEST_SECONDS)))

    def dump(self) -> list[tuple[str, str, float]]:
        """State as plain values, in order of last use: project, task type, mean log-seconds."""
        return [(project, task_type, mean.get()) for (project, task_type), mean in self._means.items()]

    def load(self, state: list[tuple[str, str, float]]) -> None:
        """Continue from dumped state. The first update of an empty EWMean sets its mean exactly."""
        self._means.clear()
        for project, task_type, log_seconds in state:
            mean = EWMean(self._fading)
            mean.update(log_seconds)
            self._means[(project, task_type)] = mean
