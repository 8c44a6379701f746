"""The agents of one worker together: they share the assignment of partitions, a failure, and the end.

Faust knows one provider of positions and one moment of revocation; each agent gets the partitions of its own topics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from streams.agents import owner as agent_owner
from streams.agents.owner import OwnerAgent
from streams.health import HealthState
from streams.metrics import METRICS
from streams.record_batch import TP

if TYPE_CHECKING:
    import faust


class Agents:
    """All agents of a worker. ``failed`` is set with the error that must end it.

    Args:
        reports: called at every tick with the monotonic time, beside the agents' own reports.
    """

    def __init__(
        self,
        app: faust.App,
        health: HealthState,
        batch_max_records: int,
        reports: Sequence[Callable[[float], object]] = (),
    ) -> None:
        self._app = app
        self._health = health
        self._reports = reports
        self._agents: list[OwnerAgent[Any]] = []
        self._revocations = 0
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        app.transport.position_provider = self._positions
        app.transport.batch_max_records = batch_max_records
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)

    def add(self, agent: OwnerAgent[Any]) -> None:
        """Let an agent take part; its owner has been set."""
        self._agents.append(agent)

    def fail(self, error: BaseException) -> None:
        """End the worker for this reason; nothing that is pending in any agent is acknowledged."""
        if not self.failed.done():
            self._health.fatal(f"{type(error).__name__}: {error}")
            self.failed.set_result(error)
        for agent in self._agents:
            agent.give_up()

    def ticks(self) -> list[asyncio.Task[None]]:
        """Tasks that report and checkpoint until they are cancelled."""
        checkpoints = [asyncio.create_task(agent.keep_checkpointing()) for agent in self._agents]
        return [asyncio.create_task(self.keep_reporting()), *checkpoints]

    async def keep_reporting(self) -> None:
        """Report health and progress until cancelled, also while a checkpoint waits for ClickHouse."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(agent_owner.TICK_SECONDS)
            now = time.monotonic()
            METRICS.event_loop_lag_seconds.set(max(0.0, now - before - agent_owner.TICK_SECONDS))
            self._health.beat(now)
            for report in (*(agent.report for agent in self._agents), *self._reports):
                report(now)

    async def stop(self) -> None:
        """Take no more batches, make durable what was applied, and commit it."""
        if self.failed.done():
            return
        for agent in self._agents:
            await agent.stop()
            if self.failed.done():  # the checkpoint that was under way did not succeed
                raise self.failed.result()
        await self._app.consumer.commit_now()

    async def _positions(self, tps: set[TP]) -> Mapping[TP, int]:
        """Restore what was assigned; where each partition goes on. Faust asks before the first record flows."""
        began = time.monotonic()
        generation, revocations = self._app.consumer_generation_id, self._revocations
        positions: dict[TP, int] = {}
        try:
            for agent in self._agents:
                found = await agent.assign(tps, generation)
                if found is None or revocations != self._revocations:
                    return {}  # revoked meanwhile: to claim more would stop their owners. Faust asks again
                positions.update(found)
        except Exception as error:
            self.fail(error)
            raise
        METRICS.state_restore_seconds.observe(time.monotonic() - began)
        self._health.assigned(tps, time.monotonic())
        return positions

    async def _on_revoked(self, _app: object, revoked: set[TP], **_kwargs: object) -> None:
        """The last moment at which this worker may write for these partitions."""
        self._revocations += 1
        for agent in self._agents:
            await agent.revoke(revoked)
        self._health.assigned((), time.monotonic())
