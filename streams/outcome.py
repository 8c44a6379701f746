"""What one batch came to: rows for ClickHouse, dead letters, and counts. A value; nothing is sent yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from schemas.dead_letter import FIRST_BYTES, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, DeadLetter, Origin
from schemas.rows import DeadLetterRow, Row
from schemas.times import EARLIEST_YEAR, LATEST_YEAR, to_ms
from streams.decode import Record, Refusal
from streams.measured import Measured

EARLIEST_MS: Final = to_ms(datetime(EARLIEST_YEAR, 1, 1, tzinfo=UTC))
LATEST_MS: Final = to_ms(datetime(LATEST_YEAR, 1, 1, tzinfo=UTC)) - 1


@dataclass(slots=True)
class Outcome:
    """Effects of some batches of one source partition, to be made durable by the next checkpoint."""

    rows: defaultdict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    dead_letters: list[DeadLetter] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    received: int = 0
    replayed: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0

    def refuse(self, topic: str, partition: int, record: Record, refusal: Refusal) -> None:
        """Turn a message into a dead letter, for its topic and its table."""
        key, value = record.key, record.value or b""
        letter = DeadLetter(
            reason=refusal.reason,
            detail=refusal.detail,
            origin=Origin(topic=topic, partition=partition, offset=record.offset),
            key=None if key is None else key[:MAX_KEY_BYTES],
            payload=value[:MAX_PAYLOAD_BYTES],
            truncated=len(value) > MAX_PAYLOAD_BYTES or len(key or b"") > MAX_KEY_BYTES,
            failed_at=datetime.fromtimestamp(arrival_ms(record) / 1_000, UTC),
        )
        self.dead_letters.append(letter)
        self.rows["dead_letters"].append(
            DeadLetterRow(
                origin_topic=topic,
                origin_partition=partition,
                origin_offset=record.offset,
                origin_key=_printable(key or b""),
                reason=refusal.reason.value,
                detail=refusal.detail,
                first_bytes=_printable(value),
                payload_bytes=len(value),
                failed_at=arrival_ms(record),
                status="open",
                version=0,
            )
        )

    def take(self, later: Outcome) -> None:
        """Append a later outcome of the same source partition."""
        for table, rows in later.rows.items():
            self.rows[table].extend(rows)
        self.dead_letters.extend(later.dead_letters)
        self.measured.take(later.measured)
        self.received += later.received
        self.replayed += later.replayed
        self.accepted += later.accepted
        self.duplicates += later.duplicates
        self.late += later.late


def arrival_ms(record: Record) -> int:
    """When the message was appended, from its Kafka timestamp, held to the years that every store can keep."""
    return min(max(record.timestamp, EARLIEST_MS), LATEST_MS)


def _printable(value: bytes) -> str:
    """The first bytes as text; what is not UTF-8 is shown as escapes."""
    return value[:FIRST_BYTES].decode("utf-8", "backslashreplace")


def unread(records: Sequence[Record], last_offset: int) -> Sequence[Record]:
    """The records after the last applied offset: what was applied before is never applied again."""
    if not records or records[0].offset > last_offset:
        return records
    return [record for record in records if record.offset > last_offset]
