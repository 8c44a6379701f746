"""The guards behind exactly-once effects, taken out one at a time: the comparison must notice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.clickhouse.migrate import MIGRATIONS, migrate
from deploy.local.stack import EmbeddedStack
from streams.sinks.connection import connect
from tests.integration.deployment import (
    Contents,
    Deployment,
    contents,
    days_of_incidents,
    differences,
    is_settled,
    received,
    until,
)

pytestmark = pytest.mark.integration

SABOTAGED = (str(Path(__file__).with_name("sabotaged_worker.py")),)
#: Many checkpoints, so that some window is written in two of them and some messages are stored but not committed.
OFTEN = {
    "LABELWATCH_WORKER__BATCH_MAX_RECORDS": "50",
    "LABELWATCH_WORKER__CHECKPOINT_SECONDS": "0.05",
    "LABELWATCH_WORKER__CHECKPOINT_EVENTS": "500",
}


@pytest.fixture(scope="module")
def deployment(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    running = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, tmp_path_factory.mktemp("workers"))
    running.create_topics()
    return running


@pytest.fixture(scope="module")
def produced(deployment: Deployment) -> int:
    return deployment.produce(days_of_incidents(5))


@pytest.fixture(scope="module")
def uninterrupted(deployment: Deployment, produced: int) -> Contents:
    client = deployment.database("uninterrupted")
    worker = deployment.start_worker("uninterrupted", "uninterrupted")
    until(lambda: received(client) == produced, f"{produced} messages scored")
    until(lambda: is_settled(client), "reviews are applied")
    assert worker.stop() == 0
    return contents(client)


def _killed_once(deployment: Deployment, name: str, *guards: str) -> Contents:
    """What workers without some guards make of the stream, when the first is killed after a few checkpoints."""
    client = deployment.database(name)
    program = (*SABOTAGED, ",".join(guards))
    worker = deployment.start_worker(name, name, program=program, **OFTEN)
    worker.wait_for("score.checkpoint", count=4)
    worker.kill()
    worker = deployment.start_worker(name, name, program=program, **OFTEN)
    last = {row[0:2]: row[2] for row in contents_of_progress(deployment)}
    until(lambda: {row[0:2]: row[2] for row in progress(client)} == last, "every partition read to its end")
    until(lambda: is_settled(client), "reviews are applied")
    assert worker.stop() == 0
    return contents(client)


def progress(client: object) -> list[tuple[object, ...]]:
    sql = "SELECT topic, source_partition, last_offset FROM source_progress_current ORDER BY ALL"
    return [tuple(row) for row in client.query(sql).result_rows]  # type: ignore[attr-defined]


def contents_of_progress(deployment: Deployment) -> list[tuple[object, ...]]:
    return progress(deployment.database("uninterrupted"))


def test_the_offset_check_alone_is_enough(deployment: Deployment, uninterrupted: Contents) -> None:
    """Resuming where the group last committed, messages are delivered again, and nothing changes."""
    found = _killed_once(deployment, "redelivered", "stored_position")
    assert "replayed" in deployment.workers[-1].text()
    assert differences(found, uninterrupted) == {}


def test_without_the_offset_check_the_views_differ(
    deployment: Deployment, uninterrupted: Contents, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _killed_once(deployment, "unchecked", "stored_position", "offset_check")
    report = differences(found, uninterrupted)
    with capsys.disabled():
        print("\nwithout the offset check:", {name: text[:160] for name, text in report.items()})
    assert {"quality_by_minute", "source_progress"} <= set(report)


def test_without_row_identity_the_views_differ(
    deployment: Deployment, produced: int, uninterrupted: Contents, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same worker on tables that only append."""
    for file in sorted(MIGRATIONS.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        # State keeps its identity, or nothing would be restored; results lose theirs.
        plain = re.sub(r"ReplacingMergeTree\((?:source_offset|last_offset)\)", "MergeTree", text)
        for table in ("window_partials", "annotation_scores", "reviews"):
            plain = re.sub(rf"\b{table}( AS \w+)? FINAL\b", rf"{table}\1", plain)
        (tmp_path / file.name).write_text(plain, encoding="utf-8")
    client = connect(deployment.clickhouse("appended"), use_database=False)
    migrate(client, directory=tmp_path)
    worker = deployment.start_worker("appended", "appended", **OFTEN)
    until(lambda: received(client) == produced, f"{produced} messages scored")
    until(lambda: is_settled(client), "reviews are applied")
    assert worker.stop() == 0
    report = differences(contents(client), uninterrupted)
    with capsys.disabled():
        print("\nwithout row identity:", {name: text[:160] for name, text in report.items()})
    assert "quality_daily" in report
