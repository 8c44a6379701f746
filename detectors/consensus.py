"""Consensus on one task: the labels so far, latest per labeler, and what most of them say."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

#: Answers and event ids remembered per task; beyond it the oldest are forgotten, so a runaway task stays bounded.
MAX_ANSWERS: Final = 1_000


@lru_cache(maxsize=65_536)
def shared(text: str) -> str:
    """One string for all equal ones, of those seen lately. (Interned strings are never freed in Python 3.12.)"""
    return text


@dataclass(frozen=True, slots=True)
class Answer:
    """One labeler's standing answer: the canonical label and when it was submitted (ms).

    The label is None where it is free: a text or spans, long, and no two alike. It casts no vote.
    """

    label: str | None
    submitted_ms: int

    @property
    def rank(self) -> tuple[int, bool, str]:
        """Total order: of two answers the greater stands, whichever arrived last."""
        return (self.submitted_ms, self.label is not None, self.label or "")


@dataclass(slots=True)
class Task:
    """What is known about one task of one project.

    >>> task = Task("captions", "t1", "image_class")
    >>> task.answer("ann", "cat", 1_000), task.answer("bob", "cat", 2_000), task.answer("cy", "dog", 3_000)
    (None, True, False)
    >>> task.consensus()
    ('cat', 0.6666666666666666)
    >>> task.answer("cy", "cat", 4_000)
    True
    >>> task.consensus()
    ('cat', 1.0)
    """

    project_id: str
    task_id: str
    task_type: str
    answers: dict[str, Answer] = field(default_factory=dict)
    event_offsets: dict[int, int] = field(default_factory=dict)
    """Hash of each event counted here to the source offset at which it was counted."""
    gold: Answer | None = None
    """The known answer, where an annotation carried one."""
    last_submitted_ms: int = 0
    touched_ms: int = 0
    """The watermark when an annotation last touched this task."""
    applied_offset: int = -1
    """The last source offset that this value includes."""
    _votes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for given in self.answers.values():
            self._cast(given)

    def is_duplicate(self, event_hash: int, offset: int) -> bool:
        """Whether this event was counted at an earlier offset; remembers it if not.

        The same event at the same offset is a replay, not a duplicate.
        """
        counted = self.event_offsets.setdefault(event_hash, offset)
        if len(self.event_offsets) > MAX_ANSWERS:
            del self.event_offsets[next(iter(self.event_offsets))]
        return counted < offset

    @property
    def has_votes(self) -> bool:
        """Whether any answer is one of a closed set."""
        return bool(self._votes)

    def answer(self, labeler_id: str, label: str | None, submitted_ms: int) -> bool | None:
        """Record an answer; says whether it agrees with the consensus of the other labelers before it.

        None when there is nothing to agree with. The label submitted last stands, whatever arrives last.
        """
        before = self.answers.get(labeler_id)
        if before is not None:
            self._retract(before)
        consensus, _ = self.consensus()
        agrees = None if consensus is None or label is None else consensus == label
        # The same few labelers and labels stand in very many tasks: keep one string of each.
        labeler_id = shared(labeler_id)
        stands = Answer(None if label is None else shared(label), submitted_ms)
        if before is not None and before.rank > stands.rank:
            stands = before
        self.answers[labeler_id] = stands
        self._cast(stands)
        if len(self.answers) > MAX_ANSWERS:
            self._retract(self.answers.pop(next(iter(self.answers))))
        self.last_submitted_ms = max(self.last_submitted_ms, submitted_ms)
        return agrees

    def settle(self, gold: Answer) -> None:
        """Take a known answer into account; the one submitted last stands, whatever arrives last."""
        if self.gold is None or gold.rank > self.gold.rank:
            self.gold = gold

    def consensus(self) -> tuple[str | None, float]:
        """The majority label and its share of the votes; ties go to the label that sorts first."""
        if not self._votes:
            return None, 0.0
        label = min(self._votes, key=lambda name: (-self._votes[name], name))
        return label, self._votes[label] / sum(self._votes.values())

    def _cast(self, answer: Answer) -> None:
        if answer.label is not None:
            self._votes[answer.label] = self._votes.get(answer.label, 0) + 1

    def _retract(self, answer: Answer) -> None:
        if answer.label is None:
            return
        left = self._votes[answer.label] - 1
        if left:
            self._votes[answer.label] = left
        else:
            del self._votes[answer.label]
