"""A broker, a ClickHouse engine, and worker processes on them, for tests that need the real thing."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from clickhouse_connect.driver.client import Client
from kafka import KafkaProducer

from deploy.clickhouse.migrate import migrate
from schemas.topics import TOPICS
from streams.kafka_admin import create_topics
from streams.settings import ClickHouseSettings, KafkaSettings
from streams.sinks.connection import connect
from streams.sources.simulate import Scenario, Simulation
from streams.sources.source import Message, to_message

T = TypeVar("T")

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 240.0
#: Everything at full size (``make test-whole``, most of an hour); otherwise as much of it as shows the same.
WHOLE = os.environ.get("LABELWATCH_TESTS") == "whole"
#: What workers judge by in tests that are about something else: it is planned at once and finds nothing.
ONE_RULE = """
version: 1
rules:
  - {name: lag, metric: lag_seconds, method: fixed, scope: all, limit: 1000000, min_count: 1}
...
"""


def days_of_incidents(seed: int, *, one_task_in: int = 3) -> Iterator[Message]:
    """Two and a half simulated days, where workers are killed, join, or lack a guard.

    Of every third task or so, with all that belongs to it: as long a time, of as many labelers and windows, tasks that
    close and reviews that wait as all of them, only less of it. (A lower scale would not make them fewer: it leaves two
    labelers of each vendor and project.)
    """
    for event in Simulation(Scenario.load("incidents").scaled(0.15 if WHOLE else 0.05), seed):
        if WHOLE or crc32(event.task_id.encode()) % one_task_in == 0:
            yield to_message(event)


def until(condition: Callable[[], T], what: str, seconds: float = DEADLINE_SECONDS, *, longest_pause: float = 0.5) -> T:
    """The first true value of ``condition``, polled until the deadline; less often the longer it takes, since a query
    takes a share of the cores from the worker that is waited for."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(pause)
        pause = min(1.2 * pause, longest_pause)
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

        until(seen, f"{count} x {event} in {self.log}", longest_pause=0.05)  # or it is late by hundreds of messages

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
        rules = self.folder / "thresholds.yaml"
        rules.write_text(ONE_RULE)
        return {
            **os.environ,
            "LABELWATCH_KAFKA__BOOTSTRAP": self.bootstrap,
            "LABELWATCH_KAFKA__SESSION_TIMEOUT_SECONDS": "3",
            "LABELWATCH_CLICKHOUSE__URL": self.clickhouse_url,
            "LABELWATCH_CLICKHOUSE__DATABASE": self.clickhouse(database).database,
            "LABELWATCH_WORKER__APP_ID": app_id,
            "LABELWATCH_WORKER__CHECKPOINT_SECONDS": "0.3",
            "LABELWATCH_RULES__FILE": str(rules),
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


def is_settled(client: Client) -> bool:
    """Whether no stored review has to be applied yet, or looked for: that takes checkpoints after the one that read it.

    One whose task is open waits for its labeler's answer, and one that was looked for waits for its task.
    """
    waiting = """
        SELECT count()
        FROM (SELECT JSONExtractString(payload, 1) AS review, payload FROM state FINAL WHERE kind = 'review')
        WHERE JSONExtractBool(payload, 3) OR NOT JSONExtractBool(payload, 4)
            AND [JSONExtractString(review, 'project_id'), JSONExtractString(review, 'task_id')]
                NOT IN (SELECT JSONExtract(key, 'Array(String)') FROM state FINAL WHERE kind = 'task')
    """
    # Progress is written before the state: what was received last may not be in it yet.
    behind = """
        SELECT (SELECT sum(received) FROM source_progress_current)
            - (SELECT sum(JSONExtractUInt(payload, 3)) FROM state FINAL
               WHERE kind = 'position' AND key IN ('annotations', 'reviews'))
    """
    return int(client.query(behind).result_rows[0][0]) == int(client.query(waiting).result_rows[0][0]) == 0


#: What must be equal, row for row: every view that people read, and the tables behind them.
VIEWS: Mapping[str, str] = {
    "quality_by_minute": "SELECT * FROM quality_by_minute ORDER BY ALL",
    "quality_by_hour": "SELECT * FROM quality_by_hour ORDER BY ALL",
    "quality_daily": "SELECT * FROM quality_daily ORDER BY ALL",
    # ClickHouse adds up parts in any order, which shows in the last bit of a sum of floats.
    "agreement_by_hour": "SELECT * REPLACE (round(alpha_interval, 9) AS alpha_interval) FROM agreement_by_hour"
    " ORDER BY ALL",
    "annotation_scores": "SELECT * FROM annotation_scores_current ORDER BY project_id, event_id",
    "task_confidence": "SELECT * EXCEPT version FROM task_confidence_current ORDER BY project_id, task_id",
    "reviews": "SELECT * FROM reviews_current ORDER BY ALL",
    "dead_letters": "SELECT * FROM dead_letters_current ORDER BY origin_topic, origin_partition, origin_offset",
    "source_progress": "SELECT topic, source_partition, last_offset, watermark, received, accepted, duplicates,"
    " dead_letters FROM source_progress_current ORDER BY topic, source_partition",
}

#: What is believed of labelers in the end; of one partition, once LABELERS has heard all evidence.
#: Equal only where there is one partition, and no annotation after the first review: whether a task has an outcome
#: depends on whether it had an answer, or gold, when its review was applied.
LEADERBOARD = {
    "labeler_leaderboard": "SELECT * FROM labeler_leaderboard ORDER BY ALL",
    "confidence_outcomes": "SELECT * EXCEPT version FROM confidence_outcomes_current ORDER BY project_id, task_id",
}

#: Columns that hold a belief, by view. They rest on what was known at that moment: of labelers and their speed, which
#: partitions tell each other as they go, and of truths, since a review is applied among the annotations where the next
#: checkpoint happens to be. So they are equal only where there is one partition, and no annotation after the first
#: review.
BELIEFS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("quality_by_minute", "quality_by_hour", "quality_daily"),
        (
            "consensus_seen", "consensus_agreed", "consensus_agreement",
            "forecast_seconds", "forecast_error_seconds", "expected_handling_seconds", "forecast_mae_seconds",
        ),
    ),
    "annotation_scores": (
        "agrees_with_consensus", "probability_right", "expected_handling_seconds", "handling_low_50",
        "handling_high_50", "handling_low_90", "handling_high_90", "handling_p_value", "is_too_fast", "is_too_slow",
        "time_flag",
    ),
    # A task that comes back a day later is a new one, of which the truth may have been told or not.
    "task_confidence": (
        "consensus_label", "confidence", "raw_confidence", "entropy", "posterior", "truth", "truth_source",
    ),
}  # fmt: skip

