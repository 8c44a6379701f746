"""A task as a unit of agreement: for each vendor, its labelers' answers, and the window that they count in."""

from __future__ import annotations

from typing import NamedTuple

from detectors.agreement import NOTHING, Contribution, unit_contribution
from detectors.consensus import Task


class Unit(NamedTuple):
    """What one vendor's answers to a task add to the agreement of the window of their earliest."""

    vendor_id: str
    home_ms: int
    contribution: Contribution


def units(task: Task, *, numeric: bool) -> list[Unit]:
    """Units of a task, of the answers that vote; a vendor with a single answer has none.

    >>> from detectors.consensus import Answer
    >>> task = Task("captions", "t1", "image_class")
    >>> for name, label, at_ms in (("ann", "cat", 5_000), ("bob", "cat", 2_000), ("cy", "dog", 9_000)):
    ...     _ = task.stand(name, Answer(label, at_ms, vendor_id="acme"))
    >>> [(unit.vendor_id, unit.home_ms, unit.contribution.values) for unit in units(task, numeric=False)]
    [('acme', 2000, 3)]
    """
    homes: dict[str, int] = {}
    counts: dict[str, dict[str, int]] = {}
    votes = task.votes()
    if len(votes) < 2:
        return []
    for _, answer in votes:
        vendor = answer.vendor_id
        homes[vendor] = min(homes.get(vendor, answer.submitted_ms), answer.submitted_ms)
        labels = counts.setdefault(vendor, {})
        label: str = answer.label  # type: ignore[assignment]  # votes have labels
        labels[label] = labels.get(label, 0) + 1
    found = (
        Unit(vendor, homes[vendor], unit_contribution(labels, numeric=numeric)) for vendor, labels in counts.items()
    )
    return [unit for unit in found if unit.contribution is not NOTHING]
