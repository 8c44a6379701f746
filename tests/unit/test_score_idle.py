"""A partition that is read to its end and silent says so, once, and takes it back with the next message."""

from __future__ import annotations

from typing import cast

from schemas.rows import SourceProgressRow
from streams.score import Score
from streams.settings import Settings
from streams.sinks.sink import MemorySink
from tests.builders import annotation, batch, finished, owner_context, records

IDLE_MS = int(Settings().pipeline.idle_partition_seconds * 1_000)


class Clock:
    now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def _score(sink: MemorySink, clock: Clock) -> Score:
    return Score(owner_context(sink, now_ms=clock))


def _progress(sink: MemorySink) -> SourceProgressRow:
    (row,) = cast(list[SourceProgressRow], sink.rows("source_progress"))
    return row


def test_idleness_is_noted_once_and_taken_back() -> None:
    sink, clock = MemorySink(), Clock()
    score = _score(sink, clock)
    finished(score.assign([0], 1))
    score.process(batch(records([annotation()])))
    finished(score.note_idle([0]))
    assert not sink.rows("source_progress"), "nothing is durable yet"
    finished(score.checkpoint())

    clock.now_ms += IDLE_MS - 1
    finished(score.note_idle([0]))
    assert not _progress(sink).is_idle, "not silent for long enough"
    clock.now_ms += 1
    finished(score.note_idle([]))
    assert not _progress(sink).is_idle, "not read to its end"
    finished(score.note_idle([0]))
    assert _progress(sink).is_idle
    writes = len(sink.writes)
    finished(score.note_idle([0]))
    assert len(sink.writes) == writes, "said once"

    score.process(batch(records([annotation(event_id="e-2")], first_offset=1)))
    finished(score.checkpoint())
    assert not _progress(sink).is_idle


def test_a_partition_that_never_had_a_message_says_nothing() -> None:
    sink, clock = MemorySink(), Clock()
    score = _score(sink, clock)
    finished(score.assign([0], 1))
    clock.now_ms += IDLE_MS
    finished(score.note_idle([0]))
    assert not sink.rows("source_progress")
