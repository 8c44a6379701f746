"""What a change to a task revises: the windows that its answers count in, its confidence, and its labelers.

Each answer remembers what its window has counted of it, so a truth that comes late adds exactly the difference, in
whatever window the answer was, closed or not.
"""

from __future__ import annotations

from detectors.beliefs import Outcome as Held
from detectors.consensus import Task, Truth
from detectors.evidence import RATING
from detectors.units import Unit, units
from detectors.windows import WindowKey
from schemas.labels import canonical
from schemas.times import to_ms
from streams.outcome import Outcome
from streams.state.journal import Noted
from streams.state.partition_state import PartitionState
from streams.state.result_rows import outcome_row


class TaskChange:
    """A task before a change; `count` revises the agreement that its answers stand for."""

    def __init__(self, state: PartitionState, task: Task) -> None:
        self._state = state
        self._task = task
        self._before: list[Unit] = self._units() if task.agreement is None else task.agreement

    def count(self, sequence: int) -> None:
        """Take what the task contributed to agreement before out of its windows, and put in what it does now."""
        after = self._task.agreement = self._units()
        if after == self._before:
            return
        for sign, found in ((-1, self._before), (1, after)):
            for unit in found:
                key = self._key(unit)
                partial = self._state.partial(key, sequence)
                partial.agree(sequence, unit.contribution, sign)
                if partial.agreement.is_full:
                    self._state.close_partial(key, sequence)

    def _units(self) -> list[Unit]:
        model = self._state.beliefs.models.get(self._task.space)
        return units(self._task, numeric=model is not None and model.form == RATING)

    def _key(self, unit: Unit) -> WindowKey:
        segment = (self._task.project_id, self._task.task_type, unit.vendor_id)
        return self._state.windows.key(segment, unit.home_ms)


def learn_truth(state: PartitionState, task: Task, truth: Truth, sequence: int, outcome: Outcome) -> None:
    """Settle a task by an observed truth, and revise what was counted of its answers."""
    before = (task.truth, task.gold)
    held = state.beliefs.know(task, truth)
    if held is not None:
        note_outcome(state, task, held, sequence, outcome)
    if (task.truth, task.gold) != before:
        _revise_windows(state, task, sequence, outcome)


def note_outcome(state: PartitionState, task: Task, held: Held, sequence: int, outcome: Outcome) -> None:
    """Keep how what was believed of a task came out."""
    outcome.rows["confidence_outcomes"].append(outcome_row(task, held, state.partition, sequence))
    outcome.measured.settle(sequence, task, held)


def apply_review(state: PartitionState, noted: Noted, outcome: Outcome) -> None:
    """Let a review say what the truth is, or what it is not."""
    review = noted.review
    task = state.open_task(review.project_id, review.task_id)
    if task is None:
        return  # nothing to settle: no answer is known, or it was too long ago
    state.journal.count_applied()
    sequence = state.sequence()
    answer = None if review.labeler_id is None else task.answers.get(review.labeler_id)
    label = None if review.true_label is None else canonical(review.true_label)
    if label is None and review.accepted and answer is not None:
        label = answer.label
    state.revise(task, sequence)
    if answer is not None:
        outcome.measured.review(sequence, task, review, answer)
    if label is not None:
        learn_truth(state, task, Truth(label, "review", to_ms(review.reviewed_at)), sequence, outcome)
    elif review.accepted is False and answer is not None and answer.label is not None:
        state.beliefs.refute(task, answer.label)
    task.confidence = state.beliefs.confidence(task)


def _revise_windows(state: PartitionState, task: Task, sequence: int, outcome: Outcome) -> None:
    """Add to each answer's window the difference that knowing the truth makes."""
    truth = task.truth
    assert truth is not None
    segment = (task.project_id, task.task_type)
    for labeler_id, answer in task.answers.items():
        if answer.label is None:
            continue
        gold_correct = answer.gold_correct if task.gold is None else answer.label == task.gold.label
        agrees = answer.label == truth.label
        # Also where nothing differs: which rows there are must not depend on what was believed.
        partial = state.partial(state.windows.key((*segment, answer.vendor_id), answer.submitted_ms), sequence)
        partial.correct(
            sequence,
            gold_seen=int(gold_correct is not None) - int(answer.gold_correct is not None),
            gold_right=int(gold_correct is True) - int(answer.gold_correct is True),
            consensus_seen=1 - int(answer.agrees is not None),
            consensus_agreed=int(agrees) - int(answer.agrees is True),
        )
        if gold_correct is not answer.gold_correct:
            outcome.measured.late_truth(sequence, task, labeler_id, answer, gold_correct)
        answer.gold_correct, answer.agrees = gold_correct, agrees
