"""Dead letters from end to end: a real broker, a real ClickHouse engine, the commands as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from deploy.clickhouse.migrate import migrate
from deploy.local.stack import EmbeddedStack
from schemas.dead_letter import DeadLetter, Origin, Reason
from schemas.events import AnnotationEvent
from schemas.topics import DEAD_LETTERS, TOPICS
from streams.cli import cli
from streams.dead_letter_table import open_table
from streams.decode import Refusal
from streams.kafka_admin import client_options, create_topics, end_offsets, group_lag
from streams.outcome import Outcome
from streams.settings import ClickHouseSettings, KafkaSettings
from streams.sinks.connection import connect

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.integration

FAILED_AT = datetime(2026, 3, 2, 9, 14, 48, 123_000, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "event_id": "e", "task_id": "task-1", "labeler_id": "l", "project_id": "p", "vendor_id": "v", "task_type": "x",
    "label": {"kind": "class", "value": "cat"}, "started_at": "2026-03-02T09:14:05Z",
    "submitted_at": "2026-03-02T09:14:47Z",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    kafka: KafkaSettings
    clickhouse: ClickHouseSettings
    client: Client
    app_id: str
    starts: dict[tuple[str, int], int]

    def letters(self, *letters: tuple[int, Reason, bytes]) -> None:
        """Put dead letters where a worker puts them: on the topic and in the table, by the worker's own code."""
        from kafka import KafkaProducer

        outcome = Outcome()
        for offset, reason, payload in letters:
            outcome.refuse("annotations", 3, Arrived(offset, payload), Refusal(reason, f"\x1b[31m{reason} was wrong"))
        producer = KafkaProducer(**client_options(self.kafka))
        for letter in outcome.dead_letters:
            producer.send(DEAD_LETTERS.name, key=letter.key, value=letter.model_dump_json().encode())
        producer.flush()
        producer.close()
        with open_table(self.clickhouse) as table:
            table.write(outcome.rows["dead_letters"])  # type: ignore[arg-type]  # that table's rows

    def statuses(self) -> dict[int, str]:
        rows = self.client.query("SELECT origin_offset, status FROM dead_letters_current ORDER BY 1").result_rows
        return {int(offset): status for offset, status in rows}

    def messages(self, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """Partition, key and value of all that was sent since the test began."""
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(**client_options(self.kafka), enable_auto_commit=False)
        starts = {TopicPartition(name, number): at for (name, number), at in self.starts.items() if name == topic}
        partitions = list(starts)
        consumer.assign(partitions)
        for partition, start in starts.items():
            consumer.seek(partition, start)
        ends = end_offsets(self.kafka, partitions)
        found = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for partition, records in consumer.poll(200).items():
                found += [(partition.partition, record.key, record.value) for record in records]
        consumer.close()
        return found

    def lag(self) -> int:
        return sum(group_lag(self.kafka, f"{self.app_id}-dlq", [DEAD_LETTERS.name]).values())


@dataclass(frozen=True)
class Arrived:
    offset: int
    value: bytes
    key: bytes = b"task-1"
    timestamp: int = int(FAILED_AT.timestamp() * 1_000)


@pytest.fixture
def place(
    broker: str, stack: EmbeddedStack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Topics are shared: each test has a consumer group of its own, and looks at what was sent since its start."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    kafka = KafkaSettings(bootstrap=broker)
    clickhouse = ClickHouseSettings(url=stack.clickhouse_url)
    app_id = request.node.originalname
    for name, value in {
        "KAFKA__BOOTSTRAP": broker, "CLICKHOUSE__URL": stack.clickhouse_url, "WORKER__APP_ID": app_id,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"LABELWATCH_{name}", value)
    monkeypatch.setenv("COLUMNS", "250")
    client = connect(clickhouse, use_database=False)
    migrate(client)
    client.command("TRUNCATE TABLE dead_letters")
    create_topics(kafka)
    partitions = [TopicPartition(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
    starts = end_offsets(kafka, partitions)
    consumer = KafkaConsumer(group_id=f"{app_id}-dlq", **client_options(kafka))
    dead_letters = TopicPartition(DEAD_LETTERS.name, 0)
    consumer.assign([dead_letters])
    consumer.commit({dead_letters: OffsetAndMetadata(starts[dead_letters], "", -1)})
    consumer.close()
    yield Place(kafka, clickhouse, client, app_id, {(tp.topic, tp.partition): at for tp, at in starts.items()})
    client.close()


def dlq(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["dlq", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def event(**changes: Any) -> bytes:
    return json.dumps({**EVENT, **changes}).encode()


def test_list(place: Place) -> None:
    place.letters((1, Reason.NOT_JSON, b"\xff\x1b[0m"), (2, Reason.EMPTY, b""), (3, Reason.NOT_JSON, b"x" * 5_000))
    shown = dlq("list")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.output
    assert "annotations/3 at 1" in shown.output
    assert "3 dead letters" in shown.output
    only = [json.loads(line) for line in dlq("list", "--reason", "not_json", "--format", "json").stdout.splitlines()]
    assert [record["origin_offset"] for record in only] == [1, 3]
    assert only[0]["failed_at"] == "2026-03-02T09:14:48.123Z"
    assert only[1]["payload_bytes"] == 5_000
    cut = dlq("list", "--limit", "1", "--format", "csv")
    assert len(cut.stdout.splitlines()) == 2
    assert "1 of 3" in cut.stderr
    assert "0 dead letters" in dlq("list", "--since", "2026-03-02T09:14:49Z").output
    assert "3 dead letters" in dlq("list", "--since", "2026-03-02T09:14:48Z").output
    assert "0 dead letters" in dlq("list", "--status", "dropped").output


def test_replay_of_what_is_good_by_now(place: Place) -> None:
    place.letters((10, Reason.UNKNOWN_LABEL, event()), (11, Reason.INVALID_FIELD, event(event_id="f")))
    dry = dlq("replay", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "nothing was changed" in dry.output
    assert place.messages("annotations") == []
    assert place.statuses() == {10: "open", 11: "open"}
    done = dlq("replay")
    assert done.exit_code == 0, done.output
    assert [(p, k) for p, k, _ in place.messages("annotations")] == [(3, b"task-1")] * 2, "to the partition of origin"
    assert AnnotationEvent.model_validate_json(place.messages("annotations")[0][2] or b"").event_id == "e"
    assert place.statuses() == {10: "replayed", 11: "replayed"}
    assert place.lag() == 0
    assert "No dead letters to replay" in dlq("replay").output
    assert len(place.messages("annotations")) == 2


def test_stop_then_requeue_then_drop(place: Place) -> None:
    place.letters((1, Reason.INVALID_FIELD, event()), (2, Reason.NOT_JSON, b"{"), (3, Reason.INVALID_FIELD, event()))
    stopped = dlq("replay")
    assert stopped.exit_code == 1
    assert "annotations/3 at 2" in stopped.output
    assert "--on-error requeue" in stopped.output
    assert (place.lag(), place.statuses()) == (2, {1: "replayed", 2: "open", 3: "open"})

    requeued = dlq("replay", "--on-error", "requeue")
    assert requeued.exit_code == 0, requeued.output
    assert (place.lag(), place.statuses()) == (1, {1: "replayed", 2: "open", 3: "replayed"})
    again = DeadLetter.model_validate_json(place.messages(DEAD_LETTERS.name)[-1][2] or b"")
    assert (again.attempts, again.origin) == (2, Origin(topic="annotations", partition=3, offset=2))

    dropped = dlq("replay", "--on-error", "drop")
    assert dropped.exit_code == 0, dropped.output
    assert (place.lag(), place.statuses()) == (0, {1: "replayed", 2: "dropped", 3: "replayed"})
    assert len(place.messages("annotations")) == 2


def test_declared_labels_are_checked_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_PROJECTS", '{"p": {"labels": ["dog"]}}')
    place.letters((1, Reason.UNKNOWN_LABEL, event()))
    refused = dlq("replay")
    assert refused.exit_code == 1
    assert "unknown_label" in refused.output
    monkeypatch.setenv("LABELWATCH_PROJECTS", '{"p": {"labels": ["dog", "cat"]}}')
    assert dlq("replay").exit_code == 0
    assert place.statuses() == {1: "replayed"}


def test_many_in_several_batches(place: Place) -> None:
    total = 1_200
    place.letters(*[(n, Reason.INVALID_FIELD, event(event_id=f"e{n}") if n % 4 else b"{") for n in range(total)])
    half = dlq("replay", "--on-error", "drop", "--limit", "600")
    assert half.exit_code == 0, half.output
    assert place.lag() == 600
    rest = dlq("replay", "--on-error", "drop")
    assert rest.exit_code == 0, rest.output
    assert place.lag() == 0
    sent = [json.loads(value or b"")["event_id"] for _, _, value in place.messages("annotations")]
    assert sorted(sent) == sorted(f"e{n}" for n in range(total) if n % 4)
    assert place.statuses() == {n: "replayed" if n % 4 else "dropped" for n in range(total)}


def test_missing_topic_and_missing_table_say_what_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__DATABASE", "elsewhere")
    result = dlq("list")
    assert result.exit_code == 1
    assert "labelwatch migrate" in result.output
