"""Real labels through real workers: what they believe is what the offline pass believes, on one partition exactly."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import orjson
import pytest

from benchmarks.truth import SETS
from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, TOPICS
from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.models import new_models
from streams.evaluate.truth import SPACE, run_pass
from streams.kafka_admin import create_topics
from streams.settings import KafkaSettings, Settings
from streams.sources.source import Message
from tests.integration.deployment import WHOLE, Deployment, until

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
#: An impossible time, which is not learned: workers learn times of all sets together, the offline pass of one.
SECONDS = 0.001
#: Labels of each set: all of them are 85,000.
EACH = None if WHOLE else 2_500
#: Messages in flight: live, a worker is seconds behind, not a whole backlog.
AHEAD = 2_000


def shuffled(data: Path) -> dict[str, Dataset]:
    """Every set in the same random order, at the times at which its labels are sent."""
    found = {}
    for name, read in SETS.items():
        dataset = read(data).shuffled(0)
        labels = tuple(
            given._replace(at_ms=int(START.timestamp() * 1_000) + 500 * number, seconds=None)
            for number, given in enumerate(dataset.labels[:EACH])
        )
        found[name] = Dataset(labels, dataset.truth)
    return found


def message(project: str, given: GivenLabel, number: int) -> Message:
    at = datetime.fromtimestamp(given.at_ms / 1_000, UTC)
    event = {
        "event_id": f"{project}-{number}",
        "task_id": f"{project}-{given.task_id}",
        "labeler_id": given.labeler_id,
        "project_id": project,
        "vendor_id": "crowd",
        "task_type": SPACE.task_type,
        "label": {"kind": "class", "value": given.label},
        "started_at": (at - timedelta(seconds=SECONDS)).isoformat(),
        "submitted_at": at.isoformat(),
        "active_seconds": SECONDS,
    }
    return Message(ANNOTATIONS.name, event["task_id"].encode(), orjson.dumps(event), given.at_ms)


def stream(sets: dict[str, Dataset]) -> Iterator[Message]:
    """All sets as projects, in order of time."""
    longest = max(len(dataset.labels) for dataset in sets.values())
    for number in range(longest):
        for name, dataset in sets.items():
            if number < len(dataset.labels):
                yield message(name, dataset.labels[number], number)


def believed(
    partitions: int, folder: Path, sets: dict[str, Dataset]
) -> dict[tuple[str, str], tuple[str, float, float]]:
    """Consensus, posterior and confidence of every task, after a worker has scored everything as it came."""
    with EmbeddedStack(folder / "stack", kafka_port=0, clickhouse_port=0) as stack:
        deployment = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, folder)
        create_topics(KafkaSettings(bootstrap=stack.kafka_bootstrap, partitions=partitions), topics=TOPICS)
        client = deployment.database("truth")
        deployment.start_worker("truth", "truth")
        try:
            messages, sent = stream(sets), 0
            while chunk := list(islice(messages, AHEAD)):
                sent += deployment.produce(chunk)
                until(lambda: annotations_received(client) >= sent - AHEAD, f"{sent - AHEAD} annotations are scored")  # noqa: B023
            until(lambda: annotations_received(client) == sent, f"all {sent} annotations are scored")
            rows = client.query(
                "SELECT project_id, task_id, consensus_label, raw_confidence, confidence FROM task_confidence_current"
            ).result_rows
        finally:
            deployment.close()
    return {(project, task.removeprefix(f"{project}-")): (label, raw, sure) for project, task, label, raw, sure in rows}


def annotations_received(client) -> int:  # type: ignore[no-untyped-def]
    sql = "SELECT sum(received) FROM source_progress_current WHERE topic = 'annotations'"
    return int(client.query(sql).result_rows[0][0] or 0)


def accuracy(found: dict[tuple[str, str], tuple[str, float, float]], name: str, dataset: Dataset) -> float:
    return statistics.mean(
        found[name, task][0] == truth for task, truth in dataset.truth.items() if (name, task) in found
    )


@pytest.fixture(scope="module")
def sets(data: Path) -> dict[str, Dataset]:
    return shuffled(data)


@pytest.fixture(scope="module")
def one(
    sets: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[str, float, float]]:
    return believed(1, tmp_path_factory.mktemp("one"), sets)


def test_one_partition_believes_what_the_offline_pass_does(
    sets: dict[str, Dataset], one: dict[tuple[str, str], tuple[str, float, float]]
) -> None:
    assert len(one) == sum(len(dataset.tasks) for dataset in sets.values())
    for name, dataset in sets.items():
        offline = run_pass(dataset, new_models(Settings())).streaming
        for task, raw in offline.raw.items():
            label, raw_confidence, confidence = one[name, task]
            assert label == raw.label, (name, task)
            assert raw_confidence == pytest.approx(raw.confidence, abs=1e-9), (name, task)
            assert confidence == pytest.approx(offline.calibrated[task].confidence, abs=1e-9), (name, task)


def test_four_partitions_are_as_right_as_one(
    sets: dict[str, Dataset],
    one: dict[tuple[str, str], tuple[str, float, float]],
    tmp_path: Path,
) -> None:
    four = believed(4, tmp_path, sets)
    assert four.keys() == one.keys()
    by_set = {name: (accuracy(one, name, dataset), accuracy(four, name, dataset)) for name, dataset in sets.items()}
    difference = statistics.mean(b - a for a, b in by_set.values())
    assert abs(difference) < 0.005, by_set
