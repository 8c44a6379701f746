"""Rules in a running worker: a changed file is in force without a restart, and no file, however broken, stops it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from schemas.measurements import MeasurementMessage, Measurements
from schemas.topics import ALERTS, ANNOTATIONS
from schemas.verdicts import Verdicts
from streams.sources.source import Message
from streams.thresholds import shipped
from tests import builders
from tests.integration.deployment import Deployment, WorkerProcess, until

pytestmark = pytest.mark.integration

POLL = {"LABELWATCH_RULES__POLL_SECONDS": "0.2"}
TASKS = 40


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: nothing here depends on the broker."""
    return "embedded"


def rules(smallest_drop: float, *, end: str = "...\n") -> str:
    rule = f"{{name: gold, metric: gold_accuracy, scope: labeler, smallest_drop: {smallest_drop}}}"
    return f"version: 1\nchanged_by: ana\nrules:\n  - {rule}\n{end}"


def answers(first: int, count: int, *, right: float = 1.0) -> list[Message]:
    """Gold answers of seven labelers, one a second, of which so many are right."""
    found = []
    for number in range(first, first + count):
        task = f"task-{number}"
        label = "cat" if number % 100 < right * 100 else "dog"
        event = builders.annotation(
            event_id=f"e-{number}",
            task_id=task,
            labeler_id=f"l-{number % 7}",
            at=float(number),
            label=label,
            gold="cat",
        )
        found.append(Message(ANNOTATIONS.name, task.encode(), json.dumps(event).encode(), 0))
    return found


def logged(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    lines = (line for line in worker.text().splitlines() if f'"event": "{event}"' in line)
    return [json.loads(line) for line in lines]


def alerts(deployment: Deployment, app_id: str) -> list[Verdicts]:
    """Everything of an application on the topic of verdicts."""
    consumer = KafkaConsumer(bootstrap_servers=deployment.bootstrap, enable_auto_commit=False)
    try:
        consumer.assign([TopicPartition(ALERTS.name, 0)])
        consumer.seek_to_beginning()
        found = []
        while polled := consumer.poll(timeout_ms=2_000):
            found += [Verdicts.model_validate_json(record.value) for part in polled.values() for record in part]
        return [one for one in found if one.app_id == app_id]
    finally:
        consumer.close()


def test_changes_are_in_force_without_a_restart_and_nothing_else_is(deployment: Deployment, tmp_path: Path) -> None:
    client = deployment.database("rules")
    path = tmp_path / "thresholds.yaml"
    path.write_text(rules(0.2))
    worker = deployment.start_worker("rules", "rules", LABELWATCH_RULES__FILE=str(path), **POLL)
    worker.wait_for("rules.in_force", 1)

    path.write_text(rules(0.1))
    worker.wait_for("rules.in_force", 2)
    for number, broken in enumerate(
        (
            rules(0.15).replace("gold_accuracy", "gold_acuracy"),
            rules(0.15, end=""),  # half-written: the rules in force end with the end mark
            "version: 1\nrules: [" * 30_000,  # huge
            "\x00\xff",
            None,
        ),
        1,
    ):
        if broken is None:
            path.unlink()
        else:
            path.write_text(broken, encoding="latin-1")
        worker.wait_for("thresholds.refused", number)
    path.mkdir()
    worker.wait_for("thresholds.refused", 6)
    reasons = [entry["reason"] for entry in logged(worker, "thresholds.refused")]
    for reason, words in zip(
        reasons,
        (
            "did you mean gold_accuracy",
            "half-written?",
            "is larger than 256 KiB",
            "not text",
            "does not exist",
            "Is a directory",
        ),
        strict=True,
    ):
        assert words in reason, reasons

    deployment.produce(answers(0, 300))  # it still works
    until(lambda: client.query("SELECT count() FROM annotation_scores FINAL").result_rows == [(300,)], "scored")
    changes = client.query(
        "SELECT rules_added, rules_changed, changed_by, previous_sha256 = '' FROM threshold_changes_current"
        " ORDER BY changed_at"
    ).result_rows
    assert changes == [(["gold"], [], "ana", True), ([], ["gold"], "ana", False)]

    path.rmdir()
    path.write_text(rules(0.2))  # as it was first
    worker.wait_for("rules.in_force", 3)
    assert worker.stop() == 0
    assert client.query("SELECT count() FROM threshold_changes_current").result_rows == [(3,)]

    # Another worker goes on with what was accepted, though the file is gone by then.
    path.unlink()
    worker = deployment.start_worker("rules", "rules", LABELWATCH_RULES__FILE=str(path), **POLL)
    worker.wait_for("thresholds.refused")
    worker.wait_for("rules.restored")
    (restored,) = logged(worker, "rules.restored")
    last = "SELECT argMax(sha256, changed_at) FROM threshold_changes_current"
    assert client.query(last).result_rows == [(restored["sha256"],)]
    assert worker.stop() == 0
    assert client.query("SELECT count() FROM threshold_changes_current").result_rows == [(3,)]


def test_without_a_usable_file_the_shipped_rules_hold(deployment: Deployment, tmp_path: Path) -> None:
    deployment.database("shipped")
    worker = deployment.start_worker("shipped", "shipped", LABELWATCH_RULES__FILE=str(tmp_path / "none.yaml"))
    worker.wait_for("thresholds.refused")
    worker.wait_for("rules.in_force")
    assert logged(worker, "rules.in_force")[0]["sha256"] == shipped().sha256
    worker.kill()


def test_a_drop_comes_out_as_a_verdict_and_a_finding(deployment: Deployment, tmp_path: Path) -> None:
    client = deployment.database("drop")
    path = tmp_path / "thresholds.yaml"
    path.write_text(shipped().text)
    worker = deployment.start_worker("drop", "drop", LABELWATCH_RULES__FILE=str(path))
    worker.wait_for("rules.in_force")
    deployment.produce(answers(10_000, 3_000))
    deployment.produce(answers(13_000, 2_000, right=0.3))
    # More than those if another test came before: topics are shared.
    counts = "SELECT (SELECT sum(answers) FROM measurements FINAL), (SELECT count() FROM annotation_scores FINAL)"

    def all_measured() -> int:
        ((measured, scored),) = client.query(counts).result_rows
        return scored if measured == scored >= 5_000 else 0

    wanted = until(all_measured, "measured")
    until(lambda: client.query("SELECT count() > 0 FROM findings_current").result_rows == [(True,)], "found")
    assert worker.stop() == 0
    rows = client.query("SELECT payload FROM measurements FINAL WHERE answers > 0").result_rows
    batches = [MeasurementMessage.model_validate_json(payload).root for (payload,) in rows]
    told = [a.labeler_id for batch in batches if isinstance(batch, Measurements) for a in batch.answers]
    assert len(told) == wanted
    found = client.query("SELECT rule, scope, direction, level < baseline FROM findings_current").result_rows
    assert ("segment-gold-accuracy", "segment", "down", True) in found
    said = alerts(deployment, "drop")
    numbers = [verdict.number for one in said for verdict in one.verdicts]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [one.clock_ms for one in said] == sorted(one.clock_ms for one in said)
    breaches = [v for one in said for v in one.verdicts if v.kind == "breach"]
    assert len(breaches) == len(found)
