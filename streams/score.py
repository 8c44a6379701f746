"""SCORE without its framework: owns the partitions it was given, applies batches, and makes them durable.

A checkpoint, in this order: dead letters to Kafka, results to ClickHouse, changed state together with the position
in one insert, and only then the acknowledgement. Whatever fails before the state is written is done again after a
restart from the stored position, and writes the same rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import structlog

from schemas.dead_letter import DeadLetter
from schemas.rows import Row, StateRow
from streams.breaker import Breaker
from streams.decode import Record
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.settings import Settings
from streams.sinks.sink import Sink
from streams.state.claims import Claims
from streams.state.partition_state import Changes, PartitionState

log = structlog.get_logger()

Topic = str


class Batch(Protocol):
    """Consecutive records of one partition, and the group generation they were fetched in."""

    topic: Topic
    partition: int
    records: Sequence[Record]
    last_offset: int
    generation: int


class FencedError(Exception):
    """Another worker owns a partition that this one believed to be its own."""


@dataclass(slots=True)
class Owned:
    """One owned source partition: its pipeline, and effects that are not durable yet."""

    pipeline: PartitionPipeline
    breaker: Breaker
    generation: int
    pending: Outcome = field(default_factory=Outcome)
    heard_ms: int = 0
    """When a message last arrived, by the wall clock."""
    is_idle: bool = False
    read_to: dict[Topic, int] = field(default_factory=dict)
    """Per topic, the last offset read since the last checkpoint began."""


@dataclass(slots=True)
class _Write:
    partition: int
    owned: Owned
    outcome: Outcome
    changes: Changes
    read_to: Mapping[Topic, int]


class Score:
    """Owner of some source partitions.

    Args:
        settings: the worker's settings.
        sink: where rows go and state is read from.
        claims: this worker's claims.
        publish: sends dead letters and returns when the broker has them.
        acknowledge: tells the transport that a topic's partition is done up to an offset, of a generation.
        now_ms: the wall clock; used for bookkeeping columns only, never for results.
        on_written: told of every table and the rows that ClickHouse has taken.
    """

    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        claims: Claims,
        *,
        publish: Callable[[Sequence[DeadLetter]], Awaitable[None]],
        acknowledge: Callable[[Topic, int, int, int], object],
        now_ms: Callable[[], int],
        on_written: Callable[[str, int], object] = lambda table, rows: None,
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._claims = claims
        self._publish = publish
        self._acknowledge = acknowledge
        self._now_ms = now_ms
        self._on_written = on_written
        self._assigning = asyncio.Lock()
        self._checkpointing = asyncio.Lock()
        self._forgotten = 0
        """How often partitions were given up: what was begun before must not end in owning."""
        self.partitions: dict[int, Owned] = {}

    @property
    def pending_messages(self) -> int:
        """Messages applied and not yet durable."""
        return sum(owned.pending.received for owned in self.partitions.values())

    async def assign(self, partitions: Iterable[int], generation: int) -> bool:
        """Own exactly these partitions: claim and restore what is new, forget what is gone.

        One at a time: a second restore would replace a state to which batches were applied. Returns False, and owns
        nothing more, if partitions were forgotten while it waited for ClickHouse: they may be another worker's now.
        """
        began = self._forgotten
        async with self._assigning:
            wanted = set(partitions)
            self._let_go(set(self.partitions) - wanted)
            for partition in sorted(wanted):
                owned = self.partitions.get(partition)
                if owned is None:
                    restored = await self._restore(partition, generation, lambda: began == self._forgotten)
                    if restored is None:
                        log.info("partition.given_up", partition=partition)
                        return False
                    self.partitions[partition] = restored
                else:
                    owned.generation = generation
            return True

    def forget(self, partitions: Iterable[int]) -> None:
        """Stop owning partitions. What was not checkpointed is left to the next owner."""
        self._forgotten += 1
        self._let_go(partitions)

    def _let_go(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.partitions.pop(partition, None)
            self._claims.release(partition)

    def next_offset(self, topic: Topic, partition: int) -> int | None:
        """Where reading goes on; None when nothing of the partition was applied yet."""
        offset = self.partitions[partition].pipeline.state.position(topic).offset
        return None if offset < 0 else offset + 1

    def process(self, batch: Batch) -> Outcome | None:
        """Apply a batch in memory; None if it is of a partition or generation that is not owned any more.

        Raises:
            BreakerOpenError: most recent input is bad. The partition is not owned any more.
        """
        owned = self.partitions.get(batch.partition)
        if owned is None or owned.generation != batch.generation:
            return None
        try:
            outcome = owned.pipeline.process(batch.topic, batch.records)
            owned.breaker.add(outcome.received, len(outcome.dead_letters))
        except BaseException:
            # The state now includes some of a batch whose effects are not pending: it must never be stored.
            self.forget([batch.partition])
            raise
        owned.pending.take(outcome)
        owned.read_to[batch.topic] = batch.last_offset
        owned.heard_ms, owned.is_idle = self._now_ms(), False
        return outcome

    async def checkpoint(self) -> int:
        """Make everything applied so far durable and acknowledge it; how many messages that were.

        One at a time; batches may be applied meanwhile, they belong to the next one. After a failure nothing is
        owned any more: the partitions have to be assigned, and with that restored, again.

        Raises:
            FencedError: another worker owns one of the partitions.
            SinkError: rows can never be written.
            SinkStoppedError: told to stop while ClickHouse was away; nothing was acknowledged.
        """
        async with self._checkpointing:
            try:
                return await self._checkpoint()
            except BaseException:
                # Effects have left memory and are not durable. A later checkpoint would store positions beyond them.
                self.forget(list(self.partitions))
                raise

    async def _checkpoint(self) -> int:
        writes = [self._begin(p, owned) for p, owned in self.partitions.items() if owned.read_to]
        if not writes:
            return 0
        writes = await self._still_owned(writes)
        await self._publish([letter for write in writes for letter in write.outcome.dead_letters])
        await self._write(_merged(write.changes.results for write in writes))
        writes = await self._still_owned(writes)
        progress = [row for write in writes for row in write.changes.progress]
        await self._write({"source_progress": progress, "state": [row for w in writes for row in w.changes.state]})
        for write in writes:
            for topic, offset in write.read_to.items():
                self._acknowledge(topic, write.partition, offset, write.owned.generation)
        return sum(write.outcome.received for write in writes)

    async def note_idle(self, read_to_end: Iterable[int]) -> None:
        """Say of partitions that are read to their end and were silent since that they hold no window back.

        Only windows' completeness depends on it, which is a matter of the clock; results never do.
        """
        now_ms, idle_ms = self._now_ms(), self._settings.pipeline.idle_partition_seconds * 1_000
        rows: list[Row] = []
        for partition in read_to_end:
            owned = self.partitions.get(partition)  # it may have been revoked since it was looked at
            if owned is None or owned.is_idle or owned.read_to or now_ms - owned.heard_ms < idle_ms:
                continue
            owned.is_idle = True
            rows.extend(owned.pipeline.state.progress_rows(now_ms, is_idle=True))
        if rows:
            await self._write({"source_progress": rows})

    def _begin(self, partition: int, owned: Owned) -> _Write:
        changes = owned.pipeline.state.changes(self._now_ms())
        for table, rows in owned.pending.rows.items():
            changes.results.setdefault(table, []).extend(rows)
        write = _Write(partition, owned, owned.pending, changes, owned.read_to)
        owned.pending, owned.read_to = Outcome(), {}
        return write

    async def _write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self._sink.write(rows)
        for table, written in rows.items():
            self._on_written(table, len(written))

    async def _still_owned(self, writes: list[_Write]) -> list[_Write]:
        """Leave out partitions that were revoked meanwhile; fail for one that was taken over unnoticed."""
        stale = await self._claims.stale()
        kept = [write for write in writes if self.partitions.get(write.partition) is write.owned]
        fenced = sorted(write.partition for write in kept if write.partition in stale)
        if fenced:
            raise FencedError(f"another worker has claimed source partitions {fenced}; this one stops writing")
        return kept

    async def _restore(self, partition: int, generation: int, is_wanted: Callable[[], bool]) -> Owned | None:
        settings = self._settings
        if await self._claims.take(partition, self._now_ms(), is_wanted=is_wanted) is None:
            return None
        state = PartitionState(settings.worker.app_id, partition, settings.pipeline)
        rows = await self._sink.read("state", app_id=settings.worker.app_id, source_partition=partition)
        if not is_wanted():
            self._claims.release(partition)
            return None
        state.restore(cast(list[StateRow], rows))
        log.info("partition.restored", partition=partition, values=len(rows), tasks=len(state.tasks))
        breaker = Breaker(settings.pipeline.breaker_min_messages, settings.pipeline.breaker_bad_share)
        return Owned(PartitionPipeline(state, settings.projects), breaker, generation, heard_ms=self._now_ms())


def _merged(parts: Iterable[Mapping[str, list[Row]]]) -> dict[str, list[Row]]:
    merged: dict[str, list[Row]] = {}
    for part in parts:
        for table, rows in part.items():
            merged.setdefault(table, []).extend(rows)
    return merged
