"""Tasks: drawn when somebody needs one, open until they have the labels that the project wants."""

from __future__ import annotations

import math
from bisect import bisect, bisect_left
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from random import Random
from typing import Final

from schemas.events import FeatureValue
from schemas.labels import Label
from streams.sources.simulation.answers import MEAN_DIFFICULTY, Answers, Truth, draw_difficulty
from streams.sources.simulation.scenario import Feature, Project

#: How much longer the hardest task takes than the easiest, in log.
_DIFFICULTY_SLOWS: Final = 0.35
#: Open tasks that are tried for a labeler at random before the backlog is gone through in order.
_TRIES: Final = 6
#: Open tasks, relative to those wanted, beyond which the oldest is given up with too few labels. Bounds memory.
_BACKLOG: Final = 50
_NUMBER: Final = attrgetter("number")


@dataclass(slots=True)
class Task:
    """One task and who has labelled it so far."""

    task_id: str
    number: int
    """How many of the project were drawn before."""
    project: int
    truth: Truth
    difficulty: float
    features: dict[str, FeatureValue]
    log_slow: float
    gold_label: Label | None
    missing: int
    labelers: list[int] = field(default_factory=list)


class TaskQueue:
    """The open tasks of one project."""

    def __init__(self, project: Project, index: int, answers: Answers, rng: Random) -> None:
        self._project = project
        self._index = index
        self._answers = answers
        self._rng = rng
        self._open: list[Task] = []
        self._drawn = 0
        #: Of each labeler who had to go through the backlog: below this number every open task is done.
        self._done_below: dict[int, int] = {}
        # An odd multiplier permutes 32-bit numbers: ids look random and never repeat.
        self._salt = rng.getrandbits(32)
        self._features = [_FeatureDraw(name, feature) for name, feature in project.features.items()]

    def take(self, labeler: int) -> Task:
        """A task this labeler has not done: one of the oldest open ones, or a new one while too few are open."""
        rng, tasks, wanted = self._rng, self._open, self._project.open_tasks
        if len(tasks) >= wanted:
            for _ in range(_TRIES):
                position = int(rng.random() * wanted)
                if labeler not in tasks[position].labelers:
                    return self._assign(position, labeler)
            # Whoever works alone has done the oldest; the rest of the backlog is older than anything new.
            for position in range(bisect_left(tasks, self._done_below.get(labeler, 0), key=_NUMBER), len(tasks)):
                if labeler not in tasks[position].labelers:
                    self._done_below[labeler] = tasks[position].number
                    return self._assign(position, labeler)
            self._done_below[labeler] = self._drawn
            if len(tasks) >= _BACKLOG * wanted:
                # Nobody left can finish it: it stays with fewer labels.
                tasks.pop(0)
        tasks.append(self._draw())
        return self._assign(len(tasks) - 1, labeler)

    def _assign(self, position: int, labeler: int) -> Task:
        task = self._open[position]
        task.labelers.append(labeler)
        task.missing -= 1
        if task.missing == 0:
            del self._open[position]
        return task

    def _draw(self) -> Task:
        rng, project = self._rng, self._project
        number, self._drawn = self._drawn, self._drawn + 1
        difficulty = draw_difficulty(rng)
        log_slow = _DIFFICULTY_SLOWS * (difficulty - MEAN_DIFFICULTY)
        features: dict[str, FeatureValue] = {}
        for feature in self._features:
            features[feature.name], slow = feature.draw(rng)
            log_slow += slow
        truth = self._answers.draw_truth(rng)
        is_gold = project.gold_share > 0 and rng.random() < project.gold_share
        return Task(
            task_id=f"{project.id}-{(number * 0x9E3779B1 + self._salt) & 0xFFFFFFFF:08x}",
            number=number,
            project=self._index,
            truth=truth,
            difficulty=difficulty,
            features=features,
            log_slow=log_slow,
            gold_label=self._answers.label(truth) if is_gold else None,
            missing=project.overlap,
        )


class _FeatureDraw:
    """One feature's distribution, made ready for drawing."""

    def __init__(self, name: str, feature: Feature) -> None:
        self.name = name
        self._feature = feature
        choices = feature.choices or {}
        total = math.fsum(choices.values())
        self._values = tuple(choices)
        self._cumulative = tuple(accumulate(weight / total for weight in choices.values()))

    def draw(self, rng: Random) -> tuple[FeatureValue, float]:
        """A value, and the log of how much longer it makes the work."""
        feature = self._feature
        if feature.median is None:
            return self._values[min(bisect(self._cumulative, rng.random()), len(self._values) - 1)], 0.0
        log_ratio = rng.gauss(0.0, feature.sigma)
        value = round(feature.median * math.exp(log_ratio), feature.decimals)
        return (value if feature.decimals else int(value)), feature.slows * log_ratio
