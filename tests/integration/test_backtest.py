"""``labelwatch thresholds backtest`` on what was really stored: by a worker, and in disorder."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from detectors.alerts.book import AlertBook
from schemas.measurements import Measurements, RulesChange
from schemas.topics import ALERTS, ANNOTATIONS, MEASUREMENTS
from schemas.verdicts import Verdicts
from streams.backtest.log_line import log_line
from streams.cli import cli
from streams.measurement_history import ClickHouseHistory, History, KafkaHistory
from streams.sinks.clickhouse import ClickHouseSink
from streams.sources.source import Message
from streams.watch import measurement_row
from tests import builders
from tests.histories import DAY, HOUR, at, change, measured, moment, rules_text, with_changes
from tests.integration.deployment import Deployment, until

pytestmark = pytest.mark.integration

RULES = rules_text(0.1).replace("scope: labeler", "scope: segment")
SEGMENT_GOLDS, BAD_GOLDS = 3_000, 1_000


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: nothing here depends on the broker."""
    return "embedded"


@dataclass(frozen=True)
class Stored:
    """Measurements of an application, on the topic and in the table."""

    deployment: Deployment
    app_id: str
    messages: Sequence[Measurements | RulesChange]

    @property
    def histories(self) -> Iterator[History]:
        yield ClickHouseHistory(self.deployment.clickhouse(self.app_id), self.app_id)
        yield KafkaHistory(self.deployment.kafka, self.app_id)


@pytest.fixture(scope="module")
def stored(deployment: Deployment) -> Stored:
    """In the table some are twice, their arrivals are not in the order of their offsets, and others are between."""
    app_id = "disorder"
    deployment.database(app_id)
    history = measured(app_id)
    messages = with_changes(
        history,
        (0, change(rules_text(), 0, app_id=app_id)),
        (200, change(rules_text(0.3), 2_000, app_id=app_id)),
    )
    producer = KafkaProducer(bootstrap_servers=deployment.bootstrap)
    arrival_ms = time.time_ns() // 1_000_000 - 3 * 86_400_000  # rows are kept for 400 days after it
    rows = []
    for number, message in enumerate(messages):
        if number % 7 == 0:
            other = message.model_copy(update={"app_id": "another"})
            producer.send(MEASUREMENTS.name, other.model_dump_json().encode(), partition=0).get(10)
        value = message.model_dump_json().encode()
        offset = producer.send(MEASUREMENTS.name, value, partition=0).get(10).offset
        arrived_ms = arrival_ms + 600_000 * number - (90_000_000 if number % 3 == 0 else 0)
        record = builders.Message(offset, arrived_ms, None, value)
        rows.append(measurement_row(message, record))
    producer.close()

    async def fill() -> None:
        sink = ClickHouseSink(deployment.clickhouse(app_id))
        await sink.write({"measurements": [*reversed(rows)]})
        await sink.write({"measurements": rows[100:150]})
        await sink.close()

    asyncio.run(fill())
    return Stored(deployment, app_id, messages)


class TestHistories:
    def test_are_whole_and_in_order(self, stored: Stored) -> None:
        for history in stored.histories:
            read = list(history.read(0))
            assert [one.message for one in read] == list(stored.messages), history.name
            assert [one.share for one in read] == sorted(one.share for one in read)
            assert history.latest_ms == at(2 * DAY - 1)

    def test_begin_at_a_time_but_for_rules(self, stored: Stored) -> None:
        expected = [
            one for one in stored.messages
            if isinstance(one, RulesChange) or one.answers[-1].submitted_ms >= at(35 * HOUR)
        ]  # fmt: skip
        for history in stored.histories:
            assert [one.message for one in history.read(at(35 * HOUR))] == expected, history.name

    def test_are_read_in_bounded_pieces(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streams.measurement_history._MOST_MESSAGES", 40)
        monkeypatch.setattr("streams.measurement_history._MOST_ANSWERS", 100)
        history = next(stored.histories)
        assert [one.message for one in history.read(0)] == list(stored.messages)

    def test_after_the_end_are_empty_and_say_what_there_is(self, stored: Stored) -> None:
        for history in stored.histories:
            assert [one for one in history.read(at(3 * DAY)) if isinstance(one.message, Measurements)] == []
            assert history.latest_ms == at(2 * DAY - 1)


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path, no_settings: pytest.MonkeyPatch) -> Any:
    (tmp_path / "t.yaml").write_text(RULES)

    def invoke(app_id: str, *more: object) -> Result:
        no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", deployment.clickhouse_url)
        no_settings.setenv("LABELWATCH_CLICKHOUSE__DATABASE", deployment.clickhouse(app_id).database)
        no_settings.setenv("LABELWATCH_KAFKA__BOOTSTRAP", deployment.bootstrap)
        no_settings.setenv("LABELWATCH_WORKER__APP_ID", app_id)
        arguments = ["thresholds", "backtest", str(tmp_path / "t.yaml"), *map(str, more)]
        return CliRunner().invoke(cli, arguments, terminal_width=110)

    return invoke


