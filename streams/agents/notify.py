"""The NOTIFY agent: verdicts to `streams.notify`, and its deliveries beside them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from schemas.topics import ALERTS
from streams.agents.owner import OwnerAgent
from streams.health import HealthState
from streams.metrics import METRICS
from streams.notify import Notify, NotifyPipeline
from streams.owner import Owned
from streams.record_batch import TP
from streams.settings import WorkerSettings

if TYPE_CHECKING:
    import faust


class NotifyAgent(OwnerAgent[Notify]):
    """Feeds a `Notify`, and lets it deliver."""

    def __init__(
        self, app: faust.App, settings: WorkerSettings, health: HealthState, fail: Callable[[BaseException], None]
    ) -> None:
        super().__init__(app, "notify", (ALERTS.name,), settings, health, fail)

    async def keep_checkpointing(self) -> None:
        """Also deliver, until cancelled; neither waits for the other."""
        delivering = asyncio.create_task(self.owner.desk.run())
        storing = asyncio.create_task(super().keep_checkpointing())
        try:
            done, _ = await asyncio.wait({delivering, storing}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            delivering.cancel()
            storing.cancel()
            await asyncio.gather(delivering, storing, return_exceptions=True)
            await self.owner.desk.close()

    async def revoke(self, tps: Iterable[TP]) -> None:
        """First wait for what is being delivered: the next owner must know what became of it."""
        await self.owner.desk.pause()
        try:
            await super().revoke(tps)
        finally:
            self.owner.desk.go_on()

    async def stop(self) -> None:
        """Begin no delivery, and wait for what is under way, before the last checkpoint."""
        await self.owner.desk.pause()
        await super().stop()

    def show(self, partition: str, owned: Owned[NotifyPipeline]) -> None:
        counts = Counter((alert.state, alert.rule.severity) for alert in owned.pipeline.state.book.open)
        for state in ("pending", "firing"):
            for severity in ("info", "warning", "critical"):
                METRICS.alerts.labels(state, severity).set(counts[state, severity])

    def stop_showing(self, partition: str) -> None:
        super().stop_showing(partition)
        METRICS.alerts.clear()
