"""What SCORE says of answers for rules to look at: collected as messages are applied, packed at a checkpoint.

Items are plain tuples, with the fields of `schemas.measurements` in order, but for their segment, which is spelled out
until they are packed: this is the hot path. Each has the sequence number (`PartitionState.sequence`) of the message
that brought it about, which is the same when the message is applied again after a crash. WATCH passes over the numbers
that it knows, so everything of one number stays in one message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

import orjson

from detectors.beliefs import Outcome as Held
from detectors.consensus import MAX_VOTES, Answer, Task
from detectors.sketches import hash64
from schemas.events import ReviewEvent
from schemas.labels import canonical
from schemas.measurements import MAX_ITEMS, MAX_LABEL_CHARS, Segment
from schemas.times import to_ms
from schemas.topics import MEASUREMENTS
from streams.outbox import MAX_MESSAGE_BYTES, Message

#: The vendor of answers from before vendors were remembered.
UNKNOWN_VENDOR: Final = "(unknown)"
#: The only partition of the topic: WATCH sees everything in one order.
PARTITION: Final = 0

Item = tuple[Any, ...]


@dataclass(slots=True)
class Measured:
    """Items of one source partition, each list in order of sequence numbers (their first field)."""

    answers: list[Item] = field(default_factory=list)
    truths: list[Item] = field(default_factory=list)
    reviews: list[Item] = field(default_factory=list)
    settled: list[Item] = field(default_factory=list)
    refused: list[Item] = field(default_factory=list)
    arrived_ms: int = 0
    """When the latest message that was applied had arrived."""

    def __len__(self) -> int:
        return sum(len(items) for items in self.lists())

    def lists(self) -> tuple[list[Item], ...]:
        """The items by kind, in the order of the fields."""
        return (self.answers, self.truths, self.reviews, self.settled, self.refused)

    def take(self, later: Measured) -> None:
        """Append what came later."""
        for items, more in zip(self.lists(), later.lists(), strict=True):
            items.extend(more)
        self.arrived_ms = max(self.arrived_ms, later.arrived_ms)

    def late_truth(self, sequence: int, task: Task, labeler_id: str, answer: Answer, is_correct: bool | None) -> None:
        """An answer turns out right or wrong, or other than it was measured (``answer.gold_correct``)."""
        segment = (task.project_id, task.task_type, answer.vendor_id or UNKNOWN_VENDOR)
        self.truths.append((sequence, segment, labeler_id, answer.submitted_ms, answer.gold_correct, is_correct))

    def review(self, sequence: int, task: Task, review: ReviewEvent, answer: Answer) -> None:
        """A review looked at a labeler's answer. One that only says a truth to which the answer, a text, cannot be
        compared, says nothing of it."""
        is_wrong = None
        if review.true_label is not None and answer.label is not None:
            is_wrong = canonical(review.true_label) != answer.label
        if review.accepted is None and is_wrong is None:
            return
        segment = (task.project_id, task.task_type, answer.vendor_id or UNKNOWN_VENDOR)
        is_rejected = review.accepted is False or is_wrong is True
        self.reviews.append((sequence, segment, review.labeler_id, to_ms(review.reviewed_at), is_rejected))

    def settle(self, sequence: int, task: Task, held: Held) -> None:
        """What was believed of a task met its truth. It counts for the vendor whose answer arrived last."""
        latest = next(reversed(task.answers.values()), None)
        vendor_id = (latest.vendor_id if latest else "") or UNKNOWN_VENDOR
        segment = (task.project_id, task.task_type, vendor_id)
        self.settled.append((sequence, segment, held.truth.at_ms, min(held.confidence, 1.0), held.is_right))


class Sender(NamedTuple):
    """Who says it, and how far it has come."""

    app_id: str
    source_partition: int
    sent_ms: int
    is_at_end: bool
    is_idle: bool
    watermark_ms: int


def short_label(label: str) -> str:
    """A canonical label, or the hash of a long one.

    >>> short_label("cat"), short_label("x" * 65)
    ('cat', 'c085721fdfc5c936')
    """
    return label if len(label) <= MAX_LABEL_CHARS else f"{hash64(label):016x}"


def peers(task: Task, labeler_id: str, label: str | None) -> tuple[int, int]:
    """How many other labelers' standing answers there are to compare with, and how many are the same."""
    answers = task.answers
    if label is None or len(answers) < 2:
        return 0, 0
    found: Iterable[tuple[str, Answer]] = answers.items() if len(answers) <= MAX_VOTES else task.votes()
    others = [one.label for name, one in found if one.label is not None and name != labeler_id]
    return len(others), others.count(label)


def measurement_messages(sender: Sender, measured: Measured) -> list[Message]:
    """As few messages as the limits of their size allow, in order; one empty one where there is nothing to say."""
    return [Message(MEASUREMENTS.name, PARTITION, None, value) for value in _packed(sender, measured)]


def _packed(sender: Sender, measured: Measured) -> Iterator[bytes]:
    if len(measured) <= MAX_ITEMS:
        value = _encoded(sender, measured)
        if len(value) <= MAX_MESSAGE_BYTES:
            yield value
            return
    parts = _halves(measured)
    if parts is not None:
        for part in parts:
            yield from _packed(sender, part)
    elif measured.truths:
        # One message that changed the truth of a thousand answers with the longest ids there may be. Better to know
        # it of some than of none: a message that the broker does not take stops the worker.
        yield from _packed(sender, replace(measured, truths=measured.truths[: len(measured.truths) // 2]))


def _halves(measured: Measured) -> tuple[Measured, Measured] | None:
    """The items in two, cut between sequence numbers; None if there is only one."""
    numbers = sorted(item[0] for items in measured.lists() for item in items)
    cut = numbers[len(numbers) // 2]
    if cut == numbers[0]:
        cut = next((number for number in numbers if number > cut), cut)
    if cut == numbers[0]:
        return None
    first, second = Measured(arrived_ms=measured.arrived_ms), Measured(arrived_ms=measured.arrived_ms)
    for items, before, after in zip(measured.lists(), first.lists(), second.lists(), strict=True):
        for item in items:
            (before if item[0] < cut else after).append(item)
    return first, second


def _encoded(sender: Sender, measured: Measured) -> bytes:
    numbers: dict[Segment, int] = {}
    document: dict[str, Any] = {
        "kind": "measurements",
        "schema_version": 1,
        **sender._asdict(),
        "arrived_ms": measured.arrived_ms,
    }
    for one, items in zip(fields(Measured), measured.lists(), strict=False):
        if one.name == "refused":
            document[one.name] = items
        else:
            document[one.name] = [(item[0], numbers.setdefault(item[1], len(numbers)), *item[2:]) for item in items]
    document["segments"] = list(numbers)
    return orjson.dumps(document)
