"""Replaying dead letters: what becomes of each, and in which order it is made durable.

Per batch: (a) messages are sent and flushed, (b) status rows are written, (c) only then the position is committed. A
replay that is cut short anywhere repeats at most one batch, and recognises what it did by the status rows; what is
sent twice all the same is dropped by the workers, by its ``event_id``.

A dead letter that is to stay (another reason than asked for, or still bad with ``stop``) keeps its place on the topic:
the position never passes it. Later ones may be dealt with before it; their status says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from pydantic import ValidationError

from schemas.dead_letter import FIRST_BYTES, DeadLetter, Origin, Reason
from schemas.rows import DeadLetterRow
from schemas.times import to_ms
from schemas.topics import ANNOTATIONS, DEAD_LETTERS, REVIEWS
from streams.decode import Refusal

#: Topics that a dead letter may be sent back to.
INPUT_TOPICS: Final = frozenset({ANNOTATIONS.name, REVIEWS.name})

#: Topic, key and payload to why it would be refused now; None when it would be accepted.
Validate = Callable[[str, bytes | None, bytes], Refusal | None]


class OnError(StrEnum):
    """What becomes of a dead letter that is still bad."""

    STOP = "stop"
    REQUEUE = "requeue"
    DROP = "drop"


class Action(StrEnum):
    """What a replay does with one message of the dead-letter topic."""

    REPLAY = "replayed"
    REQUEUE = "requeued"
    DROP = "dropped"
    SKIP = "skipped"
    """Replayed or dropped before, or the same origin again."""
    LEAVE = "left"
    """Not asked for; it keeps its place."""
    STOP = "still bad"


class Received(NamedTuple):
    """One message of the dead-letter topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


class Status(StrEnum):
    """What became of a dead letter, in ClickHouse."""

    OPEN = "open"
    REPLAYED = "replayed"
    DROPPED = "dropped"


class DeadLetterTopic(Protocol):
    """The dead-letter topic as one replay sees it. Kafka's is in ``dead_letter_topic.py``."""

    def batches(self) -> Iterable[Sequence[Received]]:
        """From the committed position to the end as it was at the start: what is requeued meanwhile is not seen."""
        ...

    def send(self, topic: str, partition: int | None, key: bytes | None, value: bytes) -> None:
        """Begin to send; ``flush`` says whether it arrived. No partition: the key decides."""
        ...

    def flush(self) -> None:
        """Return when all that was sent has arrived; raises when some did not."""
        ...

    def commit(self, positions: Mapping[int, int]) -> None:
        """The next offset to read, per partition."""
        ...


class DeadLetterTable(Protocol):
    """The ``dead_letters`` table. ClickHouse's is in ``dead_letter_table.py``."""

    def current(self, origins: Iterable[Origin]) -> Mapping[Origin, DeadLetterRow]:
        """The latest row of each origin that has one."""
        ...

    def write(self, rows: Sequence[DeadLetterRow]) -> None:
        """Return when they are durable."""
        ...


@dataclass(slots=True)
class ReplayReport:
    """What a replay did (or would do)."""

    counts: dict[Action, int] = field(default_factory=lambda: dict.fromkeys(Action, 0))
    by_reason: dict[tuple[str, Action], int] = field(default_factory=dict)
    """Per reason that the letters were refused for in the first place."""
    first_bad: str | None = None
    """Which one stopped the replay, and why."""

    def add(self, reason: str, action: Action) -> None:
        self.counts[action] += 1
        self.by_reason[(reason, action)] = self.by_reason.get((reason, action), 0) + 1

    @property
    def handled(self) -> int:
        """Letters that were dealt with for good, or that stopped the replay."""
        return sum(self.counts[a] for a in (Action.REPLAY, Action.REQUEUE, Action.DROP, Action.STOP))


