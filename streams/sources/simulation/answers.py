"""How labelers answer: the truth of a task, a labeler's answer to it, and how often that answer is right.

Every form of answer follows one rule, so that a labeler's stated accuracy is exact: the answer to a task of difficulty
``d`` is wrong with probability ``error * (0.6 + 1.4 d)``. Difficulty is Beta(2, 5), whose mean is 2/7, so
that factor has mean 1 and errors of up to a half are never cut off.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Protocol

from schemas.labels import ClassLabel, Label, MulticlassLabel, RatingLabel, TextLabel
from streams.sources.simulation.captions import caption_of, draw_scene, paraphrase, spoil
from streams.sources.simulation.scenario import Project

MEAN_DIFFICULTY = 2 / 7
#: Concentration of a labeler's confusion rows around the skill: rows differ by about three points.
_ROW_CONCENTRATION = 80.0


def draw_difficulty(rng: Random) -> float:
    """Beta(2, 5): most tasks are easy."""
    return rng.betavariate(2, 5)


@dataclass(frozen=True, slots=True)
class Skill:
    """One labeler in one project.

    ``right[c]``: probability of the right answer where ``c`` is true; a single number where answers are not one class.
    ``wrong[c]``: cumulative probabilities of the other classes, given that the answer is wrong.
    """

    right: tuple[float, ...]
    wrong: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Remap:
    """Answers that become other answers: index to index, for a share of the time."""

    mapping: dict[int, int]
    share: float
    binds_spam: bool
    """Whether it holds for everybody (the class is gone from the tool) or only for those who try."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a labeler answers during one period: the skill, and what incidents do to it."""

    skill: Skill
    points_lost: float = 0.0
    spam_share: float = 0.0
    spam_constant: int | None = None
    """Index of the class that is always given (modulo the number of classes); None: at random."""
    bot_accuracy: float | None = None
    remaps: tuple[Remap, ...] = ()

    def right_share(self, true_class: int) -> float:
        """Probability of the right answer before spam and remaps, averaged over difficulty."""
        if self.bot_accuracy is not None:
            return self.bot_accuracy
        return max(0.0, self.skill.right[true_class] - self.points_lost)

    def is_right(self, rng: Random, true_class: int, difficulty: float) -> bool:
        """One draw of it for a task of that difficulty."""
        if self.bot_accuracy is not None:
            return rng.random() < self.bot_accuracy
        right = self.skill.right[true_class]
        chance = 1.0 - (1.0 - right) * (0.6 + 1.4 * difficulty)
        if self.points_lost:
            chance *= max(0.0, 1.0 - self.points_lost / right)
        return rng.random() < chance


#: Shape of a truth inside the simulation: a class index, a set of indices, or a caption's scene.
Truth = int | frozenset[int] | tuple[str, ...]


class Answers(Protocol):
    """One form of answer: what is true, what is said, how it looks on the wire."""

    def draw_truth(self, rng: Random) -> Truth:
        """The true answer of a new task."""
        ...

    def label(self, truth: Truth) -> Label:
        """The true answer as a label."""
        ...

    def draw_skill(self, rng: Random, accuracy: float) -> Skill:
        """A labeler's skill with about that accuracy."""
        ...

    def answer(self, rng: Random, truth: Truth, difficulty: float, behaviour: Behaviour) -> tuple[Label, bool]:
        """One answer, and whether it is right."""
        ...

    def accuracy(self, behaviour: Behaviour) -> float:
        """Probability that an answer is right, over all tasks."""
        ...


def answers_of(project: Project) -> Answers:
    """The form of answer of a project."""
    if project.kind == "text":
        return TextAnswers()
    if project.kind == "multiclass":
        return SetAnswers(project.classes)
    return ChoiceAnswers(project.classes, ordinal=project.kind == "rating")


def _pick(rng: Random, cumulative: Sequence[float]) -> int:
    return min(bisect(cumulative, rng.random()), len(cumulative) - 1)


def _dirichlet(rng: Random, weights: Sequence[float]) -> list[float]:
    draws = [rng.gammavariate(weight, 1.0) if weight > 0 else 0.0 for weight in weights]
    total = math.fsum(draws)
    return [draw / total for draw in draws]


