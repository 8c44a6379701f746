"""Truth that comes after its window closed, or after its task did, revises everything once; also across SIGKILL."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client

from deploy.local.stack import EmbeddedStack
from schemas.topics import ANNOTATIONS, REVIEWS, TOPICS
from streams.kafka_admin import create_topics
from streams.settings import KafkaSettings
from streams.sources.source import Message
from tests.integration.deployment import Deployment, until

pytestmark = pytest.mark.integration

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
TASKS = 240
LABELERS = {"ann": 0.95, "bob": 0.9, "cy": 0.55}
CLASSES = ("cat", "dog", "emu")
#: Hours after the start: the windows are closed, the tasks are closed, and the last reviews are a week late.
AFTERNOON, NEXT_DAYS, NEXT_WEEK = 5, 60, 170

Contents = dict[str, list[dict[str, Any]]]

VIEWS = {
    "tasks": "SELECT * EXCEPT version FROM task_confidence_current ORDER BY task_id",
    "labelers": "SELECT labeler_id, labels, accuracy, accuracy_low, accuracy_high, effective_labels, spammer_score,"
    " confused_true, confused_answer FROM labeler_leaderboard ORDER BY labeler_id",
    "hours": "SELECT * FROM quality_by_hour ORDER BY ALL",
    "agreement": "SELECT * FROM agreement_by_hour ORDER BY ALL",
    "outcomes": "SELECT * EXCEPT version FROM confidence_outcomes_current ORDER BY task_id",
}


def truth_of(task: int) -> str:
    return CLASSES[task * 7919 % len(CLASSES)]


def annotation(task: str, labeler: str, label: str, at: datetime, gold: str | None = None) -> Message:
    event: dict[str, Any] = {
        "event_id": f"{task}-{labeler}",
        "task_id": task,
        "labeler_id": labeler,
        "project_id": "animals",
        "vendor_id": "acme",
        "task_type": "image_class",
        "label": {"kind": "class", "value": label},
        "started_at": (at - timedelta(seconds=9)).isoformat(),
        "submitted_at": at.isoformat(),
    }
    if gold is not None:
        event["gold_label"] = {"kind": "class", "value": gold}
    return Message(ANNOTATIONS.name, task.encode(), orjson.dumps(event), int(at.timestamp() * 1_000))


def review(task: str, label: str, at: datetime) -> Message:
    event = {
        "project_id": "animals",
        "task_id": task,
        "true_label": {"kind": "class", "value": label},
        "reviewer_id": "rita",
        "reviewed_at": at.isoformat(),
    }
    return Message(REVIEWS.name, task.encode(), orjson.dumps(event), int(at.timestamp() * 1_000))


def answers() -> dict[tuple[int, str], str]:
    """What each labeler says of each task."""
    draw = random.Random(3)
    found = {}
    for task in range(TASKS):
        truth = truth_of(task)
        for labeler, accuracy in LABELERS.items():
            wrong = [name for name in CLASSES if name != truth]
            found[task, labeler] = truth if draw.random() < accuracy else draw.choice(wrong)
    return found


def phases() -> Iterator[list[Message]]:
    """What is sent, in steps: the next only when the one before has been scored."""
    given = answers()
    yield [
        annotation(f"t{task}", labeler, given[task, labeler], START + timedelta(seconds=10 * task + place))
        for task in range(TASKS)
        for place, labeler in enumerate(LABELERS)
    ]
    yield [annotation("later", "ann", "cat", START + timedelta(hours=AFTERNOON))]
    # Gold for a quarter of the tasks, by an annotation of somebody else, long after their windows closed.
    evening = START + timedelta(hours=AFTERNOON + 1)
    yield [annotation(f"t{t}", "dee", truth_of(t), evening, gold=truth_of(t)) for t in range(0, TASKS, 4)]
    yield [review(f"t{t}", truth_of(t), evening) for t in range(1, TASKS, 4)]
    # And reviews of tasks that have left memory.
    yield [annotation("much-later", "ann", "cat", START + timedelta(hours=NEXT_DAYS))]
    yield [review(f"t{t}", truth_of(t), START + timedelta(hours=NEXT_WEEK)) for t in range(2, TASKS, 4)]


def received(client: Client) -> int:
    return int(
        client.query("SELECT sum(received) FROM source_progress_current WHERE app_id = 'late'").result_rows[0][0]
    )


def known(client: Client) -> int:
    return int(client.query("SELECT countIf(truth IS NOT NULL) FROM task_confidence_current").result_rows[0][0])


def told(client: Client, sequence: int) -> int:
    """Labelers of whom LABELERS has heard up to the last message."""
    sql = "SELECT uniq(labeler_id) FROM labeler_reliability FINAL WHERE version = {sequence:UInt64}"
    return int(client.query(sql, parameters={"sequence": sequence}).result_rows[0][0])


def scored(stack: EmbeddedStack, folder: Path, kills: bool) -> tuple[Contents, Contents]:
    """The views before any truth was known, and at the end."""
    deployment = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, folder)
    create_topics(KafkaSettings(bootstrap=stack.kafka_bootstrap, partitions=1), topics=TOPICS)
    client = deployment.database("late")
    before: Contents = {}
    try:
        worker = deployment.start_worker("late", "late")
        sent = 0
        for number, messages in enumerate(phases()):
            sent += deployment.produce(messages)
            if kills and number >= 2:
                # In the middle of it, or with all of it read and nothing of it stored: wherever it is by now.
                until(lambda: received(client) > sent - len(messages) or number % 2, "some of it is scored")  # noqa: B023
                worker.kill()
                worker = deployment.start_worker("late", "late")
            until(lambda: received(client) == sent, f"{sent} messages are scored")  # noqa: B023
            expected = {0: 0, 1: 0, 2: TASKS // 4, 3: TASKS // 2, 4: TASKS // 2, 5: 3 * TASKS // 4}[number]
            until(lambda: known(client) == expected, f"{expected} truths are known after step {number}")  # noqa: B023
            if number == 1:
                before = contents(client)
        # Numbers count messages from 0, and each task that was opened again.
        last = sent - 1 + TASKS // 4
        until(lambda: told(client, last) == len(LABELERS), "everything is known of the labelers")
        assert worker.stop() == 0
    finally:
        deployment.close()
    return before, contents(client)


def contents(client: Client) -> Contents:
    results = {name: client.query(sql) for name, sql in VIEWS.items()}
    return {
        name: [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]
        for name, result in results.items()
    }


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, Contents]:
    folder = tmp_path_factory.mktemp("calm")
    with EmbeddedStack(folder / "stack", kafka_port=0, clickhouse_port=0) as stack:
        return scored(stack, folder, kills=False)


def test_late_truth_revises_what_was_counted(calm: tuple[Contents, Contents]) -> None:
    before, after = calm
    given = answers()
    old, new = before["hours"][0], after["hours"][0]
    golds = [one for one in given if one[0] % 4 == 0]
    assert (old["gold_seen"], new["gold_seen"]) == (0, len(golds))
    assert new["gold_right"] == sum(given[one] == truth_of(one[0]) for one in golds)
    settled = [one for one in given if one[0] % 4 != 3]
    unsettled = len(given) - len(settled)
    right = sum(given[one] == truth_of(one[0]) for one in settled)
    # Of an unsettled task all answers but the first have something to agree with.
    assert new["consensus_seen"] == len(settled) + unsettled * 2 // 3 > old["consensus_seen"]
    assert right <= new["consensus_agreed"] <= right + unsettled
    assert new["annotations"] == old["annotations"] == len(given)
    accuracy = {row["labeler_id"]: row["accuracy"] for row in after["labelers"]}
    assert accuracy["cy"] < 0.7 < 0.85 < accuracy["ann"]
    assert len(after["outcomes"]) == 3 * TASKS // 4
    assert {row["truth_source"] for row in after["tasks"]} == {"gold", "review", None}


def test_a_kill_changes_nothing(calm: tuple[Contents, Contents], tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path / "stack", kafka_port=0, clickhouse_port=0) as stack:
        _, found = scored(stack, tmp_path, kills=True)
    for name, rows in calm[1].items():
        assert len(found[name]) == len(rows), name
        for row, expected in zip(found[name], rows, strict=True):
            assert row == expected, name
