"""Owning partitions of a group of topics, whatever is made of them: batches are applied and made durable.

A checkpoint, in this order: how far it goes, messages to Kafka (dead letters among them), results to ClickHouse,
changed state together with the position in one insert, and only then the acknowledgement. Whatever fails before the
state is written is done again after a restart from the stored position: it sends the same messages and writes the same
rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast

import structlog

from schemas.rows import Row, StateRow
from streams.breaker import Breaker
from streams.decode import Record
from streams.outbox import Message, letter_message
from streams.outcome import Outcome
from streams.settings import Settings
from streams.sinks.sink import Sink
from streams.state.claims import Claims
from streams.state.partition_state import Changes
from streams.state.position import Position

log = structlog.get_logger()

Topic = str
Publish = Callable[[Sequence[Message]], Awaitable[None]]
"""Sends messages and returns when the broker has them."""
Acknowledge = Callable[[Topic, int, int, int], object]
"""Tells the transport that a topic's partition is done up to an offset, of a generation."""


class Batch(Protocol):
    """Consecutive records of one partition, and the group generation they were fetched in."""

    topic: Topic
    partition: int
    records: Sequence[Record]
    last_offset: int
    generation: int


class PipelineState(Protocol):
    """What one partition's pipeline knows. `restore` is the inverse of what `changes` says to store."""

    def position(self, topic: Topic) -> Position: ...
    def changes(self, now_ms: int) -> Changes: ...
    def restore(self, rows: Iterable[StateRow]) -> None: ...


class Pipeline(Protocol):
    """What is made of one partition: batches in, outcomes out. The same batches give the same outcomes."""

    @property
    def state(self) -> PipelineState: ...
    def process(self, topic: Topic, records: Sequence[Record]) -> Outcome: ...


P = TypeVar("P", bound=Pipeline)


class FencedError(Exception):
    """Another worker owns a partition that this one believed to be its own."""


