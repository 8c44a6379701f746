"""How evidence on a labeler fades: half-lives in annotations and in days, and faster after a change.

Every labeler has a clock that counts half-lives. An answer given at clock reading c weighs ``2 ** (c - now)`` now, so
that one answer's share of the sums can be taken back exactly, at the weight it has, however long ago it was given.
A change makes the clock jump: everything before it weighs less at once, by the same rule.

The change is seen by an exponentially weighted moving average of the share of right answers (S. W. Roberts, *Control
Chart Tests Based on Geometric Moving Averages*, Technometrics 1, 1959) that leaves its control limits around the
longer memory.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
#: Weight of a new answer in the fast average: about its last 20 answers.
FAST: Final = 0.1
#: The fast average's standard deviation over that of one answer.
FAST_DEVIATION: Final = math.sqrt(FAST / (2.0 - FAST))
#: Answers before the fast average is judged, and weight below which the longer memory is too young to be judged by.
WARM_UP: Final = 20
#: Control limits, in standard deviations. At 4 a labeler who never changes is misjudged once in tens of thousands of
#: answers; a fall from .92 to .70 is seen within about 25.
LIMIT: Final = 4.0
#: What all evidence before a change is worth after it, in answers.
KEPT: Final = 10.0


class HalfLives(NamedTuple):
    """After how many of a labeler's annotations, and after how many days, evidence weighs half."""

    annotations: float
    days: float


class Forgetting:
    """One labeler's clock and watch for change.

    >>> one = Forgetting()
    >>> one.advance(HalfLives(annotations=100, days=30), at_ms=0)
    >>> one.advance(HalfLives(annotations=100, days=30), at_ms=15 * DAY_MS)  # half a half-life of days later
    >>> round(one.clock, 2)
    0.52
    """

    __slots__ = ("clock", "fast", "last_ms", "watched")

    def __init__(self, clock: float = 0.0, last_ms: int = -1, fast: float = 0.0, watched: int = 0) -> None:
        self.clock = clock
        """Half-lives since the labeler's first answer."""
        self.last_ms = last_ms
        """Latest event time (ms) of an answer; -1 before the first."""
        self.fast = fast
        """Share of right answers, lately."""
        self.watched = watched
        """Answers in ``fast``."""

    def advance(self, half_lives: HalfLives, at_ms: int, annotations: float = 1.0) -> None:
        """Let the clock run for one more answer, which stands for so many annotations of the labeler."""
        if self.last_ms >= 0:
            self.clock += max(at_ms - self.last_ms, 0) / (half_lives.days * DAY_MS)
        self.last_ms = max(self.last_ms, at_ms)
        self.clock += annotations / half_lives.annotations

    def watch(self, right: float) -> None:
        """See how likely it is that an answer was right (0 to 1)."""
        self.watched += 1
        self.fast += max(FAST, 1.0 / self.watched) * (right - self.fast)

    def has_changed(self, accuracy: float, weight: float) -> bool:
        """Whether the latest answers contradict the longer memory: an accuracy learned from so many answers."""
        if self.watched < WARM_UP or weight < WARM_UP:
            return False
        variance = max(accuracy * (1.0 - accuracy), 0.01) * (FAST_DEVIATION**2 + 1.0 / weight)
        return abs(self.fast - accuracy) > LIMIT * math.sqrt(variance)

    def dump(self) -> list[float]:
        """As plain values, in the order of the constructor."""
        return [self.clock, self.last_ms, self.fast, self.watched]

    def jump(self, weight: float) -> None:
        """Forget: what weighs so many answers weighs `KEPT` from here on."""
        self.clock += max(math.log2(weight / KEPT), 0.0)
        self.watched = min(self.watched, WARM_UP // 2)
