"""What a source is: anything that yields annotations and reviews in event-time order, and says what it refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from schemas.events import AnnotationEvent, ReviewEvent
from schemas.times import to_ms
from schemas.topics import ANNOTATIONS, REVIEWS


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot become an event, with where it stands and why. ``row`` counts from 1, header excluded."""

    file: str
    row: int
    column: str | None
    reason: str

    def __str__(self) -> str:
        column = f", column {self.column}" if self.column else ""
        return f"{self.file}, row {self.row}{column}: {self.reason}"


Item = AnnotationEvent | ReviewEvent | Rejected


class SourceError(Exception):
    """A source cannot be read at all; the message names the file, and the row and column where there is one."""


class Source(Protocol):
    """One way into labelwatch. Iterating twice yields the same items."""

    def __iter__(self) -> Iterator[Item]:
        """Events ordered by event time; refused rows come first.
        The simulator yields in arrival order, which is the same but for annotations that a stall holds back.

        Raises:
            SourceError: the file is missing, not readable or not of this format.
        """
        ...

    def estimate(self) -> int | None:
        """About how many items there are, for the progress bar; None when unknown."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """What the producer sends: bytes, and the event time that paces a replay."""

    topic: str
    key: bytes
    value: bytes
    event_ms: int


def to_message(event: AnnotationEvent | ReviewEvent) -> Message:
    """The event on its topic, keyed by its task."""
    key = event.task_id.encode()
    value = event.model_dump_json(exclude_none=True).encode()
    if isinstance(event, AnnotationEvent):
        return Message(ANNOTATIONS.name, key, value, to_ms(event.submitted_at))
    return Message(REVIEWS.name, key, value, to_ms(event.reviewed_at))
