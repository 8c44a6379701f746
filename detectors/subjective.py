"""Labelers of subjective work, where there is no one truth and disagreement is what is asked for.

The consensus is the distribution of the standing answers. A labeler is never held against the majority of a task, but
judged by three other things: whether the same question again gets the same answer (stability); whether the answers as
a whole are distributed like those of the other labelers of the space (`detectors.subjective_counts`); and whether
attention checks are passed: gold tasks, which do have a right answer.

Why disagreement is signal: L. Aroyo and C. Welty, *Truth Is a Lie: Crowd Truth and the Seven Myths of Human
Annotation*, AI Magazine 36, 2015. Attention checks: J. S. Downs et al., *Are Your Participants Gaming the System?
Screening Mechanical Turk Workers*, CHI 2010.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from detectors.consensus import NOTHING, Answer, Belief, Task, shared
from detectors.evidence import SUBJECTIVE, Evidence
from detectors.forgetting import Forgetting, HalfLives
from detectors.population import FIRST_ANSWERS, Overdispersion, Population
from detectors.sketches import hash64
from detectors.subjective_counts import ANSWER, CHECKS, OTHER, PASSED, PEERS, REPEATS, SAME, Voice

#: Distinct labels of a space that are told apart: the first. The rest count as one.
MAX_LABELS: Final = 100
#: Longer labels are counted under their beginning and a hash, so that evidence has a bounded size.
MAX_LABEL_CHARS: Final = 64
#: What the space's distribution of answers is worth in a task's, in answers.
SMOOTHING: Final = 1.0
#: Share of attention checks passed to begin with; how alike labelers are in it, and how many checks' worth that is.
FIRST_ATTENTION: Final = 0.9
CONCENTRATION: Final = 20.0
CONCENTRATION_WEIGHT: Final = 300.0
#: The population is estimated when there are so many checks, and again whenever they have grown by this factor.
FIRST_ESTIMATE: Final = 50
GROWTH: Final = 1.25
#: Labelers that it is estimated from, at most: those heard first.
MAX_SAMPLE: Final = 2_000
#: Sums below it are rounding, and are not sent.
NEGLIGIBLE: Final = 1e-9


class SubjectiveModel:
    """Labelers of one space of a subjective project.

    ``Task.posterior`` is the share of each of ``Task.labels``; ``Task.share`` says which of them passes the check.

    Evidence holds sums of the labeler's own answers, repeats and checks, and of the other labelers' answers and repeats
    on the same source partition. Both add up over source partitions, and so does a labeler's work on them: whoever has
    all evidence on a labeler knows what it is to be compared with.

    >>> model = SubjectiveModel(HalfLives(annotations=1_000, days=90))
    >>> for i in range(90):
    ...     task = Task("memes", f"t{i}", "funny")
    ...     for name, is_funny in (("ann", i % 3 > 0), ("bob", i % 3 != 1), ("cy", i % 2 == 0)):
    ...         answer = Answer("yes" if is_funny else "no", i)
    ...         _ = task.stand(name, answer)
    ...         model.answer(task, name, answer)
    >>> {label: round(share, 3) for label, share in model.belief(task).posterior.items()}
    {'no': 0.347, 'yes': 0.653}
    """

    form = SUBJECTIVE

    def __init__(self, half_lives: HalfLives) -> None:
        self._half_lives = half_lives
        self.labelers: dict[str, Voice] = {}
        self.changed: set[str] = set()
        """Labelers whose own evidence changed since the owner last emptied it."""
        self.population = Population((FIRST_ATTENTION,), CONCENTRATION)
        self._names: dict[str, str] = {}
        """Label to the name under which it is counted."""
        self._everybody: dict[str, float] = {}
        """Answers and repeats of all labelers, as each one's weigh at its latest answer."""
        self._checks = 0
        self._estimate_at = FIRST_ESTIMATE

    def answer(self, task: Task, labeler_id: str, answer: Answer, before: Answer | None = None) -> None:
        """Take a standing answer into account; ``before`` is the same labeler's answer that it replaces: a repeat."""
        assert answer.label is not None
        labeler = self._labeler(labeler_id)
        self._leave(labeler)
        labeler.labels += 1
        elsewhere = sum([one.labels for one in labeler.heard.values()])
        labeler.forgetting.advance(self._half_lives, answer.submitted_ms, 1.0 + elsewhere / labeler.labels)
        passed, checks = labeler.checks()
        change = labeler.forgetting.change(passed / checks, checks) if checks > 0 else None
        if change is not None:
            labeler.forgetting.jump(checks, change.answers / 2.0, answer.submitted_ms)
        labeler.rescale()
        answer.clock, answer.serial = labeler.forgetting.clock, labeler.forgetting.answers
        if before is not None and before.label is not None:
            is_same = before.label == answer.label
            labeler.count(before, {self._name(before.label): -1.0})
            labeler.count(answer, {REPEATS: 1.0, SAME: float(is_same)})
            if before.is_counted:
                labeler.count(before, {CHECKS: -1.0, PASSED: -float(before.label == _passing(task))})
        labeler.count(answer, {self._name(answer.label): 1.0})
        self._join(labeler)
        self.changed.add(labeler_id)
        self.update(task)

    def update(self, task: Task) -> None:
        """What the answers say of the task; and, where it is an attention check, of the labelers."""
        passing, gold = _passing(task), _gold(task)
        shares = self._shares(task)
        task.labels = sorted({*shares} if gold is None else {*shares, gold})
        task.posterior = [shares.get(label, 0.0) for label in task.labels] if task.labels else None
        if gold is None:
            return
        for labeler_id, answer in task.votes():
            labeler, has_passed = self.labelers[labeler_id], answer.label == gold
            if not answer.is_counted:
                answer.is_counted = True
                labeler.count(answer, {CHECKS: 1.0, PASSED: float(has_passed)})
                labeler.forgetting.watch(answer.serial, float(has_passed))
                self._checks += 1
            elif passing != gold:
                labeler.count(answer, {PASSED: float(has_passed) - float(answer.label == passing)})
            else:
                continue
            self.changed.add(labeler_id)
        task.share = [float(label == gold) for label in task.labels]
        if self._checks >= self._estimate_at:
            self._estimate()

    def consensus(self, task: Task) -> str | None:
        """The most frequent answer; of equals the one more frequent in the space. The right one, of a check."""
        return self.belief(task).label

    def belief(self, task: Task) -> Belief:
        """The distribution of the answers; of an attention check, the right one. Else a review is one more opinion."""
        gold = _gold(task)
        if gold is not None:
            return Belief(gold, 1.0, 0.0, {gold: 1.0})
        return _belief(dict(zip(task.labels, task.posterior or (), strict=False)))

    def believe(self, task: Task, *, without: str | None = None) -> Belief:
        """What the answers alone say, perhaps without one labeler's; nothing is learned from it."""
        return _belief(self._shares(task, without))

    def accuracy(self, labeler_id: str) -> float:
        """Probability that this labeler passes the next attention check."""
        labeler = self.labelers.get(labeler_id)
        passed, checks = (0.0, 0.0) if labeler is None else labeler.checks()
        prior = self.population.concentration
        return (passed + prior * self.population.accuracy) / (checks + prior)

    def evidence(self, labeler_id: str) -> Evidence:
        """This source partition's own evidence on a labeler, whole, and what to compare it with."""
        one = self.labelers[labeler_id]
        moments = {name: own for name, value in one.sums.items() if (own := value / one.scale) > NEGLIGIBLE}
        for name, everybody in self._everybody.items():
            others = everybody - one.sums.get(name, 0.0) / one.scale
            if others > NEGLIGIBLE:
                moments[PEERS + name] = others
        known = (self.population.accuracy, self.population.concentration)
        return Evidence(SUBJECTIVE, one.labels, one.forgetting.last_ms, {}, known, moments=moments)

    def hear(self, labeler_id: str, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        if evidence.form == SUBJECTIVE:
            self._labeler(labeler_id).heard[source_partition] = evidence

    def dump(self) -> list[Any]:
        """The space without its labelers, as plain values."""
        known = [self.population.accuracies[0], self.population.concentration]
        return [dict(self._names), dict(self._everybody), self._checks, self._estimate_at, known]

    def load(self, state: list[Any]) -> None:
        """Continue from a dumped space; before its labelers."""
        names, everybody, self._checks, self._estimate_at, (attention, concentration) = state
        self._names, self._everybody = dict(names), dict(everybody)
        self.population = Population((attention,), concentration)

    def dump_labeler(self, labeler_id: str) -> list[Any]:
        """A labeler's own evidence, exactly; what was heard of it is not in it."""
        one = self.labelers[labeler_id]
        return [dict(one.sums), one.labels, one.base, one.forgetting.dump()]

    def load_labeler(self, labeler_id: str, state: list[Any]) -> None:
        """Continue with a dumped labeler of whom nothing was heard yet."""
        one = self._labeler(labeler_id)
        sums, one.labels, one.base, forgetting = state
        one.sums = dict(sums)
        one.forgetting = Forgetting(*forgetting)
        one.rescale()

    def _shares(self, task: Task, without: str | None = None) -> dict[str, float]:
        """Label to its share of a task's answers, smoothed; what is missing to 1 is other labels'."""
        counts: dict[str, int] = {}
        for labeler_id, answer in task.answers.items():
            if answer.label is not None and labeler_id != without:
                counts[answer.label] = counts.get(answer.label, 0) + 1
        everybody = sum([value for name, value in self._everybody.items() if name not in (REPEATS, SAME)])
        total = sum(counts.values()) + SMOOTHING
        shares = {}
        for label, count in counts.items():
            name = self._names.get(label)
            usual = self._everybody.get(name, 0.0) / everybody if name is not None and everybody > 0 else 0.0
            shares[label] = (count + SMOOTHING * usual) / total
        return shares

    def _name(self, label: str) -> str:
        """Under which a label's answers are counted; once given, it stays."""
        name = self._names.get(label)
        if name is None:
            if len(self._names) >= MAX_LABELS:
                return OTHER
            short = label
            if len(label) > MAX_LABEL_CHARS:
                short = f"{label[: MAX_LABEL_CHARS - 17]}#{hash64(label):016x}"
            name = self._names[label] = ANSWER + short
        return name

    def _leave(self, labeler: Voice) -> None:
        """Take a labeler's answers and repeats out of everybody's, before they change or fade."""
        for name, value in labeler.sums.items():
            if name not in (CHECKS, PASSED):
                self._everybody[name] = max(self._everybody[name] - value / labeler.scale, 0.0)

    def _join(self, labeler: Voice) -> None:
        """Add a labeler's answers and repeats to everybody's."""
        for name, value in labeler.sums.items():
            if name not in (CHECKS, PASSED):
                self._everybody[name] = self._everybody.get(name, 0.0) + value / labeler.scale

    def _labeler(self, labeler_id: str) -> Voice:
        labeler = self.labelers.get(labeler_id)
        if labeler is None:
            labeler = self.labelers[shared(labeler_id)] = Voice()
        return labeler

    def _estimate(self) -> None:
        """Estimate again how attentive labelers are, and how much they differ."""
        self._estimate_at = int(self._checks * GROWTH) + 1
        hits = [labeler.checks() for labeler in islice(self.labelers.values(), MAX_SAMPLE)]
        passed, checks = sum([one[0] for one in hits]), sum([one[1] for one in hits])
        mean = (passed + FIRST_ANSWERS * FIRST_ATTENTION) / (checks + FIRST_ANSWERS)
        between = Overdispersion(CONCENTRATION, CONCENTRATION_WEIGHT)
        for one_passed, one_checks in hits:
            between.add(one_passed, one_checks, mean)
        self.population = Population((mean,), between.concentration())


def _gold(task: Task) -> str | None:
    """The right answer of an attention check; None where opinions may differ. A review may correct a check."""
    is_check = task.truth is not None and (task.truth.source == "gold" or task.share is not None)
    return task.truth.label if is_check and task.truth is not None else None


def _passing(task: Task) -> str | None:
    """The answer that passed when the check was counted."""
    return None if task.share is None else task.labels[task.share.index(1.0)]


def _belief(chances: Mapping[str, float]) -> Belief:
    if not chances:
        return NOTHING
    label = max(chances, key=lambda name: (chances[name], name))
    open_share = max(1.0 - sum(chances.values()), 0.0)
    entropy = -sum([p * math.log(p) for p in (*chances.values(), open_share) if p > 0.0])
    return Belief(label, min(chances[label], 1.0), max(entropy, 0.0), dict(chances))
