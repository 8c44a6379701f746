"""Who is at work: how often they agree with the consensus while all is well, as a multiple of what is usual.

Whoever agrees less than others makes their peers agree less, too: of three careful people at night, and two careless
ones, nothing has changed but who is there. So each answer is held against what is to be expected of it,

    level * own * peers^(1/k),

not against the level alone, as risk-adjusted charts do it (S. H. Steiner, R. J. Cook, V. T. Farewell, T. Treasure,
*Monitoring surgical performance using risk-adjusted cumulative sum charts*, Biostatistics 1, 2000). ``own`` is how much
more often than usual its labeler agrees, given the peers met so far; ``peers`` the mean of that over the latest answers
on the project; k the number of answers that it is compared with: of one, it matters more who gave it.
docs/adr/0010-agreement-allows-for-the-crew.md says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from detectors.metrics_registry import METRICS
from schemas.measurements import Segment

#: Answers that "as everybody" is worth as a prior of a labeler, and answers of theirs that count at most.
PRIOR: Final = 30.0
MOST: Final = 300.0
#: The same of a whole project, whose prior is the metric's usual level.
PRIOR_OF_ALL: Final = 10.0
MOST_OF_ALL: Final = 20_000.0
#: What one answer changes of who is at work: the latest fifty count.
RATE: Final = 0.02
#: Labelers who are remembered, on each kind of work; those seen longest ago are forgotten.
MAX_LABELERS: Final = 200_000
#: Nobody is expected to agree less than half as often as is usual, or much more often.
_LEAST, _HIGHEST = 0.5, 1.3

Work = tuple[str, str]
"""Project and task type."""
Labeler = tuple[str, str, str]


class Expected(NamedTuple):
    """Multiples of the usual level."""

    own: float
    peers: float

    @property
    def of_all(self) -> float:
        """For a scope of several labelers: its level is that of all."""
        return min(max(self.own * self.peers, _LEAST), _HIGHEST)

    @property
    def of_labeler(self) -> float:
        """For a labeler's scope: its level is the labeler's own."""
        return min(max(self.peers, _LEAST), _HIGHEST)


class Crews:
    """Agreement of labelers and of all, on each kind of work, and who answered last.

    >>> crews, usual, segment = Crews(), [], ("p", "t", "v")
    >>> for number in range(12_000):
    ...     is_night = number % 1_200 >= 1_000
    ...     labeler = ("cy", "di")[number % 2] if is_night else ("ann", "bob", "eve", "fay")[number % 4]
    ...     usual.append(crews.expected(segment, labeler, peers=1))
    ...     crews.see(segment, labeler, number % (5 if is_night else 11) != 0, usual[-1])  # 80 %, and 91 % by day
    >>> round(usual[-1].of_all, 2), round(usual[-300].of_all, 2), round(0.80 / 0.89, 2), round(0.91 / 0.89, 2)
    (0.89, 1.03, 0.9, 1.02)
    """

    def __init__(self) -> None:
        self._of_all: dict[Work, list[float]] = {}
        """Sum of answers that agreed, what was expected of them at a level of 1, and the latest crew."""
        self._own: dict[Labeler, list[float]] = {}
        """The same sums."""
        self._changed: dict[tuple[str, ...], None] = {}

    def expected(self, segment: Segment, labeler_id: str, peers: int) -> Expected:
        """What is to be expected of an answer, before it is seen.

        Args:
            segment: of the answer.
            labeler_id: who gives it.
            peers: how many earlier answers to its task it is compared with.
        """
        project_id, task_type, _ = segment
        of_all = self._of_all.get((project_id, task_type))
        own = self._own.get((project_id, task_type, labeler_id))
        crew = of_all[2] if of_all else 1.0
        return Expected(own[0] / own[1] if own else 1.0, crew ** (1.0 / max(peers, 1)))

    def see(
        self, segment: Segment, labeler_id: str, agrees: bool, expected: Expected, *, is_learned: bool = True
    ) -> None:
        """Take an answer and what was expected of it; what is usual is learned only while all is well."""
        project_id, task_type, _ = segment
        work, labeler = (project_id, task_type), (project_id, task_type, labeler_id)
        of_all = self._of_all.setdefault(work, [PRIOR_OF_ALL * _usual(), PRIOR_OF_ALL, 1.0])
        if is_learned:
            usual = of_all[0] / of_all[1]
            own = self._own.pop(labeler, None) or [PRIOR * usual, PRIOR * usual]
            self._own[labeler] = own  # the latest one last
            _learn(own, agrees, usual * expected.peers, MOST)
            _learn(of_all, agrees, expected.own * expected.peers, MOST_OF_ALL)
            self._changed[labeler] = None
            if len(self._own) > MAX_LABELERS:
                oldest = next(iter(self._own))
                del self._own[oldest]
                self._changed[oldest] = None
        of_all[2] += RATE * (expected.own - of_all[2])
        self._changed[work] = None

    def take_changed(self) -> Iterator[tuple[Sequence[str], list[float] | None]]:
        """What changed since the last call: keys and plain values, None for those forgotten."""
        changed, self._changed = self._changed, {}
        for key in changed:
            yield key, self._own.get(key) if len(key) == 3 else self._of_all.get((key[0], key[1]))

    def load(self, key: Sequence[str], state: list[Any]) -> None:
        """Continue from a dumped one."""
        if len(key) == 3:
            self._own[(key[0], key[1], key[2])] = state
        else:
            self._of_all[(key[0], key[1])] = state


def _learn(sums: list[float], agrees: bool, expected: float, most: float) -> None:
    sums[0] += agrees
    sums[1] += expected
    if sums[1] > most:
        sums[0] *= most / sums[1]
        sums[1] = most


def _usual() -> float:
    level = METRICS["consensus_agreement"].level
    assert level is not None
    return level