#: Columns that rest, in part, on what is believed of all labelers. Evidence tells that as of the checkpoint which sent
#: it, so it moves a little with where checkpoints happen to be.
OF_POPULATION = ("accuracy", "accuracy_low", "accuracy_high", "precision", "stability", "attention", "distance")
POPULATION_TOLERANCE = 0.05

Contents = dict[str, list[dict[str, Any]]]
"""Rows of every view, by column."""


def contents(client: Client, views: Mapping[str, str] = VIEWS) -> Contents:
    """The rows of every view."""
    results = {name: client.query(sql) for name, sql in views.items()}
    return {
        name: [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
        for name, result in results.items()
    }


def counted(found: Contents) -> Contents:
    """Rows less their beliefs: what is a function of the messages alone, however many partitions there are."""
    return {
        name: [{column: value for column, value in row.items() if column not in BELIEFS.get(name, ())} for row in rows]
        for name, rows in found.items()
    }


def differences(found: Contents, expected: Contents, *, beliefs: bool = False) -> dict[str, str]:
    """Views that differ in what was counted, and in ``beliefs`` if asked, with the first differing row of each."""
    if not beliefs:
        found, expected = counted(found), counted(expected)
    report = {}
    for name, rows in expected.items():
        if rows == found[name]:
            continue
        pairs = zip(found[name], rows, strict=False)
        first = next(((one, other) for one, other in pairs if not all(_is_same(one, other, c) for c in other)), None)
        if first is None and len(found[name]) == len(rows):
            continue
        one, other = first or ({}, {})
        differing = {column: (one[column], other[column]) for column in other if not _is_same(one, other, column)}
        report[name] = f"{len(found[name])} rows, expected {len(rows)}; first difference {differing} in {other}"
    return report


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any], column: str) -> bool:
    a, b = one[column], other[column]
    if column in OF_POPULATION and a is not None and b is not None:
        return math.isclose(a, b, rel_tol=POPULATION_TOLERANCE)
    return bool(a == b)
