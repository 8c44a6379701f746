"""Online consensus where a matrix of classes is too much: one accuracy per labeler, over any number of labels.

The one-coin form of Dawid and Skene: a labeler gives the true label with its accuracy, and else any other label with
equal probability. For label sets with more than `max_classes` classes, for open ones, and for sets of classes taken as
one answer each. Learned like the full form (`detectors.confusion`), a task's own contribution left out.
"""

from __future__ import annotations

import math
from heapq import nsmallest
from typing import Any, Final

from detectors.confusion import ConfusionModel
from detectors.confusion_counts import KINDS
from detectors.consensus import NOTHING, Answer, Belief, Task, shared
from detectors.evidence import ONE_COIN, RIGHT, WRONG, Evidence, as_one_coin
from detectors.forgetting import MAX_EXPONENT, Change, Forgetting, HalfLives
from detectors.population import FIRST_ANSWERS, Overdispersion, Population
from detectors.sketches import DistinctSketch, hash64

FIRST_ACCURACY: Final = 0.8
CONCENTRATION: Final = 20.0
CONCENTRATION_WEIGHT: Final = 300.0
FIRST_ESTIMATE: Final = 50
GROWTH: Final = 1.25
MAX_SAMPLE: Final = 2_000


class Coin:
    """How often one labeler was right; scaled so that an answer of clock reading ``base`` counts 1."""

    __slots__ = ("base", "forgetting", "heard", "labels", "right", "scale", "weight")

    def __init__(self) -> None:
        self.right = 0.0
        """Own right answers."""
        self.weight = 0.0
        """Own answers."""
        self.heard: dict[int, Evidence] = {}
        """Other source partitions' evidence."""
        self.labels = 0
        self.forgetting = Forgetting()
        self.base = 0.0
        self.scale = 1.0

    def hits(self) -> tuple[float, float]:
        """Right answers, and all, as they weigh now, from all source partitions."""
        right = self.right / self.scale + sum([one.right for one in self.heard.values()])
        return right, self.weight / self.scale + sum([one.weight for one in self.heard.values()])

    def restart(self, change: Change, at_ms: int) -> None:
        """Begin again after a change: what was counted weighs little, with the accuracy of the latest answers."""
        _, weight = self.hits()
        self.forgetting.jump(weight, change.answers / 2.0, at_ms)
        self.rescale()
        self.weight = min(change.answers / 2.0, weight) * self.scale
        self.right = self.weight * change.accuracy
        self.heard = {}  # it is older; it is heard again

    def hear(self, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        if evidence.changed_ms > self.forgetting.changed_ms and evidence.weight > 0:
            answers = max(int(evidence.weight), 1)
            self.restart(Change(evidence.right / evidence.weight, answers), evidence.changed_ms)
        self.heard[source_partition] = as_one_coin(evidence)

    def rescale(self) -> None:
        """Follow the clock."""
        exponent = self.forgetting.clock - self.base
        if exponent > MAX_EXPONENT:
            self.right *= 2.0**-exponent
            self.weight *= 2.0**-exponent
            self.base, exponent = self.forgetting.clock, 0.0
        self.scale = 2.0**exponent


class OneCoinModel:
    """Labelers of one label space, without classes.

    >>> model = OneCoinModel(HalfLives(annotations=1_000, days=90))
    >>> for number in range(60):
    ...     task = Task("words", f"t{number}", "transcription")
    ...     for name in ("ann", "bob", "cy"):
    ...         answer = Answer(f"word {number}" if name != "cy" or number % 2 else f"typo {number}", number)
    ...         _ = task.stand(name, answer)
    ...         model.answer(task, name, answer)
    >>> round(model.accuracy("ann"), 2), round(model.accuracy("cy"), 2)
    (0.96, 0.56)
    """

    form = ONE_COIN

    def __init__(self, half_lives: HalfLives) -> None:
        self._half_lives = half_lives
        self.labelers: dict[str, Coin] = {}
        self.changed: set[str] = set()
        """Labelers whose own evidence changed since the owner last emptied it."""
        self.population = Population((FIRST_ACCURACY,), CONCENTRATION)
        self._labels = DistinctSketch()
        self._former: list[str] = []
        """Classes of the matrix before, whose rows the posteriors of older tasks go by."""
        self._answers = 0
        self._estimate_at = FIRST_ESTIMATE

    @classmethod
    def successor(cls, model: ConfusionModel, half_lives: HalfLives) -> OneCoinModel:
        """Go on from a matrix that has seen too many classes; what it counted stays counted."""
        one = cls(half_lives)
        one._former = list(model.classes)
        for name in model.classes:
            one._labels.add(hash64(name))
        for labeler_id, counts in model.labelers.items():
            coin = one._labeler(labeler_id)
            own = model.evidence(labeler_id)
            coin.right, coin.weight = own.right * counts.scale, own.weight * counts.scale
            coin.labels, coin.base, coin.forgetting = counts.labels, counts.base, counts.forgetting
            coin.rescale()
            coin.heard = {partition: as_one_coin(evidence) for partition, (evidence, _) in counts.heard.items()}
        one.changed = set(model.labelers)
        one._answers = sum(counts.labels for counts in model.labelers.values())
        one._estimate()
        return one

    def answer(self, task: Task, labeler_id: str, answer: Answer, before: Answer | None = None) -> None:
        """Take a standing answer into account; ``before`` is the same labeler's answer that it replaces."""
        assert answer.label is not None
        self._translate(task)
        self._labels.add(hash64(answer.label))
        labeler = self._labeler(labeler_id)
        if (
            before is not None
            and before.label
            and before.is_counted
            and not before.is_retired
            and task.share is not None
        ):
            self._count(labeler, before, -task.share[task.labels.index(before.label)], -1.0)
        labeler.labels += 1
        elsewhere = sum([one.labels for one in labeler.heard.values()])
        labeler.forgetting.advance(self._half_lives, answer.submitted_ms, 1.0 + elsewhere / labeler.labels)
        labeler.rescale()
        right, weight = labeler.hits()
        change = labeler.forgetting.change(right / weight, weight) if weight > 0 else None
        if change is not None:
            labeler.restart(change, labeler.forgetting.last_ms)
        answer.clock, answer.serial = labeler.forgetting.clock, labeler.forgetting.answers
        self._answers += 1
        if self._answers >= self._estimate_at:
            self._estimate()
        self.changed.add(labeler_id)
        self.update(task)

    def update(self, task: Task) -> None:
        """E-step and M-step: what the answers and the truth say, and what that says of the labelers."""
        self._translate(task)
        votes = task.votes()
        truth = None if task.truth is None else task.truth.label
        for label in (*[answer.label for _, answer in votes], truth):
            if label is not None and label not in task.labels:
                task.labels.append(label)
        if not task.labels:
            return
        task.posterior = self._expect(task, votes, truth)
        if len(votes) > 1 or truth is not None:
            self._replace(task, votes, task.posterior)

    def consensus(self, task: Task) -> str | None:
        """The most probable label; of equals the one that sorts last."""
        return self.belief(task).label

    def belief(self, task: Task) -> Belief:
        """What is believed of a task now."""
        self._translate(task)
        return NOTHING if task.posterior is None else self._belief(task, task.posterior)

    def believe(self, task: Task, *, without: str | None = None) -> Belief:
        """What the answers alone say, perhaps without one labeler's; nothing is learned from it."""
        self._translate(task)
        votes = [vote for vote in task.votes() if vote[0] != without]
        return self._belief(task, self._expect(task, votes, None)) if votes else NOTHING

    def accuracy(self, labeler_id: str) -> float:
        """Probability that this labeler's next answer is right."""
        labeler = self.labelers.get(labeler_id)
        right, weight = (0.0, 0.0) if labeler is None else labeler.hits()
        prior = self.population.concentration
        return (right + prior * self.population.accuracy) / (weight + prior)

    def evidence(self, labeler_id: str) -> Evidence:
        """This source partition's own evidence on a labeler, whole."""
        one = self.labelers[labeler_id]
        right, weight = one.right / one.scale, one.weight / one.scale
        counts = {(RIGHT, 0, RIGHT): max(right, 0.0), (RIGHT, 0, WRONG): max(weight - right, 0.0)}
        known = (self.population.accuracy, self.population.concentration)
        return Evidence(
            ONE_COIN, one.labels, one.forgetting.last_ms, counts, known, changed_ms=one.forgetting.changed_ms
        )

    def hear(self, labeler_id: str, source_partition: int, evidence: Evidence) -> None:
        """Use another source partition's evidence, in place of what was heard from it before."""
        self._labeler(labeler_id).hear(source_partition, evidence)

    def dump(self) -> list[Any]:
        """The space without its labelers, as plain values."""
        known = self.population
        population = [known.accuracies[0], known.concentration]
        return [self._labels.hashes(), self._former, self._answers, self._estimate_at, *population]

    def load(self, state: list[Any]) -> None:
        """Continue from a dumped space; before its labelers."""
        hashes, self._former, self._answers, self._estimate_at, accuracy, concentration = state
        self._labels = DistinctSketch(hashes)
        self.population = Population((accuracy,), concentration)

    def dump_labeler(self, labeler_id: str) -> list[Any]:
        """A labeler's own evidence, exactly; what was heard of it is not in it."""
        one = self.labelers[labeler_id]
        return [one.right, one.weight, one.labels, one.base, one.forgetting.dump()]

    def load_labeler(self, labeler_id: str, state: list[Any]) -> None:
        """Continue with a dumped labeler of whom nothing was heard yet."""
        one = self._labeler(labeler_id)
        one.right, one.weight, one.labels, one.base, forgetting = state
        one.forgetting = Forgetting(*forgetting)
        one.rescale()

    def _translate(self, task: Task) -> None:
        """Read the rows of a task that the matrix before has seen: sum them up by label."""
        if task.labels or task.posterior is None:
            return
        task.labels = list(self._former)
        task.posterior = _by_class(task.posterior, len(task.labels))
        task.share = None if task.share is None else _by_class(task.share, len(task.labels))

    def _expect(self, task: Task, votes: list[tuple[str, Answer]], truth: str | None) -> list[float]:
        """E-step: odds of each label against one that nobody gave, the task's own share in no labeler's accuracy."""
        if truth is not None:
            return [1.0 if label == truth else 0.0 for label in task.labels]
        possible = max(self._labels.estimate(), len(task.labels), 2)
        odds = dict.fromkeys(task.labels, 1.0)
        share = dict(zip(task.labels, task.share or (), strict=False))
        prior, mean = self.population.concentration, self.population.accuracy
        for name, answer in votes:
            label: str = answer.label  # type: ignore[assignment]  # votes have labels
            labeler = self.labelers[name]
            right, weight = labeler.hits()
            if answer.is_counted:
                own = 2.0 ** (answer.clock - labeler.base) / labeler.scale
                right, weight = right - own * share[label], weight - own
            wrong = weight - right + prior * (1.0 - mean)
            odds[label] *= min((right + prior * mean) * (possible - 1) / max(wrong, 1e-9), 1e9)
        for label in task.refuted:
            if label in odds:
                odds[label] = 0.0
        total = sum(odds.values()) + (possible - len(odds))
        return [one / total for one in odds.values()] if total > 0 else [1.0 / len(odds)] * len(odds)

    def _replace(self, task: Task, votes: list[tuple[str, Answer]], posterior: list[float]) -> None:
        """M-step: the task's new share in every labeler's sums in place of its old one."""
        new = dict(zip(task.labels, posterior, strict=True))
        old = dict(zip(task.labels, task.share or (), strict=False))
        for name, answer in votes:
            label: str = answer.label  # type: ignore[assignment]  # votes have labels
            labeler = self.labelers[name]
            if answer.is_counted:
                self._count(labeler, answer, new[label] - old[label], 0.0)
            else:
                answer.is_counted = True
                self._count(labeler, answer, new[label], 1.0)
            labeler.forgetting.watch(answer.serial, new[label])
        self.changed.update([name for name, _ in votes])
        task.share = posterior

    def _count(self, labeler: Coin, answer: Answer, right: float, weight: float) -> None:
        unit = 2.0 ** (answer.clock - labeler.base)
        labeler.right += unit * right
        labeler.weight += unit * weight

    def _belief(self, task: Task, posterior: list[float]) -> Belief:
        chances = dict(zip(task.labels, posterior, strict=False))
        label = max(chances, key=lambda name: (chances[name], name))
        open_share = max(1.0 - sum(chances.values()), 0.0)
        entropy = 0.0 - sum([p * math.log(p) for p in (*chances.values(), open_share) if p > 0.0])
        return Belief(label, min(chances[label], 1.0), max(entropy, 0.0), chances)

    def _labeler(self, labeler_id: str) -> Coin:
        labeler = self.labelers.get(labeler_id)
        if labeler is None:
            labeler = self.labelers[shared(labeler_id)] = Coin()
        return labeler

    def _estimate(self) -> None:
        """Estimate the population again from the labelers' sums."""
        self._estimate_at = int(self._answers * GROWTH) + 1
        hits = [self.labelers[name].hits() for name in nsmallest(MAX_SAMPLE, self.labelers)]
        right, weight = sum([one[0] for one in hits]), sum([one[1] for one in hits])
        mean = (right + FIRST_ANSWERS * FIRST_ACCURACY) / (weight + FIRST_ANSWERS)
        between = Overdispersion(CONCENTRATION, CONCENTRATION_WEIGHT)
        for one_right, one_weight in hits:
            between.add(one_right, one_weight, mean)
        self.population = Population((mean,), between.concentration())


def _by_class(rows: list[float], classes: int) -> list[float]:
    """Sums over the kinds of each class; of classes that were added later, nothing."""
    sums = [sum(rows[row : row + KINDS]) for row in range(0, len(rows), KINDS)]
    return sums + [0.0] * (classes - len(sums))
