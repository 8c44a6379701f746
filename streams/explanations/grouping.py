"""From counted groups of answers to rows that can be explained: as fine as they are few enough."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from detectors.explain import Row, Totals
from streams.explanations.question import HOUR_MS

MAX_GROUPS: Final = 30_000
"""Groups that are explained: a second of CPU. Beyond it they are made coarser, never left out."""
MAX_CLASSES: Final = 20
"""Classes of a task type that are told apart, the most frequent ones."""


class Detail(NamedTuple):
    """What groups are told apart by, besides labeler, vendor and task type."""

    classes: bool
    hours: bool


#: From the finest on. Of classes without hours more is known than of hours without classes.
DETAILS: Final = (Detail(classes=True, hours=True), Detail(classes=True, hours=False), Detail(False, False))


class Group(NamedTuple):
    """Answers that are counted together."""

    labeler: str
    vendor: str
    task_type: str
    true_class: str
    answer: str
    hour: str
    """Start of the hour (UTC), as in 2026-01-05 07:00; empty before the change, and where hours are not told apart."""
    is_after: bool
    answers: int
    value: float
    squares: float


def hour_text(at_ms: int) -> str:
    """The hour of a time, as groups have it.

    >>> hour_text(1_767_596_461_000)
    '2026-01-05 07:00'
    """
    return f"{datetime.fromtimestamp(at_ms // HOUR_MS * 3_600, UTC):%Y-%m-%d %H:00}"


def rows_of(groups: Iterable[Group], *, mean: bool) -> list[Row]:
    """Rows of an explanation; classes beyond the most frequent ones of a task type count as one.

    Args:
        groups: each key before and after once.
        mean: whether values are numbers, not 0 or 1.
    """
    groups = list(groups)
    seen: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for group in groups:
        seen[group.task_type][group.true_class] += group.answers
    kept = {task_type: _most_frequent(classes) for task_type, classes in seen.items()}
    sums: defaultdict[tuple[str, ...], list[list[float]]] = defaultdict(lambda: [[0.0] * 3, [0.0] * 3])
    for group in groups:
        told = group.true_class in kept[group.task_type]
        classes = (group.true_class, group.answer) if told and group.true_class else ("", "")
        side = sums[group.labeler, group.vendor, group.task_type, *classes, group.hour][group.is_after]
        side[0] += group.answers
        side[1] += group.value
        side[2] += group.squares

    def totals(side: list[float]) -> Totals:
        return Totals(side[0], side[1], side[2] if mean and side[0] else None)

    return [
        Row(labeler, vendor, totals(before), totals(after), task_type, true_class, answer, hour)
        for (labeler, vendor, task_type, true_class, answer, hour), (before, after) in sums.items()
    ]


def _most_frequent(answers: Mapping[str, int]) -> set[str]:
    return set(sorted(answers, key=lambda name: (-answers[name], name))[:MAX_CLASSES])
