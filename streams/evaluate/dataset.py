"""Labels with a known truth, as one sequence."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple


class GivenLabel(NamedTuple):
    """One labeler's answer to one task."""

    task_id: str
    labeler_id: str
    label: str
    at_ms: int
    """Event time (UTC ms)."""
    seconds: float | None = None
    """Handling time; None if unknown."""


@dataclass(frozen=True)
class Dataset:
    """Labels in the order in which they arrive, one per task and labeler, and the true label of some of the tasks."""

    labels: tuple[GivenLabel, ...]
    truth: dict[str, str]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Every task with a label, in order of its first one."""
        return tuple(dict.fromkeys(given.task_id for given in self.labels))

    @cached_property
    def labelers(self) -> tuple[str, ...]:
        """Every labeler, in order of the first label."""
        return tuple(dict.fromkeys(given.labeler_id for given in self.labels))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every label, given or true, sorted."""
        return tuple(sorted({given.label for given in self.labels} | set(self.truth.values())))

    @cached_property
    def labeler_accuracy(self) -> dict[str, float]:
        """Share of right labels of every labeler with a label on a task with truth."""
        right: dict[str, list[bool]] = {}
        for given in self.labels:
            if given.task_id in self.truth:
                right.setdefault(given.labeler_id, []).append(given.label == self.truth[given.task_id])
        return {labeler: sum(marks) / len(marks) for labeler, marks in right.items()}

    def shuffled(self, seed: int) -> Dataset:
        """The same labels in random order; the times keep their order, so that event time never runs backwards."""
        order = list(self.labels)
        random.Random(seed).shuffle(order)
        times = sorted(given.at_ms for given in self.labels)
        labels = tuple(given._replace(at_ms=at_ms) for given, at_ms in zip(order, times, strict=True))
        return replace(self, labels=labels)

    def golds(self, at_most: int, seed: int) -> frozenset[str]:
        """Random tasks whose truth may be revealed: never more than half of those with truth, the rest is measured."""
        known = sorted(self.truth)
        return frozenset(random.Random(seed).sample(known, min(at_most, len(known) // 2)))


def first_labels(labels: Iterable[GivenLabel]) -> tuple[GivenLabel, ...]:
    """The first label of every labeler on every task, as published comparisons have it.

    >>> len(first_labels([GivenLabel("t1", "ann", "cat", 0), GivenLabel("t1", "ann", "dog", 1)]))
    1
    """
    first: dict[tuple[str, str], GivenLabel] = {}
    for given in labels:
        first.setdefault((given.task_id, given.labeler_id), given)
    return tuple(first.values())