class Replay:
    """One run over the dead-letter topic.

    Args:
        validate: whether a payload would be accepted now.
        on_error: what to do with those still bad.
        reason: only these; others stay.
        limit: at most so many are dealt with.
        dry_run: send, write and commit nothing; go on past those that would stop it, to count them all.
    """

    def __init__(
        self,
        topic: DeadLetterTopic,
        table: DeadLetterTable,
        validate: Validate,
        on_error: OnError,
        *,
        reason: Reason | None = None,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> None:
        self._topic, self._table, self._validate = topic, table, validate
        self._on_error, self._reason, self._limit, self._dry_run = on_error, reason, limit, dry_run
        self._done: set[tuple[Origin, datetime]] = set()
        self._kept: dict[int, int] = {}
        """Per partition, the offset of the first letter that stays."""
        self.report = ReplayReport()

    def run(self) -> Iterator[int]:
        """Deal with batch after batch; yields how many messages each had, after it is durable."""
        for batch in self._topic.batches():
            read, rows, finished = self._batch(batch)
            if not self._dry_run:
                self._topic.flush()
                if rows:
                    self._table.write(rows)
                self._topic.commit(self._positions(batch[:read]))
            yield read
            if finished:
                return

    def _positions(self, read: Sequence[Received]) -> dict[int, int]:
        positions = {message.partition: message.offset + 1 for message in read}
        return {p: min(after, self._kept.get(p, after)) for p, after in positions.items()}

    def _batch(self, batch: Sequence[Received]) -> tuple[int, list[DeadLetterRow], bool]:
        """Decide and send. Returns how many messages were read, the rows to write, and whether this is the end."""
        letters = [_parse(message) for message in batch]
        current = dict(self._table.current({letter.origin for letter in letters if isinstance(letter, DeadLetter)}))
        rows: list[DeadLetterRow] = []
        for place, (message, letter) in enumerate(zip(batch, letters, strict=True)):
            if self._limit is not None and self.report.handled >= self._limit:
                return place, rows, True
            row = current.get(letter.origin) if isinstance(letter, DeadLetter) else None
            action, refusal = self._decide(letter, row)
            self.report.add(letter.reason.value if isinstance(letter, DeadLetter) else "unreadable", action)
            if action is Action.STOP and self.report.first_bad is None:
                self.report.first_bad = _describe(message, letter, refusal)
            if action in (Action.LEAVE, Action.STOP):
                self._kept.setdefault(message.partition, message.offset)
            elif isinstance(letter, DeadLetter):
                self._done.add((letter.origin, letter.failed_at))
            if action is Action.STOP and not self._dry_run:
                return place, rows, True
            if not self._dry_run:
                self._send(action, message, letter, refusal)
            if isinstance(letter, DeadLetter) and action in _STATUS_AFTER:
                current[letter.origin] = _next_row(letter, row, _STATUS_AFTER[action], refusal)
                rows.append(current[letter.origin])
        return len(batch), rows, False

    def _decide(self, letter: DeadLetter | Refusal, row: DeadLetterRow | None) -> tuple[Action, Refusal | None]:
        still_bad = {OnError.STOP: Action.STOP, OnError.REQUEUE: Action.REQUEUE, OnError.DROP: Action.DROP}
        if isinstance(letter, Refusal):
            return (Action.LEAVE if self._reason is not None else still_bad[self._on_error]), letter
        # The time tells a letter from one of the same offset, of a topic that was deleted and created again.
        same = row is not None and row.failed_at == to_ms(letter.failed_at)
        if (letter.origin, letter.failed_at) in self._done or (same and row is not None and row.status != Status.OPEN):
            return Action.SKIP, None
        if self._reason is not None and letter.reason is not self._reason:
            return Action.LEAVE, None
        refusal = self._check(letter)
        return (Action.REPLAY if refusal is None else still_bad[self._on_error]), refusal

    def _check(self, letter: DeadLetter) -> Refusal | None:
        if letter.truncated:
            return Refusal(
                letter.reason,
                f"payload was cut at {len(letter.payload):,} bytes, so it cannot be replayed: its producer has to send "
                "it again",
            )
        if letter.origin.topic not in INPUT_TOPICS:
            return Refusal(letter.reason, f"its topic {letter.origin.topic!r} is not one that is read")
        return self._validate(letter.origin.topic, letter.key, letter.payload)

    def _send(self, action: Action, message: Received, letter: DeadLetter | Refusal, refusal: Refusal | None) -> None:
        if action is Action.REPLAY and isinstance(letter, DeadLetter):
            # The same partition as before: its owner holds the task's state, whatever partitioner the producer uses.
            self._topic.send(letter.origin.topic, letter.origin.partition, letter.key, letter.payload)
        elif action is Action.REQUEUE and isinstance(letter, DeadLetter) and refusal is not None:
            again = letter.model_copy(
                update={"attempts": letter.attempts + 1, "reason": refusal.reason, "detail": refusal.detail}
            )
            self._topic.send(DEAD_LETTERS.name, None, message.key, again.model_dump_json().encode())
        elif action is Action.REQUEUE:
            self._topic.send(DEAD_LETTERS.name, None, message.key, message.value)


_STATUS_AFTER: Final = {
    Action.REPLAY: Status.REPLAYED,
    Action.REQUEUE: Status.OPEN,
    Action.DROP: Status.DROPPED,
}


def _parse(message: Received) -> DeadLetter | Refusal:
    try:
        return DeadLetter.model_validate_json(message.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "message"
        return Refusal(Reason.NOT_JSON, f"not a dead letter: {where}: {first['msg']}")


def _describe(message: Received, letter: DeadLetter | Refusal, refusal: Refusal | None) -> str:
    place = f"{DEAD_LETTERS.name}/{message.partition} at {message.offset}"
    origin = letter.origin if isinstance(letter, DeadLetter) else None
    came_from = f", from {origin.topic}/{origin.partition} at {origin.offset}" if origin else ""
    why = f"{refusal.reason.value}: {refusal.detail}" if refusal else "unknown"
    return f"{place}{came_from}: {why}"


def _next_row(letter: DeadLetter, row: DeadLetterRow | None, status: Status, refusal: Refusal | None) -> DeadLetterRow:
    """The letter's row with its new status. Without one (ClickHouse was lost) it is made from the letter."""
    return DeadLetterRow(
        origin_topic=letter.origin.topic,
        origin_partition=letter.origin.partition,
        origin_offset=letter.origin.offset,
        origin_key=(letter.key or b"")[:FIRST_BYTES].decode("utf-8", "backslashreplace"),
        reason=(refusal.reason if refusal else letter.reason).value,
        detail=refusal.detail if refusal else letter.detail,
        first_bytes=letter.payload[:FIRST_BYTES].decode("utf-8", "backslashreplace"),
        payload_bytes=row.payload_bytes if row is not None else len(letter.payload),
        failed_at=to_ms(letter.failed_at),
        status=status.value,
        version=row.version + 1 if row is not None else 1,
    )