def test_the_log_is_what_a_worker_did(deployment: Deployment, tmp_path: Path, run: Any) -> None:
    """To the byte what comes of its verdicts; and in the end the alerts that its NOTIFY stored, with their times."""
    client = deployment.database("live")
    (tmp_path / "t.yaml").write_text(RULES)
    total = "SELECT sum(answers) FROM measurements FINAL WHERE kind = 'measurements'"
    answers, half = golds(), SEGMENT_GOLDS + 30
    wanted = len(answers)

    def is_measured(count: int) -> bool:
        return bool(client.query(total).result_rows == [(count,)])

    for first, end in ((0, half), (half, wanted)):  # a restart while it gets worse
        worker = deployment.start_worker("live", "live", LABELWATCH_RULES__FILE=str(tmp_path / "t.yaml"))
        if not first:
            worker.wait_for("rules.in_force")
        deployment.produce(answers[first:end])
        until(partial(is_measured, end), "measured")
        if end == wanted:
            until(lambda: stored_alerts(client), "an alert in the tables")
        assert worker.stop() == 0
    book = AlertBook("live")
    live = b"".join(log_line(one) for told in verdicts(deployment, "live") for one in book.take(told))
    assert [orjson.loads(line)["change"] for line in live.splitlines()][:1] == ["fired"]
    for source in ("clickhouse", "kafka"):
        log = tmp_path / f"{source}.jsonl"
        result = run(
            "live",
            "--since",
            "2000-01-02T00:00:00Z",
            "--source",
            source,
            "--log",
            log,
            "--against",
            "current",
            "--json",
        )
        assert result.exit_code == 0, result.output
        assert log.read_bytes() == live, source
        alerts = {line["alert"]["alert_id"]: line["alert"] for line in map(orjson.loads, live.splitlines())}
        assert stored_alerts(client) == {name: tuple(one[field] for field in STORED) for name, one in alerts.items()}
        shown = json.loads(result.stdout)
        assert shown["answers"] == wanted
        counts = shown["differences"]["counts"]
        assert counts["same"] == len(shown["alerts"]) == sum(counts.values())


STORED = ("state", "began_ms", "fired_ms", "resolved_ms", "ended", "told", "held")


def stored_alerts(client: Any) -> dict[str, tuple[Any, ...]]:
    """What NOTIFY stored of each alert, in the order of `STORED`."""
    rows = client.query(
        "SELECT alert_id, state, toUnixTimestamp64Milli(started_at), toUnixTimestamp64Milli(fired_at),"
        " toUnixTimestamp64Milli(resolved_at), ended, told, held FROM alert_history"
    ).result_rows
    return {row[0]: row[1:] for row in rows}


def golds() -> list[Message]:
    """Gold answers of seven labelers, one a second: all right, then few."""
    found = []
    for number in range(SEGMENT_GOLDS + BAD_GOLDS):
        task, label = f"task-{number}", "dog" if number >= SEGMENT_GOLDS and number % 10 > 2 else "cat"
        names = {"event_id": f"e-{number}", "task_id": task, "labeler_id": f"l-{number % 7}"}
        event = builders.annotation(**names, at=float(number), label=label, gold="cat")
        found.append(Message(ANNOTATIONS.name, task.encode(), json.dumps(event).encode(), 0))
    return found


def verdicts(deployment: Deployment, app_id: str) -> list[Verdicts]:
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


def test_what_cannot_be_read_is_said_with_its_address(
    stored: Stored, run: Any, no_settings: pytest.MonkeyPatch
) -> None:
    result = run("nobody", "--since", moment(0))
    assert result.exit_code == 1
    assert "run `labelwatch migrate`" in result.stderr
    result = run("disorder", "--since", "2026-01-05T00:00:00Z")
    assert (result.exit_code, "Choose an earlier --since" in result.stderr) == (1, True)
    no_settings.setenv("LABELWATCH_KAFKA__BOOTSTRAP", "127.0.0.1:9")
    arguments = ["thresholds", "backtest", "deploy/thresholds.yaml", "--since", "7d", "--source", "kafka"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "no Kafka broker answers (127.0.0.1:9" in result.stderr
