"""The worker: a Faust application with the agents SCORE, LABELERS, WATCH and NOTIFY, its web page, start and stop."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import mode
import structlog
from faust.types.auth import CredentialsT

from schemas.topics import LABELER_EVIDENCE
from streams.agents.assignment import Agents
from streams.agents.labelers import LabelersAgent
from streams.agents.notify import NotifyAgent
from streams.agents.owner import OwnerAgent
from streams.agents.publisher import Publisher
from streams.agents.rules import RulesFile
from streams.agents.score import ScoreAgent
from streams.agents.watch import WatchAgent
from streams.delivery.explained_text import ExplainedText
from streams.delivery.targets import targets_of
from streams.explanations import ClickHouseCells
from streams.health import HealthState
from streams.kafka_admin import TopicStatus, describe, ssl_context
from streams.labelers import Labelers, labelers_name
from streams.metrics import METRICS, set_build_info
from streams.notify import Notify, notify_name
from streams.owner import FencedError, OwnerContext
from streams.reliability_copy import ReliabilityCopy
from streams.score import Score
from streams.settings import KafkaSettings, Settings
from streams.sinks.clickhouse import ClickHouseSink, log_retry
from streams.sinks.retry import Backoff
from streams.state.claims import Claims
from streams.watch import Watcher, watch_name
from streams.web import WebServer

log = structlog.get_logger()

#: How long a last checkpoint may take, and then how long letting go of Kafka and ClickHouse. Together less than the
#: 30 s that container runtimes and service managers wait before they kill; what is not acknowledged is read again.
STOP_SECONDS = 20.0
CLOSE_SECONDS = 5.0
#: How long a start waits for the copy of labelers' reliability; without it, SCORE goes on with what it knows itself.
COPY_SECONDS = 60.0


def create_app(settings: Settings, data_dir: Path) -> faust.App:
    """The Faust application. Its own tables, web server and leader election are not used."""
    kafka = settings.kafka
    return faust.App(
        settings.worker.app_id,
        broker=";".join(f"kafka-batch://{address.strip()}" for address in kafka.bootstrap.split(",")),
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_seconds,
        broker_heartbeat_interval=kafka.session_timeout_seconds / 4,
        broker_commit_interval=1.0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.worker.instance_id,
        agent_supervisor=mode.CrashingSupervisor,
        autodiscover=False,
        datadir=data_dir,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


def new_worker_id() -> str:
    """An id of this process for its claims and its log."""
    return f"{socket.gethostname()}-{uuid4().hex[:8]}"


async def run_worker(settings: Settings, *, worker_id: str | None = None) -> int:
    """Run until SIGTERM or SIGINT (returns 0) or until something fails for good (returns 1).

    Also 1: the last checkpoint was not made in time, since ClickHouse or Kafka was away. Nothing is lost by it.
    """
    worker_id = worker_id or new_worker_id()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    topics = await asyncio.to_thread(describe, settings.kafka)
    if problems := topic_problems(topics):
        log.error("worker.topics_unusable", bootstrap=settings.kafka.bootstrap, problems=problems)
        return 1
    health = HealthState(settings.worker.stuck_after_seconds, time.monotonic())
    web = WebServer(settings.web, health, METRICS.registry)
    set_build_info(METRICS)
    web.start()
    data_dir = Path(tempfile.mkdtemp(prefix="labelwatch-worker-"))
    try:
        return await _Worker(settings, worker_id, health, data_dir, topics).run(stop)
    finally:
        web.close()
        shutil.rmtree(data_dir, ignore_errors=True)


def topic_problems(statuses: Sequence[TopicStatus]) -> list[str]:
    """Why the topics cannot be worked on: one is missing, or those of a group differ in their partitions."""
    missing = [s.topic.name for s in statuses if s.outcome == "missing"]
    problems = [f"topics missing: {', '.join(missing)}; run `labelwatch topics create`"] if missing else []
    groups: dict[str, dict[str, int]] = {}
    for status in statuses:
        if status.topic.copartition and status.outcome != "missing":
            groups.setdefault(status.topic.copartition, {})[status.topic.name] = status.partitions
    for group, counts in groups.items():
        if len(set(counts.values())) > 1:
            problems.append(f"{group}-keyed topics must have equally many partitions, but have {counts}")
    return problems


class _Worker:
    def __init__(
        self, settings: Settings, worker_id: str, health: HealthState, data_dir: Path, topics: Sequence[TopicStatus]
    ) -> None:
        self._settings = settings
        self._giving_up = asyncio.Event()
        self._sink = ClickHouseSink(
            settings.clickhouse,
            stop=self._giving_up,
            backoff=Backoff(max_seconds=settings.worker.retry_max_seconds),
            on_retry=_count_retry,
        )
        self._app = create_app(settings, data_dir)
        app_id, worker = settings.worker.app_id, settings.worker
        self._copy = ReliabilityCopy(app_id, _now_ms)
        self._agents = Agents(self._app, health, worker.batch_max_records, [self._copy.report])
        publish = Publisher(self._app, worker.retry_max_seconds).publish

        def context(agent: OwnerAgent[Any], name: str) -> OwnerContext:
            return OwnerContext(
                settings=settings,
                sink=self._sink,
                claims=Claims(self._sink, name, worker_id),
                publish=publish,
                acknowledge=agent.acknowledge,
                now_ms=_now_ms,
                on_written=_count_written,
            )

        score = ScoreAgent(self._app, worker, health, self._agents.fail)
        score.owner = Score(
            context(score, app_id),
            evidence_partitions=next(s.partitions for s in topics if s.topic is LABELER_EVIDENCE),
            tell=self._copy.tell,
            is_at_end=score.is_at_end,
        )
        self._copy.on_record = score.owner.hear
        labelers = LabelersAgent(self._app, worker, health, self._agents.fail)
        labelers.owner = Labelers(context(labelers, labelers_name(settings)))
        notify = NotifyAgent(self._app, worker, health, self._agents.fail)
        notify.owner = Notify(
            context(notify, notify_name(settings)),
            targets=targets_of(settings.notify, _now_ms),
            describe=ExplainedText(ClickHouseCells(settings.clickhouse), settings.notify.page_url),
        )
        watch = WatchAgent(self._app, worker, health, self._agents.fail)
        watch.owner = Watcher(context(watch, watch_name(settings)))
        watch.owner.on_restored = watch.note_restored
        for agent in (score, labelers, watch, notify):
            self._agents.add(agent)
        self._rules = RulesFile(settings, worker_id, self._sink, publish=publish, now_ms=_now_ms)
        self._has_started = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> int:
        log.info("worker.starting")
        stopped = asyncio.create_task(stop.wait())
        # Starting waits for Kafka, and for ClickHouse to restore state. It can be told to stop meanwhile, too.
        running = asyncio.create_task(self._start_and_wait())
        reading = self._copy.run(self._settings.kafka, self._settings.worker.retry_max_seconds)
        ticks = [*self._agents.ticks(), asyncio.create_task(reading), asyncio.create_task(self._watch_rules())]
        ends: set[asyncio.Future[Any]] = {stopped, running, self._agents.failed, *ticks}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        error = self._reason(stopped, running, ticks)
        if error is not None:
            if isinstance(error, FencedError):
                METRICS.fenced.inc()
            log.critical("worker.failed", error=f"{type(error).__name__}: {error}", exc_info=error)
        is_clean = error is None and await self._make_durable()
        self._giving_up.set()
        closing = asyncio.create_task(self._close([stopped, running, *ticks]))
        # Not asyncio.timeout: it needs what it cancels to obey, and Faust's services do not always.
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_SECONDS)
        if problem := closing.exception() if done else TimeoutError(f"not closed within {CLOSE_SECONDS:.0f} s"):
            log.error("worker.stop_failed", error=f"{type(problem).__name__}: {problem}")
            is_clean = False
        code = 0 if is_clean else 1
        log.info("worker.stopped", code=code)
        return code

    async def _start_and_wait(self) -> None:
        await self._copy.restored(COPY_SECONDS)
        await self._app.start()
        log.info("worker.started")
        self._has_started.set()
        await self._app.wait_until_stopped()

    async def _watch_rules(self) -> None:
        await self._has_started.wait()  # without it there is no producer
        await self._rules.run()

    def _reason(
        self, stopped: asyncio.Task[bool], running: asyncio.Task[None], ticks: Sequence[asyncio.Task[None]]
    ) -> BaseException | None:
        if self._agents.failed.done():
            return self._agents.failed.result()
        for tick in ticks:
            if tick.done():
                return tick.exception() or RuntimeError("a task that runs until the end ended by itself")
        if stopped.done():
            return None
        crash: BaseException | None = running.exception() or self._app._crash_reason
        return crash or RuntimeError("the Faust application stopped by itself")

    async def _make_durable(self) -> bool:
        """Make the last checkpoint; whether it was made in time. Without it the rest is read again."""
        log.info("worker.stopping")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._agents.stop()
        except Exception as problem:
            log.error("worker.last_checkpoint_failed", error=f"{type(problem).__name__}: {problem}")
            return False
        return True

    async def _close(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._app.stop()
        await self._sink.close()


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _count_written(table: str, rows: int) -> None:
    METRICS.rows_written.labels(table).inc(rows)


def _count_retry(attempt: int, error: str, pause: float) -> None:
    METRICS.sink_retries.inc()
    log_retry(attempt, error, pause)


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    context = ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.password(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
