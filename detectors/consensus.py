"""A task: the answers given to it, latest per labeler, what is known of its truth, and what is believed of it.

What the answers mean for the true label is a matter of the label space's model (`detectors.beliefs`); the task only
keeps what that model has to take back or do again when the next answer, or the truth, arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple

#: Answers and event ids remembered per task; beyond it the oldest are forgotten, so a runaway task stays bounded.
MAX_ANSWERS: Final = 1_000
#: Answers per task that vote: the latest to arrive. What earlier ones said of their labelers stands; it is not revised.
MAX_VOTES: Final = 32


@lru_cache(maxsize=65_536)
def shared(text: str) -> str:
    """One string for all equal ones, of those seen lately. (Interned strings are never freed in Python 3.12.)"""
    return text


class LabelSpace(NamedTuple):
    """Where labels are comparable: one project's tasks of one type."""

    project_id: str
    task_type: str


class Truth(NamedTuple):
    """An observed true label: who says so, and when (ms). Of two the greater ``rank`` stands, whichever came last."""

    label: str
    source: str
    """``gold`` (the annotation carried it) or ``review`` (somebody looked)."""
    at_ms: int

    @property
    def rank(self) -> tuple[bool, int, str]:
        """A review is a later look than gold; of the same kind the later counts."""
        return (self.source == "review", self.at_ms, self.label)


class Belief(NamedTuple):
    """What is believed of a task's true label.

    Attributes:
        label: the consensus; None while nobody gave a comparable answer.
        raw_confidence: posterior probability of ``label`` (0 to 1), not calibrated.
        entropy: of the posterior, in nats.
        posterior: class to probability; sums to 1, less what an open set leaves to labels that nobody gave.
    """

    label: str | None
    raw_confidence: float
    entropy: float
    posterior: dict[str, float]


NOTHING: Final = Belief(None, 0.0, 0.0, {})


@dataclass(slots=True)
class Answer:
    """One labeler's standing answer.

    The label is None where it is free: a text or spans, long, and no two alike. It casts no vote.
    """

    label: str | None
    submitted_ms: int
    vendor_id: str = ""
    pace: float | None = None
    """Log of its handling time over the forecast; None without a forecast."""
    clock: float = 0.0
    """Its labeler's forgetting clock when it was given, in half-lives (`detectors.forgetting`)."""
    serial: int = 0
    """Which of its labeler's answers it is."""
    is_counted: bool = False
    """Whether its share is in its labeler's evidence."""
    is_retired: bool = False
    """Whether it votes no more, since many later ones do: what it said of its labeler stands."""
    gold_correct: bool | None = None
    """What its window has counted: whether it gave the true label; None before that was known."""
    agrees: bool | None = None
    """What its window has counted: whether it agreed with the consensus; None without one."""

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Total order: of two answers the greater stands, whichever arrived last. One that can be compared with
        others' is never replaced by one that cannot."""
        return (self.label is not None, self.submitted_ms, self.label or "")


@dataclass(slots=True)
class Task:
    """What is known about one task of one project.

    >>> task = Task("captions", "t1", "image_class")
    >>> task.stand("ann", Answer("cat", 2_000)) is None
    True
    >>> task.stand("ann", Answer("dog", 1_000)).label, task.answers["ann"].label  # an earlier one that came late
    ('dog', 'cat')
    """

    project_id: str
    task_id: str
    task_type: str
    answers: dict[str, Answer] = field(default_factory=dict)
    event_offsets: dict[int, int] = field(default_factory=dict)
    """Hash of each event counted here to the source offset at which it was counted."""
    truth: Truth | None = None
    """What is known of the true label, from gold or a review."""
    gold: Truth | None = None
    """The known answer, where an annotation carried one: the one submitted last."""
    refuted: tuple[str, ...] = ()
    """Labels that a review refused: the truth is none of them."""
    posterior: list[float] | None = None
    """What the label space's model believes of it, by the model's own rows; None before anything is."""
    labels: list[str] = field(default_factory=list)
    """Labels that the rows stand for, where these are not the classes of the label space."""
    confidence: float = 0.0
    """Calibrated probability that the consensus is right, as forecast when the task last changed."""
    share: list[float] | None = None
    """The posterior that is counted in the labelers' evidence; None before any is."""
    last_submitted_ms: int = 0
    touched_ms: int = 0
    """The watermark when an annotation last touched this task."""
    touched: int = -1
    """The sequence number of that annotation: tasks are closed in its order."""
    is_reopened: bool = False
    """Whether it had been closed, and is open only for a review."""
    applied: int = -1
    """The last sequence number that this value includes."""

    space: LabelSpace = field(init=False)
    """Where its labels are comparable."""
    belief: Belief | None = field(default=None, compare=False)
    """What the posterior says, where the model keeps it; not stored, since it follows from the posterior."""
    agreement: Any = field(default=None, compare=False)
    """What its answers contribute to agreement, as last worked out (`detectors.units`); not stored."""

    def __post_init__(self) -> None:
        self.space = LabelSpace(self.project_id, self.task_type)

    def is_duplicate(self, event_hash: int, offset: int) -> bool:
        """Whether this event was counted at an earlier offset; remembers it if not.

        The same event at the same offset is a replay, not a duplicate.
        """
        counted = self.event_offsets.setdefault(event_hash, offset)
        if len(self.event_offsets) > MAX_ANSWERS:
            del self.event_offsets[next(iter(self.event_offsets))]
        return counted < offset

    def stand(self, labeler_id: str, answer: Answer) -> Answer | None:
        """Let an answer stand for its labeler; the answer that does not stand any more, or never did, if there is one.

        The label submitted last stands, whatever arrives last.
        """
        self.last_submitted_ms = max(self.last_submitted_ms, answer.submitted_ms)
        before = self.answers.get(labeler_id)
        if before is not None and before.rank > answer.rank:
            return answer
        self.answers.pop(labeler_id, None)  # the votes are the latest to arrive
        self.answers[shared(labeler_id)] = answer
        if len(self.answers) > MAX_ANSWERS:
            del self.answers[next(iter(self.answers))]
        if len(self.answers) > MAX_VOTES:
            voting = (one for one in reversed(self.answers.values()) if one.label is not None and not one.is_retired)
            for one in islice(voting, MAX_VOTES, None):
                one.is_retired = True
                break
        return before

    def votes(self) -> list[tuple[str, Answer]]:
        """Labelers and their standing answers that can be compared with others', the `MAX_VOTES` latest to arrive."""
        if len(self.answers) <= MAX_VOTES:
            return [(name, answer) for name, answer in self.answers.items() if answer.label is not None]
        voting: list[tuple[str, Answer]] = []
        for name, answer in reversed(self.answers.items()):
            if answer.is_retired or len(voting) == MAX_VOTES:
                break
            if answer.label is not None:
                voting.append((name, answer))
        return voting[::-1]

    def know(self, truth: Truth) -> bool:
        """Take an observed truth into account; whether it changes what is known. The greater rank stands."""
        if truth.source == "gold" and (self.gold is None or truth.rank > self.gold.rank):
            self.gold = truth
        if self.truth is not None and self.truth.rank >= truth.rank:
            return False
        self.truth = truth
        return True

    def refute(self, label: str) -> bool:
        """Take into account that a label is not the true one; whether that was new."""
        if label in self.refuted:
            return False
        self.refuted = tuple(sorted({*self.refuted, label}))
        return True