class ChoiceAnswers:
    """One of K classes, or of K points on a scale, by a confusion matrix."""

    def __init__(self, classes: dict[str, float], *, ordinal: bool) -> None:
        total = math.fsum(classes.values())
        self.names = tuple(classes)
        self.priors = tuple(weight / total for weight in classes.values())
        self._ordinal = ordinal
        self._cumulative = tuple(accumulate(self.priors))
        self._labels: tuple[Label, ...] = tuple(
            RatingLabel(value=float(name)) if ordinal else ClassLabel(value=name) for name in classes
        )
        self._others = tuple(self._off_diagonal(c, [1.0] * len(classes)) for c in range(len(classes)))

    def _off_diagonal(self, true_class: int, weights: Sequence[float]) -> tuple[float, ...]:
        rest = [0.0 if c == true_class else weight for c, weight in enumerate(weights)]
        total = math.fsum(rest)
        return tuple(accumulate(weight / total for weight in rest))

    def draw_truth(self, rng: Random) -> Truth:
        return _pick(rng, self._cumulative)

    def label(self, truth: Truth) -> Label:
        assert isinstance(truth, int)
        return self._labels[truth]

    def draw_skill(self, rng: Random, accuracy: float) -> Skill:
        size = len(self.names)
        right: list[float] = []
        wrong: list[tuple[float, ...]] = []
        for true_class in range(size):
            near = [
                0.0 if c == true_class else math.exp(-1.2 * abs(c - true_class)) if self._ordinal else 1.0
                for c in range(size)
            ]
            spread = (1.0 - accuracy) / math.fsum(near)
            means = [accuracy if c == true_class else spread * near[c] for c in range(size)]
            row = _dirichlet(rng, [_ROW_CONCENTRATION * mean for mean in means])
            right.append(min(max(row[true_class], 0.5), 0.995))
            wrong.append(self._off_diagonal(true_class, row))
        return Skill(tuple(right), tuple(wrong))

    def answer(self, rng: Random, truth: Truth, difficulty: float, behaviour: Behaviour) -> tuple[Label, bool]:
        assert isinstance(truth, int)
        is_spam = behaviour.spam_share > 0 and rng.random() < behaviour.spam_share
        if is_spam:
            constant, size = behaviour.spam_constant, len(self.names)
            given = int(rng.random() * size) if constant is None else constant % size
        elif behaviour.is_right(rng, truth, difficulty):
            given = truth
        else:
            wrong = self._others if behaviour.bot_accuracy is not None else behaviour.skill.wrong
            given = _pick(rng, wrong[truth])
        for remap in behaviour.remaps:
            if given in remap.mapping and (remap.binds_spam or not is_spam) and rng.random() < remap.share:
                given = remap.mapping[given]
        return self._labels[given], given == truth

    def distribution(self, behaviour: Behaviour, true_class: int) -> list[float]:
        """Probability of each answer where ``true_class`` is true: one row of the confusion matrix, shape (K,)."""
        size = len(self.names)
        right = behaviour.right_share(true_class)
        cumulative = (self._others if behaviour.bot_accuracy is not None else behaviour.skill.wrong)[true_class]
        others = [high - low for low, high in zip((0.0, *cumulative), cumulative, strict=False)]
        honest = [right if c == true_class else (1.0 - right) * others[c] for c in range(size)]
        constant = behaviour.spam_constant
        spam = [1.0 / size if constant is None else float(c == constant % size) for c in range(size)]
        for remap in behaviour.remaps:
            for row in (honest, spam) if remap.binds_spam else (honest,):
                before = list(row)
                for source, target in remap.mapping.items():
                    row[source] -= before[source] * remap.share
                    row[target] += before[source] * remap.share
        share = behaviour.spam_share
        return [(1.0 - share) * h + share * s for h, s in zip(honest, spam, strict=True)]

    def accuracy(self, behaviour: Behaviour) -> float:
        return math.fsum(p * self.distribution(behaviour, c)[c] for c, p in enumerate(self.priors))


class SetAnswers:
    """Any number of classes, each present independently of the others; right means exactly the true set."""

    def __init__(self, classes: dict[str, float]) -> None:
        self.names = tuple(classes)
        self._present = tuple(classes.values())
        self._labels: dict[frozenset[int], Label] = {}

    def draw_truth(self, rng: Random) -> Truth:
        return frozenset(c for c, share in enumerate(self._present) if rng.random() < share)

    def label(self, truth: Truth) -> Label:
        assert isinstance(truth, frozenset)
        if truth not in self._labels:
            self._labels[truth] = MulticlassLabel(values=[self.names[c] for c in sorted(truth)])
        return self._labels[truth]

    def draw_skill(self, rng: Random, accuracy: float) -> Skill:
        return Skill((accuracy,))

    def answer(self, rng: Random, truth: Truth, difficulty: float, behaviour: Behaviour) -> tuple[Label, bool]:
        assert isinstance(truth, frozenset)
        size = len(self.names)
        if behaviour.spam_share and rng.random() < behaviour.spam_share:
            constant = behaviour.spam_constant
            given = (
                frozenset(c for c in range(size) if rng.random() < 0.5)
                if constant is None
                else frozenset((constant % size,))
            )
        elif behaviour.is_right(rng, 0, difficulty):
            given = truth
        else:
            flips = 1 if rng.random() < 0.7 else 2
            given = truth ^ frozenset(rng.sample(range(size), flips))
        return self.label(given), given == truth

    def accuracy(self, behaviour: Behaviour) -> float:
        size, constant = len(self.names), behaviour.spam_constant
        spam = (
            0.5**size
            if constant is None
            else math.prod(p if c == constant % size else 1.0 - p for c, p in enumerate(self._present))
        )
        return (1.0 - behaviour.spam_share) * behaviour.right_share(0) + behaviour.spam_share * spam


class TextAnswers:
    """Captions. Right means that a reviewer would accept it: no two good ones are the same."""

    def draw_truth(self, rng: Random) -> Truth:
        return draw_scene(rng)

    def label(self, truth: Truth) -> Label:
        assert isinstance(truth, tuple)
        return TextLabel(value=caption_of(truth))

    def draw_skill(self, rng: Random, accuracy: float) -> Skill:
        return Skill((accuracy,))

    def answer(self, rng: Random, truth: Truth, difficulty: float, behaviour: Behaviour) -> tuple[Label, bool]:
        assert isinstance(truth, tuple)
        if behaviour.spam_share and rng.random() < behaviour.spam_share:
            return TextLabel(value=spoil(rng, truth, behaviour.spam_constant)), False
        if behaviour.is_right(rng, 0, difficulty):
            return TextLabel(value=paraphrase(rng, truth)), True
        return TextLabel(value=spoil(rng, truth, None)), False

    def accuracy(self, behaviour: Behaviour) -> float:
        return (1.0 - behaviour.spam_share) * behaviour.right_share(0)
