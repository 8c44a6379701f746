"""How far one source partition of one topic has been read, and what became of its messages."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.rows import SourceProgressRow


@dataclass(slots=True)
class Position:
    """Position and exact counts; ``received`` = ``accepted`` + ``duplicates`` + ``dead_letters``, always."""

    offset: int = -1
    """The last offset applied; -1 before the first."""
    watermark_ms: int = 0
    received: int = 0
    accepted: int = 0
    duplicates: int = 0
    dead_letters: int = 0

    def row(self, app_id: str, topic: str, partition: int, now_ms: int, *, is_idle: bool = False) -> SourceProgressRow:
        """The position as BI and operators see it."""
        return SourceProgressRow(
            app_id=app_id,
            topic=topic,
            source_partition=partition,
            last_offset=self.offset,
            watermark=self.watermark_ms,
            received=self.received,
            accepted=self.accepted,
            duplicates=self.duplicates,
            dead_letters=self.dead_letters,
            is_idle=is_idle,
            updated_at=now_ms,
            version=self.offset,
        )
