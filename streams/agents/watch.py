"""The WATCH agent: measurements to `streams.watch`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from schemas.topics import MEASUREMENTS
from streams.agents.owner import OwnerAgent
from streams.health import HealthState
from streams.metrics import METRICS
from streams.outcome import Outcome
from streams.owner import Owned
from streams.record_batch import RecordBatch
from streams.settings import WorkerSettings
from streams.watch import RulesNews, Watcher, WatchPipeline

if TYPE_CHECKING:
    import faust

log = structlog.get_logger()


class WatchAgent(OwnerAgent[Watcher]):
    """Feeds a `Watcher`; says what becomes of rules."""

    def __init__(
        self, app: faust.App, settings: WorkerSettings, health: HealthState, fail: Callable[[BaseException], None]
    ) -> None:
        super().__init__(app, "watch", (MEASUREMENTS.name,), settings, health, fail)
        self._state_lock = asyncio.Lock()
        """Held by whoever changes the state or looks at all of it: batches are applied in a thread."""
        self._problems: dict[str, str] = {}
        """Of rules that do not run, as far as they were said."""

    async def process(self, batch: RecordBatch) -> Outcome | None:
        """In a thread: where rules are planned for another volume it takes seconds, for which SCORE cannot wait."""
        async with self._state_lock:
            return await asyncio.to_thread(self.owner.process, batch)

    async def checkpoint(self) -> None:
        async with self._state_lock:
            await super().checkpoint()

    def note_restored(self, owned: Owned[WatchPipeline]) -> None:
        """Say with which rules it goes on; without, where they cannot be used any more."""
        state = owned.pipeline.state
        if state.refused is not None:
            METRICS.rules_refused.inc()
            log.error("rules.stored_refused", reason=state.refused)
        elif state.change is not None:
            self._show_rules(state.change.sha256)
            log.info("rules.restored", sha256=state.change.sha256, rules=len(state.watch.rules))

    def note_batch(self, batch: RecordBatch, outcome: Outcome, seconds: float) -> None:
        owned = self.owner.partitions.get(batch.partition)
        if owned is None:
            return
        news, owned.pipeline.news = owned.pipeline.news, []
        for one in news:
            self._note_rules(one)
        METRICS.findings.inc(len(outcome.rows["findings"]))

    def show(self, partition: str, owned: Owned[WatchPipeline]) -> None:
        if self._state_lock.locked():
            return
        watch = owned.pipeline.state.watch
        METRICS.watch_clock_seconds.set(watch.clock_ms / 1_000)
        problems = watch.problems
        METRICS.rules_not_running.set(len(problems))
        for rule, reason in problems.items():
            if self._problems.get(rule) != reason:
                log.warning("rules.not_running", rule=rule, reason=reason)
        for rule in self._problems.keys() - problems.keys():
            log.info("rules.runs_again", rule=rule)
        self._problems = problems

    def stop_showing(self, partition: str) -> None:
        super().stop_showing(partition)
        METRICS.rules_in_force.clear()
        METRICS.rules_not_running.set(0)
        self._problems = {}

    def _note_rules(self, news: RulesNews) -> None:
        change = news.change
        said = {"sha256": change.sha256, "source": change.source, "changed_by": change.changed_by}
        if news.outcome == "accepted":
            self._show_rules(change.sha256)
            log.info("rules.in_force", **said)
        elif news.outcome == "refused":
            METRICS.rules_refused.inc()
            log.error("rules.refused", reason=news.reason, **said)
        else:
            log.info("rules.not_later", **said)

    def _show_rules(self, sha256: str) -> None:
        METRICS.rules_in_force.clear()
        METRICS.rules_in_force.labels(sha256).set(1)
