"""An agent: a short loop that hands batches to an owner of partitions, and checkpoints by size and by age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from streams.health import HealthState
from streams.metrics import METRICS
from streams.outcome import Outcome
from streams.owner import Owned, Owner
from streams.record_batch import TP, RecordBatch
from streams.settings import WorkerSettings
from streams.transport import batch_topic

if TYPE_CHECKING:
    import faust

log = structlog.get_logger()

#: How often the age of what is pending, the loop's lag and the consumer's lag are looked at.
TICK_SECONDS = 0.2

AnyOwner = TypeVar("AnyOwner", bound=Owner[Any])


class OwnerAgent(Generic[AnyOwner]):
    """Feeds an `Owner` from Faust and reports on it.

    Args:
        app: the application; its producer and consumer are looked up when they are used.
        name: of the agent, and the first word of its log events.
        topics: read together; the owner owns a partition of all of them.
        fail: told of the error that must end the worker.
    """

    def __init__(
        self,
        app: faust.App,
        name: str,
        topics: tuple[str, ...],
        settings: WorkerSettings,
        health: HealthState,
        fail: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.topics = topics
        self.owner: AnyOwner
        """Set before the application starts; it needs this agent's `acknowledge`."""
        self._app = app
        self._settings = settings
        self._health = health
        self._fail = fail
        self._checkpointed_at = time.monotonic()
        self._is_stopping = False
        self._has_failed = False
        app.agent(batch_topic(app, *topics), name=name)(self._consume)

    def fail(self, error: BaseException) -> None:
        """End the worker for this reason; nothing that is pending is acknowledged."""
        self._fail(error)

    def give_up(self) -> None:
        """Take no more batches and make no more checkpoints: something has failed."""
        self._has_failed = True

    def acknowledge(self, topic: str, partition: int, offset: int, generation: int) -> None:
        """Pass the checkpoint's acknowledgement on to the transport."""
        if self._app.consumer.acknowledge(TP(topic, partition), offset, generation):
            METRICS.position.labels(topic, str(partition)).set(offset + 1)

    async def assign(self, tps: Iterable[TP], generation: int) -> Mapping[TP, int] | None:
        """Own exactly these; where each goes on. None if they were revoked meanwhile."""
        tps = [tp for tp in tps if tp.topic in self.topics]
        if not await self.owner.assign({tp.partition for tp in tps}, generation):
            return None
        if any(tp.partition not in self.owner.partitions for tp in tps):
            return None
        found = {tp: self.owner.next_offset(tp.topic, tp.partition) for tp in tps}
        return {tp: offset for tp, offset in found.items() if offset is not None}

    async def revoke(self, tps: Iterable[TP]) -> None:
        """Checkpoint a last time, and stop owning these."""
        partitions = {tp.partition for tp in tps if tp.topic in self.topics}
        if not self._has_failed:
            await self.checkpoint_or_fail()
        self.owner.forget(partitions)
        for partition in map(str, partitions):
            self.stop_showing(partition)

    async def keep_checkpointing(self) -> None:
        """Checkpoint what has waited for long enough, until cancelled. By size, the agent's loop does it."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            due = time.monotonic() - self._checkpointed_at >= self._settings.checkpoint_seconds
            if due and not self._is_stopping and not self._has_failed:
                await self.checkpoint_or_fail()
                await self.after_checkpoint()

    async def after_checkpoint(self) -> None:
        """What else is done at the pace of checkpoints."""

    async def stop(self) -> None:
        """Take no more batches, and make durable what was applied."""
        self._is_stopping = True
        if not self._has_failed:
            await self.checkpoint()

    async def checkpoint_or_fail(self) -> None:
        """Make a checkpoint; an error ends the worker."""
        try:
            await self.checkpoint()
        except Exception as error:
            self.fail(error)

    def report(self, now: float) -> None:
        """Report lag and progress of what is owned."""
        for partition, owned in self.owner.partitions.items():
            self.show(str(partition), owned)
            for topic in self.topics:
                lag = self.lag(topic, partition)
                if lag is not None:
                    position = owned.pipeline.state.position(topic).offset
                    METRICS.lag_messages.labels(topic, str(partition)).set(lag)
                    self._health.progress(topic, partition, position, lag, now)
                    self.note_lag(topic, partition, lag)

    def lag(self, topic: str, partition: int) -> int | None:
        """Messages of an owned partition that are not applied yet; None while that is unknown."""
        position = self.owner.partitions[partition].pipeline.state.position(topic).offset
        lag: int | None = self._app.consumer.lag(TP(topic, partition), position + 1)
        return lag

    def show(self, partition: str, owned: Owned[Any]) -> None:
        """Report what is special about this agent's partitions."""

    def stop_showing(self, partition: str) -> None:
        """Remove the figures of a revoked partition, which would stand still here beside those of the next owner."""
        for topic in self.topics:
            METRICS.lag_messages.remove(topic, partition)
            METRICS.position.remove(topic, partition)

    def note_lag(self, topic: str, partition: int, lag: int) -> None:
        """Told of the lag of each partition that is known."""

    def note_batch(self, batch: RecordBatch, outcome: Outcome, seconds: float) -> None:
        """Report what is special about this agent's batches."""

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if self._is_stopping or self._has_failed:
                continue
            try:
                await self._apply(event.value)
                if self.owner.pending_messages >= self._settings.checkpoint_events:
                    await self.checkpoint()
            except Exception as error:  # an error that left the agent would restart it and lose its place
                self.fail(error)
            await asyncio.sleep(0)

    async def process(self, batch: RecordBatch) -> Outcome | None:
        """Let the owner apply a batch."""
        return self.owner.process(batch)

    async def _apply(self, batch: RecordBatch) -> None:
        began = time.perf_counter()
        outcome = await self.process(batch)
        if outcome is None:
            log.info("batch.not_owned", topic=batch.topic, partition=batch.partition, first_offset=batch.first_offset)
            return
        seconds = time.perf_counter() - began
        for kind, count in (
            ("accepted", outcome.accepted),
            ("duplicate", outcome.duplicates),
            ("dead_letter", len(outcome.dead_letters)),
        ):
            METRICS.messages.labels(batch.topic, kind).inc(count)
        for letter in outcome.dead_letters:
            METRICS.dead_letters.labels(letter.reason.value).inc()
        self.note_batch(batch, outcome, seconds)
        log.info(
            f"{self.name}.batch",
            topic=batch.topic,
            partition=batch.partition,
            first_offset=batch.first_offset,
            last_offset=batch.last_offset,
            accepted=outcome.accepted,
            duplicates=outcome.duplicates,
            dead_letters=len(outcome.dead_letters),
            replayed=outcome.replayed,
            late=outcome.late,
            milliseconds=round(seconds * 1_000, 1),
        )

    async def checkpoint(self) -> None:
        """Make durable what was applied."""
        self._checkpointed_at = began = time.monotonic()
        messages = await self.owner.checkpoint()
        if messages:
            seconds = time.monotonic() - began
            METRICS.checkpoints.inc()
            METRICS.checkpoint_seconds.observe(seconds)
            log.info(f"{self.name}.checkpoint", messages=messages, milliseconds=round(seconds * 1_000, 1))
