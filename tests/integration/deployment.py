"""A broker, a ClickHouse engine, and worker processes on them, for tests that need the real thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer

from deploy.clickhouse.migrate import migrate
from schemas.topics import TOPICS
from streams.kafka_admin import create_topics
from streams.settings import ClickHouseSettings, KafkaSettings
from streams.sinks.connection import connect
from streams.sources.source import Message

T = TypeVar("T")

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0


def until(condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """The first true value of ``condition``, polled until the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return value


@dataclass
class WorkerProcess:
    """One `labelwatch worker`, with its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, event: str, count: int = 1) -> None:
        """Wait until the worker logged an event so often, failing early if it ends."""

        def seen() -> bool:
            found = self.text().count(f'"event": "{event}"') >= count
            assert found or self.process.poll() is None, f"worker ended before {event}:\n{self.text()[-3_000:]}"
            return found

        until(seen, f"{count} x {event} in {self.log}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop gracefully; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=40)


@dataclass
class Deployment:
    """Where things are. Each test has its own database and application id; topics are shared."""

    bootstrap: str
    clickhouse_url: str
    folder: Path
    kind: str = "embedded"
    """Which broker: databases are kept apart by it, since positions in one broker mean nothing in another."""
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap=self.bootstrap)

    def create_topics(self) -> None:
        create_topics(self.kafka, topics=TOPICS)

    def clickhouse(self, database: str) -> ClickHouseSettings:
        """How a worker of that database reaches ClickHouse."""
        return ClickHouseSettings(url=self.clickhouse_url, database=f"{self.kind}_{database}")

    def database(self, name: str) -> Client:
        """A migrated database, and a client on it."""
        client = connect(self.clickhouse(name), use_database=False)
        migrate(client)
        return client

    def environment(self, database: str, app_id: str, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "LABELWATCH_KAFKA__BOOTSTRAP": self.bootstrap,
            "LABELWATCH_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
            "LABELWATCH_CLICKHOUSE__URL": self.clickhouse_url,
            "LABELWATCH_CLICKHOUSE__DATABASE": self.clickhouse(database).database,
            "LABELWATCH_WORKER__APP_ID": app_id,
            "LABELWATCH_WORKER__CHECKPOINT_SECONDS": "0.3",
            "LABELWATCH_WEB__PORT": "0",
            "LABELWATCH_LOG__FORMAT": "json",
            **more,
        }

    def start_worker(self, database: str, app_id: str, *, program: Iterable[str] = (), **more: str) -> WorkerProcess:
        """Start a worker process; ``program`` replaces `labelwatch worker` (for sabotaged ones)."""
        log = self.folder / f"{app_id}-{len(self.workers)}.log"
        command = [sys.executable, *(program or ("-m", "streams.cli", "worker"))]
        with log.open("ab") as out:
            process = subprocess.Popen(
                command, env=self.environment(database, app_id, **more), stdout=out, stderr=out, cwd=REPO
            )
        worker = WorkerProcess(process, log)
        self.workers.append(worker)
        return worker

    def produce(self, messages: Iterable[Message]) -> int:
        """Send messages as they are; how many."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5)
        count = 0
        for message in messages:
            producer.send(message.topic, key=message.key, value=message.value)
            count += 1
        producer.flush()
        producer.close()
        return count

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()


def received(client: Client) -> int:
    """Messages whose effects are in the database."""
    return int(client.query("SELECT sum(received) FROM source_progress_current").result_rows[0][0] or 0)


#: What must be equal, row for row: every view that people read, and the tables behind them.
VIEWS: Mapping[str, str] = {
    "quality_by_minute": "SELECT * FROM quality_by_minute ORDER BY ALL",
    "quality_by_hour": "SELECT * FROM quality_by_hour ORDER BY ALL",
    "quality_daily": "SELECT * FROM quality_daily ORDER BY ALL",
    "annotation_scores": "SELECT * FROM annotation_scores_current ORDER BY project_id, event_id",
    "task_confidence": "SELECT * FROM task_confidence_current ORDER BY project_id, task_id",
    "dead_letters": "SELECT * FROM dead_letters_current ORDER BY origin_topic, origin_partition, origin_offset",
    "source_progress": "SELECT topic, source_partition, last_offset, watermark, received, accepted, duplicates,"
    " dead_letters FROM source_progress_current ORDER BY topic, source_partition",
}


def contents(client: Client) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every view."""
    return {name: [tuple(row) for row in client.query(sql).result_rows] for name, sql in VIEWS.items()}


def differences(found: Mapping[str, list[Any]], expected: Mapping[str, list[Any]]) -> dict[str, str]:
    """Views that differ, with the first differing row of each."""
    report = {}
    for name, rows in expected.items():
        if rows == found[name]:
            continue
        first = next((pair for pair in zip(found[name], rows, strict=False) if pair[0] != pair[1]), None)
        report[name] = f"{len(found[name])} rows, expected {len(rows)}; first difference {first}"
    return report
