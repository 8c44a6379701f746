"""Effects exactly once: workers are killed at random moments, and the views cannot tell.

Four partitions are equal in all that is counted; one partition also in all that is believed (see `BELIEFS`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, REVIEWS, TOPICS
from streams.kafka_admin import create_topics
from streams.settings import KafkaSettings
from streams.sources.disorder import disorder
from streams.sources.source import Message
from tests.integration.deployment import (
    LEADERBOARD,
    VIEWS,
    WHOLE,
    Contents,
    Deployment,
    WorkerProcess,
    contents,
    days_of_incidents,
    differences,
    is_settled,
    received,
    until,
)

pytestmark = pytest.mark.integration

KILLS = 5
#: Messages for one partition: less than a day of the stream, so that no task closes. Reviews of closed tasks are in
#: `test_late_truth`.
FIRST = 3_000 if WHOLE else 2_000
#: Many checkpoints, so that a kill finds some behind it and something under way.
OFTEN = {
    "LABELWATCH_WORKER__BATCH_MAX_RECORDS": "50",
    "LABELWATCH_WORKER__CHECKPOINT_SECONDS": "0.1",
    "LABELWATCH_WORKER__CHECKPOINT_EVENTS": "300",
}


def _messages(*, one_task_in: int = 3) -> Iterator[Message]:
    events = days_of_incidents(7, one_task_in=one_task_in)
    return iter(disorder(events, seed=7, duplicates=0.05, malformed=0.05, shuffle_seconds=60))


@pytest.fixture(scope="module")
def produced(deployment: Deployment) -> Iterator[tuple[int, threading.Thread]]:
    """The simulated stream, being produced while the first test runs; how many messages it has."""
    messages = list(_messages())

    def produce() -> None:
        for start in range(0, len(messages), 500):
            deployment.produce(messages[start : start + 500])

    thread = threading.Thread(target=produce)
    thread.start()
    yield len(messages), thread
    thread.join()


@pytest.fixture(scope="module")
def uninterrupted(deployment: Deployment, produced: tuple[int, threading.Thread]) -> Contents:
    """What one worker that is left alone makes of the stream."""
    count, thread = produced
    thread.join()
    client = deployment.database("uninterrupted")
    worker = deployment.start_worker("uninterrupted", "uninterrupted")
    until(lambda: received(client) == count, f"{count} messages scored")
    until(lambda: is_settled(client), "reviews are applied")
    assert worker.stop() == 0
    rows = contents(client)
    assert all(rows[name] for name in VIEWS), "every view has rows to compare"
    return rows


def _finish(deployment: Deployment, worker: WorkerProcess, database: str, count: int) -> Contents:
    client = deployment.database(database)
    until(lambda: received(client) == count, f"{count} messages scored")
    until(lambda: is_settled(client), "reviews are applied")
    assert worker.stop() == 0, worker.text()[-3_000:]
    return contents(client)


def test_five_kills_leave_no_trace(
    deployment: Deployment,
    produced: tuple[int, threading.Thread],
    request: pytest.FixtureRequest,
) -> None:
    count, _ = produced
    client = deployment.database("killed")
    rng = random.Random(11)
    for number in range(KILLS):
        worker = deployment.start_worker("killed", "killed", **OFTEN)
        worker.wait_for("score.batch", count=rng.randint(1, 8))
        time.sleep(rng.uniform(0.0, 0.3))  # a random moment between two checkpoints, not a synchronisation
        worker.kill()
        assert worker.process.returncode == -9, f"kill {number}"
    assert received(client) < count, "all were killed at work"
    worker = deployment.start_worker("killed", "killed")
    found = _finish(deployment, worker, "killed", count)
    assert differences(found, request.getfixturevalue("uninterrupted")) == {}


def test_two_workers_one_killed_for_good(
    deployment: Deployment,
    produced: tuple[int, threading.Thread],
    uninterrupted: Contents,
) -> None:
    count, _ = produced
    deployment.database("two")
    victim = deployment.start_worker("two", "two", LABELWATCH_WORKER__BATCH_MAX_RECORDS="2")
    survivor = deployment.start_worker("two", "two", LABELWATCH_WORKER__BATCH_MAX_RECORDS="2")
    victim.wait_for("score.batch", count=3)
    victim.kill()
    found = _finish(deployment, survivor, "two", count)
    assert differences(found, uninterrupted) == {}


def test_accepted_duplicates_and_dead_letters_add_up(
    produced: tuple[int, threading.Thread], uninterrupted: Contents
) -> None:
    count, _ = produced
    total, accepted, duplicates, dead_letters = (
        sum(row[column] for row in uninterrupted["source_progress"])
        for column in ("received", "accepted", "duplicates", "dead_letters")
    )
    assert total == accepted + duplicates + dead_letters == count
    assert duplicates > 0
    assert len(uninterrupted["dead_letters"]) == dead_letters > 0


def _score(deployment: Deployment, name: str, count: int, kills: Sequence[tuple[str, int]] = ()) -> Client:
    """Let a worker score what there is, after some that are killed when they have logged so much; its database."""
    client, rng = deployment.database(name), random.Random(count)
    for event, times in kills:
        worker = deployment.start_worker(name, name, **OFTEN)
        worker.wait_for(event, times)
        time.sleep(rng.uniform(0.0, 0.3))  # as above
        worker.kill()
    worker = deployment.start_worker(name, name, **OFTEN)
    until(lambda: received(client) == count, f"{count} messages scored")
    until(lambda: is_settled(client), "reviews are applied")
    until(lambda: _is_heard(client), "LABELERS has heard of every labeler")
    assert worker.stop() == 0, worker.text()[-3_000:]
    return client


def _is_heard(client: Client) -> bool:
    """Whether LABELERS has heard the latest of every labeler."""
    sql = """
        SELECT count()
        FROM (SELECT JSONExtract(key, 'Array(String)') AS labeler, version FROM state FINAL WHERE kind = 'labeler') AS s
        LEFT JOIN (
            SELECT [toString(project_id), toString(task_type), labeler_id] AS labeler, max(version) AS heard
            FROM labeler_reliability GROUP BY labeler
        ) AS r ON r.labeler = s.labeler
        WHERE heard < s.version
    """
    return int(client.query(sql).result_rows[0][0]) == 0


def test_on_one_partition_kills_leave_no_trace_in_beliefs_either(tmp_path: Path) -> None:
    messages = list(islice(_messages(one_task_in=1), FIRST))
    answers = [one for one in messages if one.topic == ANNOTATIONS.name]
    reviews = [one for one in messages if one.topic == REVIEWS.name]
    with EmbeddedStack(tmp_path / "stack", kafka_port=0, clickhouse_port=0) as stack:
        deployment = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, tmp_path)
        create_topics(KafkaSettings(bootstrap=stack.kafka_bootstrap, partitions=1), topics=TOPICS)
        try:
            deployment.produce(answers)
            calm = _score(deployment, "calm", len(answers))
            killed = _score(deployment, "killed", len(answers), [("score.batch", 3), ("score.batch", 1)])
            deployment.produce(reviews)  # one batch: read, or noted, or applied when its worker is killed
            calm = _score(deployment, "calm", len(messages))
            killed = _score(deployment, "killed", len(messages), [("score.batch", 1), ("partition.restored", 1)])
            found, expected = (contents(client, {**VIEWS, **LEADERBOARD}) for client in (killed, calm))
        finally:
            deployment.close()
    assert all(expected.values()), "every view has rows to compare"
    assert any(row["truth_source"] == "review" for row in expected["task_confidence"])
    assert differences(found, expected, beliefs=True) == {}
