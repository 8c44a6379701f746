"""How evidence on a labeler fades: half-lives in annotations and in days, and faster after a change.

Every labeler has a clock that counts half-lives. An answer given at clock reading c weighs ``2 ** (c - now)`` now, so
that one answer's share of the sums can be taken back exactly, at the weight it has, however long ago it was given.

A change makes the clock jump: everything before it weighs less at once, by the same rule. It is seen by a generalised
likelihood ratio of the latest answers against the longer memory (T. L. Lai, *Sequential Changepoint Detection in
Quality Control and Dynamical Systems*, JRSS B 57, 1995): n answers with a share q right, where p was believed, speak
for a change with n KL(q, p) nats. Whether an answer was right is as probable as its task's posterior says, which goes
on changing while others answer the task; so the latest answers are looked at anew each time.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
#: Clock readings are exponents of two: beyond this, sums of what was counted are scaled down.
MAX_EXPONENT: Final = 500.0
#: The latest answers that are watched.
WATCHED: Final = 64
#: Numbers of the latest answers that are held against the longer memory: few see a large change soon, many a small one.
WINDOWS: Final = (16, 32, 64)
#: Nats that speak for a change. A fall from .92 to .70 is half seen after some 40 answers where the truth is known, and
#: 70 where four others answer; one who never changes is misjudged once in some 60,000 answers.
LIMIT: Final = 6.0
#: Nobody is believed to be nearer to always right, or always wrong.
CLOSEST: Final = 0.02
_UNKNOWN: Final = -1.0


class HalfLives(NamedTuple):
    """After how many of a labeler's annotations, and after how many days, evidence weighs half."""

    annotations: float
    days: float


class Change(NamedTuple):
    """A labeler is not what it was: the share of right answers since, and how many answers that rests on."""

    accuracy: float
    answers: int


class Forgetting:
    """One labeler's clock and watch for change.

    >>> one = Forgetting()
    >>> one.advance(HalfLives(annotations=100, days=30), at_ms=0)
    >>> one.advance(HalfLives(annotations=100, days=30), at_ms=15 * DAY_MS)  # half a half-life of days later
    >>> round(one.clock, 2), one.answers
    (0.52, 2)
    """

    __slots__ = ("answers", "changed_ms", "clock", "last_ms", "recent")

    def __init__(
        self,
        clock: float = 0.0,
        last_ms: int = -1,
        answers: int = 0,
        changed_ms: int = 0,
        recent: list[float] | None = None,
    ) -> None:
        self.clock = clock
        """Half-lives since the labeler's first answer."""
        self.last_ms = last_ms
        """Latest event time (ms) of an answer; -1 before the first."""
        self.answers = answers
        """Answers so far: the serial number of the latest."""
        self.changed_ms = changed_ms
        """Event time (ms) at which a change was last seen, here or by another source partition; 0 for never."""
        self.recent = recent or []
        """How probably right each of the latest answers was, by serial number modulo `WATCHED`."""

    def advance(self, half_lives: HalfLives, at_ms: int, annotations: float = 1.0) -> None:
        """Let the clock run for one more answer, which stands for so many annotations of the labeler."""
        if self.last_ms >= 0:
            self.clock += max(at_ms - self.last_ms, 0) / (half_lives.days * DAY_MS)
        self.last_ms = max(self.last_ms, at_ms)
        self.clock += annotations / half_lives.annotations
        self.answers += 1
        if len(self.recent) < WATCHED:
            self.recent = [_UNKNOWN] * WATCHED
        self.recent[self.answers % WATCHED] = _UNKNOWN

    def watch(self, serial: int, right: float) -> None:
        """See how likely it is by now that the answer of this serial number was right (0 to 1)."""
        if self.answers - serial < WATCHED and self.recent:
            self.recent[serial % WATCHED] = right

    def change(self, accuracy: float, weight: float) -> Change | None:
        """What the latest answers say against an accuracy that was learned from so many answers, if they do.

        >>> one = Forgetting()
        >>> for number in range(32):
        ...     one.advance(HalfLives(annotations=1_000, days=90), at_ms=number)
        ...     one.watch(one.answers, float(number % 3 != 0))
        >>> one.change(accuracy=0.92, weight=500.0)
        Change(accuracy=0.65625, answers=32)
        >>> one.change(accuracy=0.75, weight=500.0) is None
        True
        """
        if weight < 2 * WINDOWS[0] or not self.recent:
            return None
        latest = self.answers % WATCHED
        newest_first = self.recent[latest::-1] + self.recent[:latest:-1]
        seen = [right for right in newest_first if right >= 0.0]  # the others' tasks nobody else has answered yet
        believed = min(max(accuracy, CLOSEST), 1.0 - CLOSEST)
        for answers in WINDOWS:
            if answers > len(seen) or 2 * answers > weight:
                break
            share = sum(seen[:answers]) / answers
            if answers * _divergence(share, believed) > LIMIT:
                return Change(share, answers)
        return None

    def jump(self, weight: float, kept: float, at_ms: int) -> None:
        """Forget: what weighs so many answers weighs no more than ``kept`` from here on."""
        self.clock += max(math.log2(weight / kept), 0.0)
        self.changed_ms = at_ms

    def dump(self) -> list[object]:
        """As plain values, in the order of the constructor."""
        return [self.clock, self.last_ms, self.answers, self.changed_ms, self.recent]


def _divergence(share: float, believed: float) -> float:
    """Kullback-Leibler divergence of one Bernoulli law from another, in nats."""
    nats = 0.0
    if share > 0.0:
        nats += share * math.log(share / believed)
    if share < 1.0:
        nats += (1.0 - share) * math.log((1.0 - share) / (1.0 - believed))
    return nats
