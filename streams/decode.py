"""From bytes to events: a batch at once, one by one only for what is bad. Every refusal says why.

Each message is parsed on its own before the batch is validated as a list, so no message can spill into its
neighbour, and nothing is ever executed or unpickled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.dead_letter import Reason
from schemas.events import MAX_EVENT_BYTES, SCHEMA_VERSIONS, AnnotationEvent, ReviewEvent
from schemas.topics import ANNOTATIONS, REVIEWS

Event = AnnotationEvent | ReviewEvent
E = TypeVar("E", AnnotationEvent, ReviewEvent)


class Record(Protocol):
    """A Kafka record, as every client has it. ``timestamp``: ms since the epoch, when it was appended."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Refusal(NamedTuple):
    """Why a message is a dead letter: the reason, and one sentence for a person."""

    reason: Reason
    detail: str


_ANNOTATIONS: Final = TypeAdapter(list[AnnotationEvent])
_REVIEWS: Final = TypeAdapter(list[ReviewEvent])
_SHOWN_CHARS: Final = 80
#: Names and tags inside a message can be as long as the message: what is said about them must not be, since a dead
#: letter has to fit into a Kafka message together with its payload.
_MESSAGE_CHARS: Final = 300


def decode_annotations(records: Sequence[Record]) -> list[AnnotationEvent | Refusal]:
    """One event or refusal per record, in order."""
    return _decode(records, _ANNOTATIONS)


def decode_reviews(records: Sequence[Record]) -> list[ReviewEvent | Refusal]:
    """One event or refusal per record, in order."""
    return _decode(records, _REVIEWS)


def check_payload(topic: str, key: bytes | None, payload: bytes) -> Refusal | None:
    """Whether one message would be accepted now; used before a dead letter is sent again.

    Raises:
        ValueError: no such input topic.
    """
    record = _Payload(0, 0, key, payload)
    if topic == ANNOTATIONS.name:
        outcome: Event | Refusal = decode_annotations([record])[0]
    elif topic == REVIEWS.name:
        outcome = decode_reviews([record])[0]
    else:
        raise ValueError(f"{topic!r} is not an input topic; known: {ANNOTATIONS.name}, {REVIEWS.name}")
    return outcome if isinstance(outcome, Refusal) else check_key(outcome, key)


def check_key(event: Event, key: bytes | None) -> Refusal | None:
    """The Kafka key must be the task: it decides the partition, and with it who owns the task's state."""
    if key == event.task_id.encode():
        return None
    shown = "missing" if key is None else repr(key[:_SHOWN_CHARS].decode("utf-8", "replace"))
    return Refusal(Reason.KEY_MISMATCH, f"Kafka key is {shown}, task_id is {event.task_id!r}: they must be equal")


class _Payload(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def _decode(records: Sequence[Record], adapter: TypeAdapter[list[E]]) -> list[E | Refusal]:
    outcomes: list[E | Refusal | None] = [None] * len(records)
    parsed: list[object] = []
    places: list[int] = []
    for place, record in enumerate(records):
        document = _parse(record.value)
        if isinstance(document, Refusal):
            outcomes[place] = document
        else:
            parsed.append(document)
            places.append(place)
    while parsed:
        try:
            events = adapter.validate_python(parsed)
        except ValidationError as error:
            refused = _refusals(error)
            for at, refusal in refused.items():
                outcomes[places[at]] = refusal
            parsed = [document for at, document in enumerate(parsed) if at not in refused]
            places = [place for at, place in enumerate(places) if at not in refused]
        else:
            for place, event in zip(places, events, strict=True):
                outcomes[place] = event
            break
    assert all(outcome is not None for outcome in outcomes)
    return outcomes  # type: ignore[return-value]  # every place was filled above


def _parse(value: bytes | None) -> dict[str, object] | Refusal:
    if not value:
        return Refusal(Reason.EMPTY, "message has no value")
    if len(value) > MAX_EVENT_BYTES:
        return Refusal(Reason.TOO_LARGE, f"message has {len(value):,} bytes, at most {MAX_EVENT_BYTES:,} are read")
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        hint = " (NaN and Infinity are not JSON)" if b"NaN" in value or b"Infinity" in value else ""
        return Refusal(Reason.NOT_JSON, f"not JSON: {error}{hint}")
    if not isinstance(document, dict):
        return Refusal(Reason.NOT_JSON, f"a JSON object is expected, got {type(document).__name__}")
    version = document.get("schema_version", 1)
    if type(version) is not int or version not in SCHEMA_VERSIONS:
        known = ", ".join(str(v) for v in sorted(SCHEMA_VERSIONS))
        return Refusal(
            Reason.UNKNOWN_SCHEMA_VERSION, f"schema_version {_shown(version)} is not known here; known: {known}"
        )
    return document


def _refusals(error: ValidationError) -> dict[int, Refusal]:
    """The first problem of each bad document, by its place in the list."""
    refused: dict[int, Refusal] = {}
    for problem in error.errors(include_url=False):
        place, *path = problem["loc"]
        assert isinstance(place, int)
        if place in refused:
            continue
        message = _cut(problem["msg"].removeprefix("Value error, "), _MESSAGE_CHARS)
        if len(path) == 3 and path[0] == "features" and path[2] != "[key]":  # one problem per member of a union
            path, message = path[:2], "must be a finite number, true or false, or text of at most 1,000 characters"
        where = ".".join(_cut(str(part), _SHOWN_CHARS) for part in path)
        if not where:  # about the event as a whole
            early = "is before started_at" in message
            refused[place] = Refusal(Reason.SUBMITTED_BEFORE_STARTED if early else Reason.INVALID_FIELD, message)
        elif problem["type"] == "missing":
            refused[place] = Refusal(Reason.INVALID_FIELD, f"{where}: required field is missing")
        else:
            refused[place] = Refusal(Reason.INVALID_FIELD, f"{where}: {message} (got {_shown(problem['input'])})")
    return refused


def _shown(value: object) -> str:
    try:
        return _cut(repr(value), _SHOWN_CHARS)
    except RecursionError:  # JSON may nest deeper than Python recurses
        return f"a deeply nested {type(value).__name__}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"
