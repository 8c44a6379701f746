"""What is known of a task before it is worked on: how long it took others, and the numbers sent along with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from detectors.arithmetic import clipped, rounded
from detectors.recent_memory import RecentMemory
from detectors.sketches import hash64

#: Tasks remembered per model; the one idle longest is forgotten beyond it.
MAX_TASKS: Final = 6_000
#: Answers' worth of the belief that a task is like the others.
TASK_ALIKE: Final = 4.0
#: A task's answers weigh by how exact their labelers are, within these bounds.
LEAST_WEIGHT: Final = 0.2
MOST_WEIGHT: Final = 3.0
#: Numbers of a task that are used, and the task types for which they are: the first that are met.
MAX_NUMBERS: Final = 6
MAX_TASK_TYPES: Final = 50
#: Numbers are used once so many were seen, and their mean and variance forget at this rate at least.
FEW_NUMBERS: Final = 20
FORGETTING: Final = 0.001
#: What varies less is a constant.
LEAST_VARIANCE: Final = 1e-9
_MOST_DEVIATIONS: Final = 3.0
_UNSEEN: Final = (0.0, 0.0)


class TaskEffects:
    """By how much a task's answers took longer than their labelers and queue explain (logarithm).

    >>> effects = TaskEffects()
    >>> for excess in (0.5, 0.7, 0.6, 0.6):
    ...     effects.learn(TaskEffects.key("videos", "clip-1"), excess, 1.0)
    >>> round(effects.get(TaskEffects.key("videos", "clip-1")), 2)
    0.3
    """

    def __init__(self) -> None:
        self.memory: RecentMemory[int, tuple[float, float]] = RecentMemory(
            MAX_TASKS, to_plain=list, from_plain=lambda plain: (plain[0], plain[1])
        )
        """By task: answers' worth of the effect, and the effect as it was seen."""

    @staticmethod
    def key(project_id: str, task_id: str) -> int:
        """A task's name, of bounded size."""
        return hash64(f"{project_id}\0{task_id}")

    def get(self, key: int) -> float:
        """The effect, as far as it is believed: 0 for a task not seen yet."""
        weight, mean = self.memory.get(key) or _UNSEEN
        return mean * weight / (weight + TASK_ALIKE)

    def learn(self, key: int, excess: float, weight: float, most: float = math.inf) -> None:
        """Take one answer into account, as if it were at most so far from the others; ``weight`` is larger for labelers
        whose times vary less.
        """
        known, mean = self.memory.get(key) or _UNSEEN
        weight = clipped(weight, LEAST_WEIGHT, MOST_WEIGHT)
        total = known + weight
        mean += clipped(excess - mean, -most, most) * weight / total
        self.memory.use(key, (rounded(total, 1e2), rounded(mean, 1e5)))


def as_number(value: object) -> float | None:
    """A flat feature as a number on a log scale: texts count by their length.

    >>> round(as_number(0.5254), 3), as_number("") , round(as_number("a cat"), 3), as_number(float("nan"))
    (0.422, 0.0, 1.792, None)
    """
    if isinstance(value, str):
        return math.log1p(len(value))
    if isinstance(value, (int, float)):  # True and False, too
        if 0.0 <= value < 1e300:
            return math.log1p(value)
        if -1e300 < value < 0.0:
            return -math.log1p(-value)
    return None


class TaskNumbers:
    """Flat features of tasks, standardised by what was seen of each: mean and variance, which forget slowly.

    >>> numbers = TaskNumbers()
    >>> for seconds in range(1, 101):
    ...     _ = numbers.standardised("clips", {"duration": seconds}, learn=True)
    >>> numbers.standardised("clips", {"duration": 100})
    {'clips duration': 1.092}
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, list[Any]]] = {}
        """Task type and name to how many were seen, mean, variance, and name of the result."""

    def standardised(self, task_type: str, features: Mapping[str, object], *, learn: bool = False) -> dict[str, float]:
        """Deviations from the mean in standard deviations, by task type and name."""
        known = self._seen.get(task_type)
        if known is None:
            if not learn or len(self._seen) == MAX_TASK_TYPES:
                return {}
            known = self._seen[task_type] = {}
        result = {}
        for name, value in features.items():
            state = known.get(name)
            if state is None:
                if not learn or len(known) == MAX_NUMBERS:
                    continue
                state = known[name] = [0.0, 0.0, 0.0, f"{task_type} {name}"]
            number = as_number(value)
            if number is None:
                continue
            count, mean, variance, title = state
            delta = number - mean
            if count >= FEW_NUMBERS and variance > LEAST_VARIANCE:
                deviation = delta / math.sqrt(variance)
                if not -_MOST_DEVIATIONS < deviation < _MOST_DEVIATIONS:
                    deviation = math.copysign(_MOST_DEVIATIONS, deviation)
                result[title] = rounded(deviation, 1e3)
            if learn:
                count += 1.0
                share = max(1.0 / count, FORGETTING)
                state[0] = count
                state[1] = mean + delta * share
                state[2] = variance + (delta * delta * (1.0 - share) - variance) * share
        return result

    def dump(self) -> list[Any]:
        """State as plain values."""
        return [[name, [[n, *values] for n, values in known.items()]] for name, known in self._seen.items()]

    def load(self, state: list[Any]) -> None:
        """Continue from dumped state."""
        self._seen = {name: {n: list(values) for n, *values in known} for name, known in state}
