"""Effects exactly once: workers are killed at random moments, and the views cannot tell."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from streams.sources.disorder import disorder
from streams.sources.simulate import Scenario, Simulation
from streams.sources.source import Message, Rejected, to_message
from tests.integration.deployment import VIEWS, Deployment, WorkerProcess, contents, differences, received, until

pytestmark = pytest.mark.integration

KILLS = 5


def _messages() -> Iterator[Message]:
    simulation = Simulation(Scenario.load("incidents").scaled(0.25), seed=7)
    events = (to_message(item) for item in simulation if not isinstance(item, Rejected))
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
def uninterrupted(
    deployment: Deployment, produced: tuple[int, threading.Thread]
) -> dict[str, list[tuple[object, ...]]]:
    """What one worker that is left alone makes of the stream."""
    count, thread = produced
    thread.join()
    client = deployment.database("uninterrupted")
    worker = deployment.start_worker("uninterrupted", "uninterrupted")
    until(lambda: received(client) == count, f"{count} messages scored")
    assert worker.stop() == 0
    rows = contents(client)
    assert all(rows[name] for name in VIEWS), "every view has rows to compare"
    return rows


def _finish(
    deployment: Deployment, worker: WorkerProcess, database: str, count: int
) -> dict[str, list[tuple[object, ...]]]:
    client = deployment.database(database)
    until(lambda: received(client) == count, f"{count} messages scored")
    assert worker.stop() == 0, worker.text()[-3_000:]
    return contents(client)


def test_five_kills_leave_no_trace(
    deployment: Deployment,
    produced: tuple[int, threading.Thread],
    request: pytest.FixtureRequest,
) -> None:
    count, _ = produced
    deployment.database("killed")
    rng = random.Random(11)
    for number in range(KILLS):
        worker = deployment.start_worker("killed", "killed")
        worker.wait_for("score.batch", count=rng.randint(1, 8))
        time.sleep(rng.uniform(0.0, 0.6))  # a random moment between two checkpoints, not a synchronisation
        worker.kill()
        assert worker.process.returncode == -9, f"kill {number}"
    worker = deployment.start_worker("killed", "killed")
    found = _finish(deployment, worker, "killed", count)
    assert differences(found, request.getfixturevalue("uninterrupted")) == {}


def test_two_workers_one_killed_for_good(
    deployment: Deployment,
    produced: tuple[int, threading.Thread],
    uninterrupted: dict[str, list[tuple[object, ...]]],
) -> None:
    count, _ = produced
    deployment.database("two")
    victim = deployment.start_worker("two", "two", LABELWATCH_WORKER__BATCH_MAX_RECORDS="100")
    survivor = deployment.start_worker("two", "two", LABELWATCH_WORKER__BATCH_MAX_RECORDS="100")
    victim.wait_for("score.batch", count=3)
    victim.kill()
    found = _finish(deployment, survivor, "two", count)
    assert differences(found, uninterrupted) == {}


def test_accepted_duplicates_and_dead_letters_add_up(
    produced: tuple[int, threading.Thread], uninterrupted: dict[str, list[tuple[object, ...]]]
) -> None:
    count, _ = produced
    total, accepted, duplicates, dead_letters = (
        sum(int(str(row[at])) for row in uninterrupted["source_progress"]) for at in (4, 5, 6, 7)
    )
    assert total == accepted + duplicates + dead_letters == count
    assert duplicates > 0
    assert len(uninterrupted["dead_letters"]) == dead_letters > 0