@dataclass(slots=True)
class Owned(Generic[P]):
    """One owned partition of the group: its pipeline, and effects that are not durable yet."""

    pipeline: P
    breaker: Breaker
    generation: int
    pending: Outcome = field(default_factory=Outcome)
    heard_ms: int = 0
    """When a message last arrived, by the wall clock."""
    is_idle: bool = False
    has_more: bool = False
    """Whether the state changed since the last checkpoint began, though no message was read."""
    read_to: dict[Topic, int] = field(default_factory=dict)
    """Per topic, the last offset read since the last checkpoint began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerContext:
    """What an owner works with, whatever it makes of its partitions."""

    settings: Settings
    sink: Sink
    """Where rows go and state is read from."""
    claims: Claims
    """This worker's claims under the owner's name."""
    publish: Publish
    acknowledge: Acknowledge
    now_ms: Callable[[], int]
    """The wall clock; used for bookkeeping and for when to tell others, never for results."""
    on_written: Callable[[str, int], object] = lambda table, rows: None
    """Told of every table and the rows that ClickHouse has taken."""


@dataclass(slots=True)
class _Write(Generic[P]):
    partition: int
    owned: Owned[P]
    outcome: Outcome
    changes: Changes
    read_to: Mapping[Topic, int]


class Owner(Generic[P]):
    """Owner of some partitions.

    Args:
        context: what it works with.
        name: under which claims are made and state is kept.
        make: an empty pipeline of a partition, to be restored.
    """

    def __init__(self, context: OwnerContext, name: str, make: Callable[[int], P]) -> None:
        self._name = name
        self._make = make
        self._settings = context.settings
        self._sink = context.sink
        self._claims = context.claims
        self._publish = context.publish
        self._acknowledge = context.acknowledge
        self._now_ms = context.now_ms
        self._on_written = context.on_written
        self._assigning = asyncio.Lock()
        self._checkpointing = asyncio.Lock()
        self._forgotten = 0
        """How often partitions were given up: what was begun before must not end in owning."""
        self.partitions: dict[int, Owned[P]] = {}

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
                        log.info("partition.given_up", owner=self._name, partition=partition)
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
        position = self.partitions[partition].pipeline.state.position(topic)
        return position.offset + 1 if position.offset >= 0 or position.received else None

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

    def is_due(self, owned: Owned[P]) -> bool:
        """Whether a checkpoint has anything to do for this partition."""
        return bool(owned.read_to) or owned.has_more

    async def look_up(self, partition: int, owned: Owned[P]) -> None:
        """Find what the partition needs from the store, before a checkpoint begins."""

    def changes(self, partition: int, owned: Owned[P]) -> tuple[Changes, Outcome]:
        """What this checkpoint makes durable, and what it brings about that is for the next one."""
        return owned.pipeline.state.changes(self._now_ms()), Outcome()

    def messages(self, partition: int, changes: Changes) -> Sequence[Message]:
        """What else is sent to Kafka."""
        return changes.messages

    async def _checkpoint(self) -> int:
        due = {partition: owned for partition, owned in self.partitions.items() if self.is_due(owned)}
        if not due:
            return 0
        for partition, owned in due.items():
            await self.look_up(partition, owned)
        writes = [self._begin(partition, owned) for partition, owned in due.items()]
        writes = await self._still_owned(writes)
        if intents := [row for write in writes for row in write.changes.intent]:
            await self._write({"state": intents})
        letters = [letter_message(letter) for write in writes for letter in write.outcome.dead_letters]
        await self._publish([*letters, *(message for w in writes for message in self.messages(w.partition, w.changes))])
        await self._write(_merged(write.changes.results for write in writes))
        writes = await self._still_owned(writes)
        progress = [row for write in writes for row in write.changes.progress]
        await self._write({"source_progress": progress, "state": [row for w in writes for row in w.changes.state]})
        for write in writes:
            for topic, offset in write.read_to.items():
                self._acknowledge(topic, write.partition, offset, write.owned.generation)
        return sum(write.outcome.received for write in writes)

    def _begin(self, partition: int, owned: Owned[P]) -> _Write[P]:
        read_to, owned.read_to = owned.read_to, {}
        changes, following = self.changes(partition, owned)
        for table, rows in owned.pending.rows.items():
            changes.results.setdefault(table, []).extend(rows)
        write = _Write(partition, owned, owned.pending, changes, read_to)
        owned.pending = following
        return write

    async def _write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self._sink.write(rows)
        for table, written in rows.items():
            self._on_written(table, len(written))

    async def _still_owned(self, writes: list[_Write[P]]) -> list[_Write[P]]:
        """Leave out partitions that were revoked meanwhile; fail for one that was taken over unnoticed."""
        stale = await self._claims.stale()
        kept = [write for write in writes if self.partitions.get(write.partition) is write.owned]
        fenced = sorted(write.partition for write in kept if write.partition in stale)
        if fenced:
            raise FencedError(
                f"another worker has claimed source partitions {fenced}; this one stops writing for {self._name}"
            )
        return kept

    async def _restore(self, partition: int, generation: int, is_wanted: Callable[[], bool]) -> Owned[P] | None:
        settings = self._settings.pipeline
        if await self._claims.take(partition, self._now_ms(), is_wanted=is_wanted) is None:
            return None
        pipeline = self._make(partition)
        rows = await self._sink.read("state", app_id=self._name, source_partition=partition)
        if not is_wanted():
            self._claims.release(partition)
            return None
        pipeline.state.restore(cast(list[StateRow], rows))
        log.info("partition.restored", owner=self._name, partition=partition, values=len(rows))
        breaker = Breaker(settings.breaker_min_messages, settings.breaker_bad_share)
        owned = Owned(pipeline, breaker, generation, heard_ms=self._now_ms())
        self.resume(owned)
        return owned

    def resume(self, owned: Owned[P]) -> None:
        """Do what follows from a restored state before anything else is applied."""


def _merged(parts: Iterable[Mapping[str, list[Row]]]) -> dict[str, list[Row]]:
    merged: dict[str, list[Row]] = {}
    for part in parts:
        for table, rows in part.items():
            merged.setdefault(table, []).extend(rows)
    return merged
