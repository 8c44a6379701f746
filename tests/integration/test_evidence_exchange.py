"""Evidence on labelers through real brokers: it comes back as reliability, whatever happens to the worker."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas.reliability import ReliabilityRecord
from schemas.topics import LABELER_EVIDENCE, LABELER_RELIABILITY
from streams.outbox import ChangedEvidence, Message, evidence_messages
from tests.evidence import evidence
from tests.integration.deployment import Deployment, WorkerProcess, until

pytestmark = pytest.mark.integration

LABELERS = 30
ROUNDS = 12
ROWS = "SELECT * FROM labeler_reliability FINAL ORDER BY ALL"


def sent(app_id: str, rounds: Sequence[int] = range(ROUNDS)) -> list[Message]:
    """Evidence of two source partitions on some labelers, a minute of event time a round; versions grow."""
    messages: list[Message] = []
    for number in rounds:
        for source in (0, 1):
            changed = [
                ChangedEvidence(
                    "animals", "image_class", f"l-{labeler}", 10 * number + labeler % 3,
                    evidence(5 + number + labeler % 7, 1 + source, at=60 * number + labeler),
                )
                for labeler in range(LABELERS)
            ]  # fmt: skip
            messages += evidence_messages(app_id, source, changed, LABELER_EVIDENCE.partitions)
    return messages


def produce(deployment: Deployment, messages: Sequence[Message]) -> None:
    producer = KafkaProducer(bootstrap_servers=deployment.bootstrap, acks="all")
    for message in messages:
        producer.send(message.topic, value=message.value, partition=message.partition)
    producer.flush()
    producer.close()


def published(deployment: Deployment, app_id: str) -> dict[str, ReliabilityRecord]:
    """The latest record of each labeler of an application, as any reader of the compacted topic finds it."""
    consumer = KafkaConsumer(bootstrap_servers=deployment.bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    try:
        partition = TopicPartition(LABELER_RELIABILITY.name, 0)
        consumer.assign([partition])
        end = consumer.end_offsets([partition])[partition]
        consumer.seek_to_beginning(partition)
        found: dict[str, ReliabilityRecord] = {}
        while end and consumer.position(partition) < end:
            for records in consumer.poll(200).values():
                for record in records:
                    app, _, _, labeler = orjson.loads(record.key)
                    if app == app_id:
                        found[labeler] = ReliabilityRecord.model_validate_json(record.value)
        return found
    finally:
        consumer.close()


def latest_labels(client: Client) -> Mapping[str, Any]:
    rows = client.query("SELECT labeler_id, argMax(labels, version) FROM labeler_reliability FINAL GROUP BY 1")
    return dict(rows.result_rows)


EXPECTED = {f"l-{number}": 2 * (5 + ROUNDS - 1 + number % 7) + 1 + 2 for number in range(LABELERS)}


def finish(deployment: Deployment, worker: WorkerProcess, name: str) -> list[tuple[Any, ...]]:
    client = deployment.database(name)
    worker.wait_for("worker.started")
    until(lambda: latest_labels(client) == EXPECTED, "all evidence folded")
    until(
        lambda: {labeler: record.labels for labeler, record in published(deployment, name).items()} == EXPECTED,
        "all labelers published",
    )
    assert worker.stop() == 0, worker.text()[-3_000:]
    return [tuple(row) for row in client.query(ROWS).result_rows]


@pytest.fixture(scope="module")
def uninterrupted(deployment: Deployment) -> list[tuple[Any, ...]]:
    """What one worker that is left alone makes of the evidence."""
    name = "exchange_steady"
    deployment.database(name)
    produce(deployment, sent(name))
    return finish(deployment, deployment.start_worker(name, name), name)


def test_evidence_comes_back_as_reliability(deployment: Deployment, uninterrupted: list[tuple[Any, ...]]) -> None:
    assert len(uninterrupted) == LABELERS * ROUNDS, "a row a labeler and minute"
    record = published(deployment, "exchange_steady")["l-3"]
    assert (sorted(record.parts), record.parts[1].version) == ([0, 1], 10 * (ROUNDS - 1))
    assert record.accuracy is not None
    assert 0 < (record.accuracy_low or 0) < record.accuracy < (record.accuracy_high or 0) < 1


def test_kills_leave_no_trace(deployment: Deployment, uninterrupted: list[tuple[Any, ...]]) -> None:
    name = "exchange_killed"
    deployment.database(name)
    rng = random.Random(5)
    for kill in range(3):
        produce(deployment, sent(name, range(4 * kill, 4 * kill + 4)))
        worker = deployment.start_worker(name, name)
        worker.wait_for("labelers.batch", count=rng.randint(1, 4))
        time.sleep(rng.uniform(0.0, 0.6))  # a random moment between two checkpoints, not a synchronisation
        worker.kill()
    assert finish(deployment, deployment.start_worker(name, name), name) == uninterrupted


def test_a_worker_that_starts_reads_what_was_published(
    deployment: Deployment, uninterrupted: list[tuple[Any, ...]]
) -> None:
    name = "exchange_steady"
    worker = deployment.start_worker(name, name)
    worker.wait_for("worker.started")
    (line,) = [line for line in worker.text().splitlines() if '"reliability_copy.restored"' in line]
    assert orjson.loads(line)["records"] == LABELERS, "its own application's labelers, each once"
    assert worker.stop() == 0


def test_bad_evidence_is_a_dead_letter(deployment: Deployment) -> None:
    name = "exchange_bad"
    client = deployment.database(name)
    produce(deployment, [Message(LABELER_EVIDENCE.name, 1, None, b'{"app_id": 5}')])
    worker = deployment.start_worker(name, name)
    query = "SELECT reason, detail FROM dead_letters_current WHERE origin_topic = 'labeler-evidence'"
    rows = until(lambda: client.query(query).result_rows, "a dead letter")
    assert [reason for reason, _ in rows] == ["invalid_field"]
    assert worker.stop() == 0
