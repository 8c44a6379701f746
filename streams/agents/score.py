"""The SCORE agent: a short loop that hands batches to `streams.score` and checkpoints by size and by age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka.errors import KafkaTimeoutError

from schemas.dead_letter import DeadLetter
from schemas.topics import ANNOTATIONS, DEAD_LETTERS, REVIEWS
from streams.health import HealthState
from streams.metrics import METRICS
from streams.record_batch import TP, RecordBatch
from streams.score import Score
from streams.settings import WorkerSettings
from streams.sinks.retry import Backoff
from streams.transport import batch_topic

if TYPE_CHECKING:
    import faust

log = structlog.get_logger()

SOURCE_TOPICS = (ANNOTATIONS.name, REVIEWS.name)
#: How often the age of what is pending, the loop's lag and the consumer's lag are looked at.
TICK_SECONDS = 0.2


class ScoreAgent:
    """Feeds a `Score` from Faust and reports on it. ``failed`` is set with the error that must end the worker."""

    def __init__(self, app: faust.App, settings: WorkerSettings, health: HealthState) -> None:
        self._app = app
        self._settings = settings
        self._health = health
        self._checkpointed_at = time.monotonic()
        self._stopping = False
        self._read_to_end: set[int] = set()
        self.score: Score
        """Set before the application starts; it needs this agent's `publish` and `acknowledge`."""
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        topic = batch_topic(app, *SOURCE_TOPICS)
        app.agent(topic, name="score")(self._consume)
        app.transport.position_provider = self._positions
        app.transport.batch_max_records = settings.batch_max_records
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    def fail(self, error: BaseException) -> None:
        """End the worker for this reason; nothing that is pending is acknowledged."""
        if not self.failed.done():
            self._health.fatal(f"{type(error).__name__}: {error}")
            self.failed.set_result(error)

    def acknowledge(self, topic: str, partition: int, offset: int, generation: int) -> None:
        """Pass the checkpoint's acknowledgement on to the transport."""
        if self._app.consumer.acknowledge(TP(topic, partition), offset, generation):
            METRICS.position.labels(topic, str(partition)).set(offset + 1)

    async def publish(self, letters: Sequence[DeadLetter]) -> None:
        """Send dead letters and wait until the broker has them; while it is away, wait longer."""
        unsent, attempt, backoff = list(letters), 0, Backoff(max_seconds=self._settings.retry_max_seconds)
        while unsent:
            results = await asyncio.gather(*map(self._send, unsent), return_exceptions=True)
            failed = [(letter, r) for letter, r in zip(unsent, results, strict=True) if isinstance(r, BaseException)]
            if not failed:
                return
            attempt += 1
            error = next((r for _, r in failed if not _retriable(r)), failed[0][1])
            if not _retriable(error):
                raise error
            METRICS.sink_retries.inc()
            log.warning("dead_letters.retry", attempt=attempt, unsent=len(failed), error=str(error))
            unsent = [letter for letter, _ in failed]
            await asyncio.sleep(backoff.pause(attempt, 1.0))

    async def keep_reporting(self) -> None:
        """Report health and progress until cancelled, also while a checkpoint waits for ClickHouse."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            METRICS.event_loop_lag_seconds.set(max(0.0, now - before - TICK_SECONDS))
            self._health.beat(now)
            self._read_to_end = self._report_progress(now)

    async def keep_checkpointing(self) -> None:
        """Checkpoint what has waited for long enough, until cancelled. By size, the agent's loop does it."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            due = time.monotonic() - self._checkpointed_at >= self._settings.checkpoint_seconds
            if due and not self._stopping and not self.failed.done():
                await self._checkpoint_or_fail()
                await self.score.note_idle(self._read_to_end)

    async def stop(self) -> None:
        """Take no more batches, make durable what was applied, and commit it."""
        self._stopping = True
        if not self.failed.done():
            await self._checkpoint()
            if self.failed.done():  # the checkpoint that was under way did not succeed
                raise self.failed.result()
            await self._app.consumer.commit_now()

    async def _consume(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if self._stopping or self.failed.done():
                continue
            try:
                self._apply(event.value)
                if self.score.pending_messages >= self._settings.checkpoint_events:
                    await self._checkpoint()
            except Exception as error:  # an error that left the agent would restart it and lose its place
                self.fail(error)
            await asyncio.sleep(0)

    def _apply(self, batch: RecordBatch) -> None:
        began = time.perf_counter()
        outcome = self.score.process(batch)
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
        METRICS.late.inc(outcome.late)
        METRICS.batch_messages.observe(len(batch))
        METRICS.batch_seconds.observe(seconds)
        log.info(
            "score.batch",
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

    async def _checkpoint(self) -> None:
        self._checkpointed_at = began = time.monotonic()
        messages = await self.score.checkpoint()
        if messages:
            METRICS.checkpoints.inc()
            METRICS.checkpoint_seconds.observe(time.monotonic() - began)
            log.info("score.checkpoint", messages=messages, milliseconds=round((time.monotonic() - began) * 1_000, 1))

    async def _checkpoint_or_fail(self) -> None:
        try:
            await self._checkpoint()
        except Exception as error:
            self.fail(error)

    async def _positions(self, tps: set[TP]) -> Mapping[TP, int]:
        """Restore what was assigned; where each partition goes on. Faust asks before the first record flows."""
        began = time.monotonic()
        try:
            is_owned = await self.score.assign({tp.partition for tp in tps}, self._app.consumer_generation_id)
        except Exception as error:
            self.fail(error)
            raise
        if not is_owned:  # revoked meanwhile; Faust asks again for what is assigned next
            return {}
        METRICS.state_restore_seconds.observe(time.monotonic() - began)
        self._health.assigned(tps, time.monotonic())
        found = {tp: self.score.next_offset(tp.topic, tp.partition) for tp in tps}
        return {tp: offset for tp, offset in found.items() if offset is not None}

    async def _on_revoked(self, _app: object, revoked: set[TP], **_kwargs: object) -> None:
        """The last moment at which this worker may write for these partitions."""
        if not self.failed.done():
            await self._checkpoint_or_fail()
        partitions = {tp.partition for tp in revoked}
        self.score.forget(partitions)
        _stop_showing(partitions)
        self._health.assigned((), time.monotonic())

    async def _send(self, letter: DeadLetter) -> None:
        value = letter.model_dump_json().encode()
        await (await self._app.producer.send(DEAD_LETTERS.name, letter.key, value, None, None, None))

    def _report_progress(self, now: float) -> set[int]:
        """Report lag and what is open; the partitions of annotations that are read to their end."""
        wall, read_to_end = time.time(), set()
        for partition, owned in self.score.partitions.items():
            state = owned.pipeline.state
            METRICS.open_tasks.labels(str(partition)).set(len(state.tasks))
            METRICS.tasks_given_up.inc(state.tasks_given_up)
            state.tasks_given_up = 0
            METRICS.open_windows.labels(str(partition)).set(len(state.windows))
            if state.windows.watermark_ms:
                METRICS.watermark_seconds.labels(str(partition)).set(state.windows.watermark_ms / 1_000)
                METRICS.watermark_lag_seconds.labels(str(partition)).set(wall - state.windows.watermark_ms / 1_000)
            for topic in SOURCE_TOPICS:
                position = state.position(topic).offset
                lag = self._app.consumer.lag(TP(topic, partition), position + 1)
                if lag is not None:
                    METRICS.lag_messages.labels(topic, str(partition)).set(lag)
                    self._health.progress(topic, partition, position, lag, now)
                    if lag == 0 and topic == ANNOTATIONS.name:
                        read_to_end.add(partition)
        shares = [owned.breaker.share for owned in self.score.partitions.values()]
        METRICS.breaker_bad_share.set(max(shares, default=0.0))
        return read_to_end


def _stop_showing(partitions: set[int]) -> None:
    """Remove the figures of revoked partitions, which would stand still here beside those of the next owner."""
    for partition in map(str, partitions):
        for of_partition in (
            METRICS.open_tasks,
            METRICS.open_windows,
            METRICS.watermark_seconds,
            METRICS.watermark_lag_seconds,
        ):
            of_partition.remove(partition)
        for topic in SOURCE_TOPICS:
            METRICS.lag_messages.remove(topic, partition)
            METRICS.position.remove(topic, partition)


def _retriable(error: BaseException) -> bool:
    """Whether sending again can help. Faust wraps what the client raised; running out of time means a broker away."""
    cause = error.__cause__ or error
    return isinstance(cause, KafkaTimeoutError) or bool(getattr(cause, "retriable", False))
