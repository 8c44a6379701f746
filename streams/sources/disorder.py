"""Fault injection over encoded messages: duplicates, lines that can never be used, and late arrival. Streaming."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import heappop, heappush
from random import Random
from typing import Any, Final

from schemas.dead_letter import Reason
from schemas.events import MAX_ID_CHARS
from schemas.times import format_utc, parse_utc
from schemas.topics import ANNOTATIONS
from streams.sources.source import Message


class Malformation(StrEnum):
    """What is wrong with a malformed line."""

    NOT_JSON = "not_json"
    TRUNCATED = "truncated"
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"
    MISSING_FIELD = "missing_field"
    NOT_A_NUMBER = "not_a_number"
    OVERSIZED_FIELD = "oversized_field"
    NAIVE_TIME = "naive_time"
    SUBMITTED_BEFORE_STARTED = "submitted_before_started"
    WRONG_KEY = "wrong_key"


#: The dead letter's reason for each.
REASONS: Final = {
    Malformation.NOT_JSON: Reason.NOT_JSON,
    Malformation.TRUNCATED: Reason.NOT_JSON,
    Malformation.UNKNOWN_SCHEMA_VERSION: Reason.UNKNOWN_SCHEMA_VERSION,
    Malformation.MISSING_FIELD: Reason.INVALID_FIELD,
    # NaN is no JSON number, although many producers write it.
    Malformation.NOT_A_NUMBER: Reason.NOT_JSON,
    Malformation.OVERSIZED_FIELD: Reason.INVALID_FIELD,
    Malformation.NAIVE_TIME: Reason.INVALID_FIELD,
    Malformation.SUBMITTED_BEFORE_STARTED: Reason.SUBMITTED_BEFORE_STARTED,
    Malformation.WRONG_KEY: Reason.KEY_MISMATCH,
}


@dataclass(slots=True)
class DisorderCounts:
    """What has come out so far. ``produced`` counts everything, duplicates and malformed lines included."""

    produced: int = 0
    duplicates: int = 0
    malformed: int = 0
    duplicates_by_topic: Counter[str] = field(default_factory=Counter)
    malformed_by_kind: Counter[Malformation] = field(default_factory=Counter)

    @property
    def originals(self) -> int:
        """The messages that went in."""
        return self.produced - self.duplicates - self.malformed


class Disorder(Iterator[Message]):
    """The disordered messages; ``counts`` is complete when they are used up. Made by :func:`disorder`."""

    def __init__(
        self, messages: Iterable[Message], *, seed: int, duplicates: float, malformed: float, shuffle_seconds: float
    ) -> None:
        for name, share in (("duplicates", duplicates), ("malformed", malformed)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, got {share:g}")
        if not 0 <= shuffle_seconds < float("inf"):
            raise ValueError(f"shuffle_seconds must be 0 or more, got {shuffle_seconds:g}")
        self.counts = DisorderCounts()
        self._duplicates = duplicates
        self._malformed = malformed
        self._span_ms = shuffle_seconds * 1000
        self._rng = Random(f"{seed}/disorder")
        self._heap: list[tuple[float, int, Message, Malformation | None, bool]] = []
        self._sequence = 0
        self._output = self._run(messages)

    def __next__(self) -> Message:
        return next(self._output)

    def _run(self, messages: Iterable[Message]) -> Iterator[Message]:
        heap, rng, span_ms = self._heap, self._rng, self._span_ms
        now_ms: float = float("-inf")
        for message in messages:
            # What an ingestion stall held back arrives when it is let go, not at its event time.
            now_ms = max(now_ms, message.event_ms)
            # Whatever is still to come is due at now_ms or later, and loses ties.
            while heap and heap[0][0] <= now_ms:
                yield self._pop()
            due_ms = now_ms + rng.random() * span_ms
            self._push(due_ms, message)
            if rng.random() < self._duplicates:
                self._push(rng.uniform(due_ms, now_ms + span_ms), message, is_duplicate=True)
            if rng.random() < self._malformed:
                bad, kind = malform(message, rng)
                self._push(now_ms + rng.random() * span_ms, bad, kind)
        while heap:
            yield self._pop()

    def _push(
        self, due_ms: float, message: Message, kind: Malformation | None = None, is_duplicate: bool = False
    ) -> None:
        self._sequence += 1
        heappush(self._heap, (due_ms, self._sequence, message, kind, is_duplicate))

    def _pop(self) -> Message:
        _, _, message, kind, is_duplicate = heappop(self._heap)
        counts = self.counts
        counts.produced += 1
        if is_duplicate:
            counts.duplicates += 1
            counts.duplicates_by_topic[message.topic] += 1
        if kind is not None:
            counts.malformed += 1
            counts.malformed_by_kind[kind] += 1
        return message


def disorder(
    messages: Iterable[Message], *, seed: int, duplicates: float, malformed: float, shuffle_seconds: float
) -> Disorder:
    """Messages as a bad day delivers them; the same for the same seed.

    Args:
        messages: in arrival order.
        seed: of everything random.
        duplicates: share of messages that come again, byte for byte, within the span.
        malformed: share of messages beside which an **extra** line comes that can never be used.
        shuffle_seconds: each message is delayed by U(0, this) and the arrivals sorted. Memory holds this span.

    Raises:
        ValueError: a share outside 0 to 1, or a negative span.

    >>> two = [Message("annotations", b"t-1", b"{}", 1_000), Message("annotations", b"t-2", b"{}", 2_000)]
    >>> messy = disorder(two, seed=1, duplicates=1.0, malformed=0.0, shuffle_seconds=0)
    >>> [m.key for m in messy], messy.counts.duplicates
    ([b't-1', b't-1', b't-2', b't-2'], 2)
    """
    return Disorder(messages, seed=seed, duplicates=duplicates, malformed=malformed, shuffle_seconds=shuffle_seconds)


def malform(message: Message, rng: Random) -> tuple[Message, Malformation]:
    """A line like this message that no decoder may accept, and what is wrong with it."""
    kind = rng.choice(_OF_ANNOTATIONS if message.topic == ANNOTATIONS.name else _OF_REVIEWS)
    if kind is Malformation.NOT_JSON:
        return Message(message.topic, message.key, b"<html><h1>502 Bad Gateway</h1></html>", message.event_ms), kind
    if kind is Malformation.TRUNCATED:
        cut = rng.randint(1, max(1, len(message.value) - 1))
        return Message(message.topic, message.key, message.value[:cut], message.event_ms), kind
    event: dict[str, Any] = json.loads(message.value)
    if "event_id" in event:
        # Its own identity: a bad line must not be taken for a duplicate of the good one.
        event["event_id"] = f"{rng.getrandbits(128):032x}"
    key = message.key
    if kind is Malformation.WRONG_KEY:
        key = b"not-" + key
    else:
        _SPOIL[kind](event)
    value = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
    return Message(message.topic, key, value, message.event_ms), kind


def _time_field(event: dict[str, Any]) -> str:
    return "submitted_at" if "submitted_at" in event else "reviewed_at"


def _unknown_version(event: dict[str, Any]) -> None:
    event["schema_version"] = 99


def _missing_field(event: dict[str, Any]) -> None:
    del event["labeler_id" if "submitted_at" in event else "reviewer_id"]


def _not_a_number(event: dict[str, Any]) -> None:
    event["active_seconds"] = float("nan")


def _oversized_field(event: dict[str, Any]) -> None:
    event["labeler_id"] = "x" * (MAX_ID_CHARS + 1)


def _naive_time(event: dict[str, Any]) -> None:
    name = _time_field(event)
    event[name] = str(event[name]).removesuffix("Z")


def _submitted_before_started(event: dict[str, Any]) -> None:
    submitted: datetime = parse_utc(event["submitted_at"])
    event["started_at"] = format_utc(submitted + timedelta(hours=1))


_SPOIL: Final[dict[Malformation, Callable[[dict[str, Any]], None]]] = {
    Malformation.UNKNOWN_SCHEMA_VERSION: _unknown_version,
    Malformation.MISSING_FIELD: _missing_field,
    Malformation.NOT_A_NUMBER: _not_a_number,
    Malformation.OVERSIZED_FIELD: _oversized_field,
    Malformation.NAIVE_TIME: _naive_time,
    Malformation.SUBMITTED_BEFORE_STARTED: _submitted_before_started,
}
_OF_ANNOTATIONS: Final = tuple(Malformation)
_OF_REVIEWS: Final = tuple(
    kind for kind in Malformation if kind not in (Malformation.NOT_A_NUMBER, Malformation.SUBMITTED_BEFORE_STARTED)
)
