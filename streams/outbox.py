"""What leaves a checkpoint towards Kafka: messages as values, and evidence packed for its readers.

Nothing is sent here. Who owns partitions sends the messages of a checkpoint, and waits for the broker, before
the state that says so is stored: a crash in between sends them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from detectors.evidence import Evidence, as_one_coin
from detectors.sketches import hash64
from schemas.dead_letter import DeadLetter
from schemas.topics import DEAD_LETTERS, LABELER_EVIDENCE

#: A batch of evidence is sent before it grows larger, and a record with more is cut down to it. Kafka's own limit for
#: a message, and aiokafka's for a request, is about a million.
MAX_MESSAGE_BYTES: Final = 900_000
_MAX_ENTRIES: Final = 1_000


class Message(NamedTuple):
    """One message for Kafka. Without ``partition`` its key decides; without ``value`` it deletes the key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None


def letter_message(letter: DeadLetter) -> Message:
    """A dead letter on its topic, under the key of the bad message."""
    return Message(DEAD_LETTERS.name, None, letter.key, letter.model_dump_json().encode())


class ChangedEvidence(NamedTuple):
    """What one source partition now knows of a labeler. ``version``: the sequence number that it includes."""

    project_id: str
    task_type: str
    labeler_id: str
    version: int
    evidence: Evidence


def labeler_partition(labeler_id: str, partitions: int) -> int:
    """The partition of `labeler-evidence` in which everything about a labeler meets.

    >>> [labeler_partition(name, 4) for name in ("ana", "ben", "cem", "dora")]
    [0, 0, 1, 3]
    """
    return hash64(labeler_id) % partitions


def evidence_messages(
    app_id: str, source_partition: int, changed: Iterable[ChangedEvidence], partitions: int
) -> list[Message]:
    """Pack changed evidence into as few messages as possible, one or more per partition of its topic.

    Args:
        app_id: whose evidence it is: applications that share topics do not mix theirs.
        source_partition: who knows it.
        changed: each labeler of each label space at most once.
        partitions: of ``labeler-evidence``.
    """
    head = orjson.dumps({"schema_version": 1, "app_id": app_id, "source_partition": source_partition})[:-1]
    packed: dict[int, list[bytes]] = {}
    for one in changed:
        packed.setdefault(labeler_partition(one.labeler_id, partitions), []).append(_entry(one))
    messages: list[Message] = []
    for partition, entries in sorted(packed.items()):
        for part in _parts(entries, MAX_MESSAGE_BYTES - len(head)):
            value = head + b',"entries":[' + b",".join(part) + b"]}"
            messages.append(Message(LABELER_EVIDENCE.name, partition, None, value))
    return messages


def _entry(one: ChangedEvidence) -> bytes:
    fields = {"project_id": one.project_id, "task_type": one.task_type, "labeler_id": one.labeler_id}
    entry = orjson.dumps({**fields, "version": one.version, "evidence": one.evidence.to_plain()})
    if len(entry) <= MAX_MESSAGE_BYTES // 2:
        return entry
    # Long class names in a full matrix: better known as one number than not known at all.
    return orjson.dumps({**fields, "version": one.version, "evidence": as_one_coin(one.evidence).to_plain()})


def _parts(entries: list[bytes], most_bytes: int) -> Iterable[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for entry in entries:
        if part and (size + len(entry) + 1 > most_bytes - 100 or len(part) == _MAX_ENTRIES):
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry) + 1
    if part:
        yield part
