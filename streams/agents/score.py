"""The SCORE agent: annotations and reviews to `streams.score`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.topics import ANNOTATIONS, REVIEWS
from streams.agents.owner import OwnerAgent
from streams.health import HealthState
from streams.metrics import METRICS
from streams.outcome import Outcome
from streams.owner import Owned
from streams.pipeline import PartitionPipeline
from streams.record_batch import RecordBatch
from streams.score import Score
from streams.settings import WorkerSettings

if TYPE_CHECKING:
    import faust

SOURCE_TOPICS = (ANNOTATIONS.name, REVIEWS.name)


class ScoreAgent(OwnerAgent[Score]):
    """Feeds a `Score`; also says which partitions are read to their end and silent."""

    def __init__(
        self, app: faust.App, settings: WorkerSettings, health: HealthState, fail: Callable[[BaseException], None]
    ) -> None:
        super().__init__(app, "score", SOURCE_TOPICS, settings, health, fail)
        self.read_to_end: set[int] = set()
        """Partitions of annotations that had no lag at the last report."""

    async def after_checkpoint(self) -> None:
        await self.owner.note_idle(self.read_to_end)
        await self.owner.beat()

    def is_at_end(self, partition: int) -> bool:
        """Whether everything on a partition's topics was applied, as far as the broker has told."""
        lags = [self.lag(topic, partition) for topic in SOURCE_TOPICS]
        return lags[0] is not None and not any(lags)

    def report(self, now: float) -> None:
        self.read_to_end = set()
        super().report(now)
        shares = [owned.breaker.share for owned in self.owner.partitions.values()]
        METRICS.breaker_bad_share.set(max(shares, default=0.0))

    def show(self, partition: str, owned: Owned[PartitionPipeline]) -> None:
        state = owned.pipeline.state
        METRICS.open_tasks.labels(partition).set(len(state.tasks))
        METRICS.tasks_given_up.inc(state.tasks_given_up)
        state.tasks_given_up = 0
        METRICS.open_windows.labels(partition).set(len(state.windows))
        if state.windows.watermark_ms:
            METRICS.watermark_seconds.labels(partition).set(state.windows.watermark_ms / 1_000)
            METRICS.watermark_lag_seconds.labels(partition).set(time.time() - state.windows.watermark_ms / 1_000)

    def stop_showing(self, partition: str) -> None:
        super().stop_showing(partition)
        for of_partition in (
            METRICS.open_tasks,
            METRICS.open_windows,
            METRICS.watermark_seconds,
            METRICS.watermark_lag_seconds,
        ):
            of_partition.remove(partition)

    def note_lag(self, topic: str, partition: int, lag: int) -> None:
        if lag == 0 and topic == ANNOTATIONS.name:
            self.read_to_end.add(partition)

    def note_batch(self, batch: RecordBatch, outcome: Outcome, seconds: float) -> None:
        METRICS.late.inc(outcome.late)
        METRICS.batch_messages.observe(len(batch))
        METRICS.batch_seconds.observe(seconds)
