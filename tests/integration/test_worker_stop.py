"""SIGTERM at bad moments: the worker ends by itself in time, and acknowledges nothing that is not stored."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS
from streams.kafka_admin import group_lag
from tests.integration.deployment import Deployment, WorkerProcess, received, until
from tests.integration.test_worker_operation import Feed, Gate

pytestmark = pytest.mark.integration

#: Of the 30 s that service managers wait before they kill.
PATIENCE_SECONDS = 29.0
MESSAGES = 300


@pytest.fixture(scope="module")
def broker(stack: EmbeddedStack) -> str:
    """The embedded one."""
    return stack.kafka_bootstrap


@pytest.fixture(scope="module")
def feed(deployment: Deployment) -> Feed:
    feed = Feed(deployment)
    feed.produce(MESSAGES)
    return feed


@pytest.fixture
def gate(stack: EmbeddedStack) -> Iterator[Gate]:
    gate = Gate(stack.clickhouse_url)
    yield gate
    gate.shut()


@pytest.fixture
def silence() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.settimeout(60)
        yield listener


def stopped(worker: WorkerProcess) -> int:
    """The exit code after SIGTERM, which must come before a kill would."""
    worker.process.terminate()
    code = worker.process.wait(timeout=PATIENCE_SECONDS)
    text = worker.text()
    assert '"event": "worker.stopped"' in text
    for complaint in ("never retrieved", "Traceback", "was destroyed but it is pending"):
        assert complaint not in text, text[-5_000:]
    return code


def test_while_clickhouse_is_away_with_something_applied(deployment: Deployment, feed: Feed, gate: Gate) -> None:
    client = deployment.database("away")
    gate.open()
    worker = deployment.start_worker(
        "away", "away", LABELWATCH_CLICKHOUSE__URL=gate.url, LABELWATCH_WORKER__CHECKPOINT_SECONDS="3600"
    )
    worker.wait_for("score.batch", count=4)
    gate.shut()
    assert stopped(worker) == 1
    assert received(client) == 0
    assert sum(group_lag(deployment.kafka, "away", [ANNOTATIONS.name]).values()) == feed.total, "nothing acknowledged"

    again = deployment.start_worker("away", "away")
    until(lambda: received(client) == feed.total, "everything scored")
    assert stopped(again) == 0


def test_while_it_is_refused_what_it_needs_to_begin(deployment: Deployment, feed: Feed, gate: Gate) -> None:
    worker = deployment.start_worker("begin", "begin", LABELWATCH_CLICKHOUSE__URL=gate.url)
    worker.wait_for("sink.retry", count=2)
    assert '"event": "worker.started"' not in worker.text()
    assert stopped(worker) == 0, "nothing was applied: nothing is missing"


def test_while_it_waits_for_an_answer_to_begin(deployment: Deployment, feed: Feed, silence: socket.socket) -> None:
    url = f"http://127.0.0.1:{silence.getsockname()[1]}"
    worker = deployment.start_worker("begin", "begin", LABELWATCH_CLICKHOUSE__URL=url)
    connection, _ = silence.accept()
    with connection:
        assert connection.recv(1), "it asks"
        assert '"event": "worker.started"' not in worker.text()
        assert stopped(worker) == 0


def test_every_line_names_the_worker(deployment: Deployment, feed: Feed) -> None:
    deployment.database("named")
    first, second = (deployment.start_worker("named", "named") for _ in range(2))
    names = set()
    for worker in (first, second):
        worker.wait_for("worker.started")
        assert stopped(worker) == 0
        lines = [json.loads(line) for line in worker.text().splitlines()]
        assert len({line["worker"] for line in lines}) == 1
        names.add(lines[0]["worker"])
    assert len(names) == 2
