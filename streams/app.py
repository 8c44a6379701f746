"""The worker: a Faust application with the SCORE agent, its web page, and how it starts and stops."""

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

from streams.agents.score import ScoreAgent
from streams.health import HealthState
from streams.kafka_admin import describe
from streams.metrics import METRICS, set_build_info
from streams.score import FencedError, Score
from streams.settings import KafkaSettings, Settings
from streams.sinks.clickhouse import ClickHouseSink, log_retry
from streams.sinks.retry import Backoff
from streams.state.claims import Claims
from streams.web import WebServer

log = structlog.get_logger()

#: How long a last checkpoint may take, and then how long letting go of Kafka and ClickHouse. Together less than the
#: 30 s that container runtimes and service managers wait before they kill; what is not acknowledged is read again.
STOP_SECONDS = 20.0
CLOSE_SECONDS = 5.0


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
    problems = await asyncio.to_thread(topic_problems, settings.kafka)
    if problems:
        log.error("worker.topics_unusable", bootstrap=settings.kafka.bootstrap, problems=problems)
        return 1
    health = HealthState(settings.worker.stuck_after_seconds, time.monotonic())
    web = WebServer(settings.web, health, METRICS.registry)
    set_build_info(METRICS)
    web.start()
    data_dir = Path(tempfile.mkdtemp(prefix="labelwatch-worker-"))
    try:
        return await _Worker(settings, worker_id, health, data_dir).run(stop)
    finally:
        web.close()
        shutil.rmtree(data_dir, ignore_errors=True)


def topic_problems(kafka: KafkaSettings) -> list[str]:
    """Why the topics cannot be worked on: one is missing, or task-keyed ones differ in their partitions.

    Raises:
        BrokerError: the broker is away or refuses.
    """
    statuses = describe(kafka)
    missing = [s.topic.name for s in statuses if s.outcome == "missing"]
    problems = [f"topics missing: {', '.join(missing)}; run `labelwatch topics create`"] if missing else []
    counts = {s.topic.name: s.partitions for s in statuses if s.topic.copartition and s.outcome != "missing"}
    if len(set(counts.values())) > 1:
        problems.append(f"task-keyed topics must have equally many partitions, but have {counts}")
    return problems


class _Worker:
    def __init__(self, settings: Settings, worker_id: str, health: HealthState, data_dir: Path) -> None:
        self._giving_up = asyncio.Event()
        self._sink = ClickHouseSink(
            settings.clickhouse,
            stop=self._giving_up,
            backoff=Backoff(max_seconds=settings.worker.retry_max_seconds),
            on_retry=_count_retry,
        )
        self._app = create_app(settings, data_dir)
        self._agent = ScoreAgent(self._app, settings.worker, health)
        self._agent.score = Score(
            settings,
            self._sink,
            Claims(self._sink, settings.worker.app_id, worker_id),
            publish=self._agent.publish,
            acknowledge=self._agent.acknowledge,
            now_ms=lambda: int(time.time() * 1_000),
            on_written=lambda table, rows: METRICS.rows_written.labels(table).inc(rows),
        )

    async def run(self, stop: asyncio.Event) -> int:
        log.info("worker.starting")
        stopped = asyncio.create_task(stop.wait())
        # Starting waits for Kafka, and for ClickHouse to restore state. It can be told to stop meanwhile, too.
        running = asyncio.create_task(self._start_and_wait())
        ticks = [asyncio.create_task(tick) for tick in (self._agent.keep_reporting(), self._agent.keep_checkpointing())]
        ends: set[asyncio.Future[Any]] = {stopped, running, self._agent.failed, *ticks}
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
        await self._app.start()
        log.info("worker.started")
        await self._app.wait_until_stopped()

    def _reason(
        self, stopped: asyncio.Task[bool], running: asyncio.Task[None], ticks: Sequence[asyncio.Task[None]]
    ) -> BaseException | None:
        if self._agent.failed.done():
            return self._agent.failed.result()
        for tick in ticks:
            if tick.done():
                return tick.exception()
        if stopped.done():
            return None
        crash: BaseException | None = running.exception() or self._app._crash_reason
        return crash or RuntimeError("the Faust application stopped by itself")

    async def _make_durable(self) -> bool:
        """Make the last checkpoint; whether it was made in time. Without it the rest is read again."""
        log.info("worker.stopping")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._agent.stop()
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


def _count_retry(attempt: int, error: str, pause: float) -> None:
    METRICS.sink_retries.inc()
    log_retry(attempt, error, pause)


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    import ssl

    context = None
    if kafka.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=None if kafka.ssl_cafile is None else str(kafka.ssl_cafile))
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.password(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)
