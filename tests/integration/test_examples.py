"""The contract with producers, end to end: each example payload through codec, pipeline, row mapper and DDL.

Once in this process, and once through Kafka and a worker: both come to the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from schemas.dead_letter import DeadLetter
from schemas.rows import AnnotationScoreRow, DeadLetterRow, ReviewRow, Row, SourceProgressRow
from schemas.times import to_ms
from schemas.topics import ANNOTATIONS, DEAD_LETTERS, REVIEWS
from streams.dead_letter_table import ClickHouseDeadLetterTable
from streams.dead_letters import OnError, Received, Replay
from streams.decode import Refusal, decode_annotations, decode_reviews
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline
from streams.settings import PipelineSettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.sink import MemorySink, Sink
from streams.state.partition_state import PartitionState
from tests.builders import Message
from tests.integration.deployment import REPO, Deployment, received, until

pytestmark = pytest.mark.integration

EXAMPLES = REPO / "schemas" / "examples"
SOURCES = (ANNOTATIONS.name, REVIEWS.name)
APPENDED_MS = 1_772_600_000_000  # 2026-03-04 04:53 UTC, after every example's own times

#: Every table that a worker fills from its input. `partition_claims` is about workers, not input.
RESULTS = (
    "annotation_scores",
    "task_confidence",
    "reviews",
    "window_partials",
    "dead_letters",
    "source_progress",
    "state",
)


@pytest.fixture(scope="module")
def broker_kind() -> str:
    """The embedded one: payloads do not know their broker, and the crash tests use both."""
    return "embedded"


def payloads(topic: str) -> list[Path]:
    """Valid ones first, then the invalid ones."""
    folder = EXAMPLES / topic / "v1"
    valid, invalid = sorted(folder.glob("*.json")), sorted(folder.glob("invalid/*.json"))
    assert valid
    return valid + invalid


def is_valid(path: Path) -> bool:
    return path.parent.name != "invalid"


def key_of(path: Path) -> bytes:
    """The Kafka key of an example is its task, where it has one."""
    try:
        return str(json.loads(path.read_bytes())["task_id"]).encode()
    except (ValueError, TypeError, KeyError):
        return b"task-1042"


async def stored(pipeline: PartitionPipeline, outcome: Outcome, sink: Sink) -> dict[str, list[Row]]:
    """Write what a checkpoint writes; the rows by table."""
    changes = pipeline.state.changes(APPENDED_MS)
    tables = {**outcome.rows, **changes.results, "source_progress": changes.progress}
    assert len(tables) == len(outcome.rows) + len(changes.results) + 1
    tables = {name: rows for name, rows in {**tables, "state": changes.state}.items() if rows}
    await sink.write(tables)
    return tables


async def clickhouse(deployment: Deployment, database: str) -> ClickHouseSink:
    deployment.database(database).close()
    return ClickHouseSink(deployment.clickhouse(database))


async def test_each_example_through_codec_pipeline_rows_and_ddl(deployment: Deployment) -> None:
    """Each in a pipeline of its own, since the examples are all about one event: the rest would be duplicates."""
    sink = await clickhouse(deployment, "examples")
    decoders: Mapping[str, Any] = {ANNOTATIONS.name: decode_annotations, REVIEWS.name: decode_reviews}
    written: set[str] = set()
    try:
        for topic in SOURCES:
            for number, path in enumerate(payloads(topic)):
                record = Message(number, APPENDED_MS + number, key_of(path), path.read_bytes())
                pipeline = PartitionPipeline(PartitionState(f"{topic}-{number}", number, PipelineSettings()), {})
                (decoded,) = decoders[topic]([record])
                outcome = pipeline.process(topic, [record])
                assert (outcome.received, outcome.duplicates) == (1, 0), path.name
                if is_valid(path):
                    assert outcome.accepted == 1, (path.name, outcome.dead_letters)
                    assert_says_what_the_payload_says(outcome, json.loads(path.read_bytes()), path.name)
                    assert not isinstance(decoded, Refusal)
                    assert decoded == type(decoded).model_validate_json(decoded.model_dump_json()), path.name
                else:
                    assert isinstance(decoded, Refusal)
                    assert_refused_for_the_reason_in_its_name(outcome, decoded, path, record)
                for table, rows in (await stored(pipeline, outcome, sink)).items():
                    found = await sink.read(table)
                    assert [row for row in rows if row not in found] == [], (path.name, table)
                    written.add(table)
    finally:
        await sink.close()
    assert written == set(RESULTS), "the examples fill every table"


def assert_says_what_the_payload_says(outcome: Outcome, payload: dict[str, Any], name: str) -> None:
    """The row mapper against the bare JSON."""
    if "event_id" not in payload:
        (review,) = outcome.rows["reviews"]
        assert isinstance(review, ReviewRow)
        assert (review.project_id, review.task_id) == (payload["project_id"], payload["task_id"]), name
        assert (review.labeler_id, review.reviewer_id) == (payload.get("labeler_id", ""), payload["reviewer_id"]), name
        assert review.accepted == payload.get("accepted"), name
        assert (review.true_label is None) == (payload.get("true_label") is None), name
        assert review.reviewed_at == to_ms(datetime.fromisoformat(payload["reviewed_at"])), name
        return
    (score,) = outcome.rows["annotation_scores"]
    assert isinstance(score, AnnotationScoreRow)
    ids = ("project_id", "task_type", "vendor_id", "event_id", "task_id", "labeler_id")
    assert [getattr(score, field) for field in ids] == [payload[field] for field in ids], name
    started, submitted = (datetime.fromisoformat(payload[field]) for field in ("started_at", "submitted_at"))
    assert (score.started_at, score.submitted_at) == (to_ms(started), to_ms(submitted)), name
    seconds = payload.get("active_seconds")
    assert score.handling_seconds == ((submitted - started).total_seconds() if seconds is None else seconds), name
    assert score.label_kind == payload["label"]["kind"], name
    if score.label_kind in ("class", "text"):
        assert score.label == payload["label"]["value"], name
    assert (score.gold_label is None) == (payload.get("gold_label") is None), name


def assert_refused_for_the_reason_in_its_name(outcome: Outcome, refusal: Refusal, path: Path, record: Message) -> None:
    reason = path.name.partition(".")[0]
    (letter,) = outcome.dead_letters
    (row,) = outcome.rows["dead_letters"]
    assert isinstance(row, DeadLetterRow)
    assert (letter.reason.value, row.reason, refusal.reason.value) == (reason, reason, reason), path.name
    assert (row.origin_offset, row.payload_bytes) == (record.offset, path.stat().st_size), path.name
    assert row.detail, path.name
    assert DeadLetter.model_validate_json(letter.model_dump_json()) == letter, path.name
    assert letter.payload == path.read_bytes(), path.name


class Letters:
    """A dead-letter topic that holds some messages."""

    def __init__(self, values: Sequence[bytes]) -> None:
        self._values = values
        self.sent: list[bytes] = []

    def batches(self) -> Iterable[Sequence[Received]]:
        return [[Received(0, offset, None, value) for offset, value in enumerate(self._values)]]

    def send(self, topic: str, partition: int | None, key: bytes | None, value: bytes) -> None:
        assert topic == DEAD_LETTERS.name
        self.sent.append(value)

    def flush(self) -> None:
        """Nothing is under way."""

    def commit(self, positions: Mapping[int, int]) -> None:
        """One run only."""


def test_each_example_of_a_dead_letter_is_requeued_with_a_row(deployment: Deployment) -> None:
    client = deployment.database("letters")
    table = ClickHouseDeadLetterTable(client)
    for path in payloads(DEAD_LETTERS.name):
        letter = DeadLetter.model_validate_json(path.read_bytes())
        assert json.loads(path.read_bytes()).items() <= json.loads(letter.model_dump_json()).items(), path.name
        topic = Letters([path.read_bytes()])
        refusal = Refusal(letter.reason, "still bad")
        list(Replay(topic, table, lambda *_, refusal=refusal: refusal, OnError.REQUEUE).run())
        (again,) = (DeadLetter.model_validate_json(value) for value in topic.sent)
        assert (again.attempts, again.origin, again.payload) == (letter.attempts + 1, letter.origin, letter.payload)
        row = table.current([letter.origin])[letter.origin]
        assert (row.reason, row.status, row.failed_at) == (letter.reason.value, "open", to_ms(letter.failed_at))
        assert row.first_bytes == letter.payload[:256].decode("utf-8", "backslashreplace"), path.name
    client.close()


async def test_examples_through_kafka_and_a_worker_are_what_they_are_in_memory(deployment: Deployment) -> None:
    """Verbatim, and once more under ids of their own so that none of them is another's duplicate."""
    sent = send(deployment, [*verbatim(), *renamed()])
    sink = await clickhouse(deployment, "worker")
    client = deployment.database("worker")
    worker = deployment.start_worker("worker", "examples")
    until(lambda: received(client) == len(sent), f"{len(sent)} messages scored")
    assert worker.stop() == 0, worker.text()[-3_000:]

    memory = MemorySink()
    for partition in sorted({partition for _, partition, _ in sent}):
        pipeline = PartitionPipeline(PartitionState("examples", partition, PipelineSettings()), {})
        for topic in SOURCES:
            records = [record for at, number, record in sent if (at, number) == (topic, partition)]
            if records:
                await stored(pipeline, pipeline.process(topic, records), memory)
    try:
        for name in RESULTS:
            expected, found = comparable(await memory.read(name)), comparable(await sink.read(name))
            assert len(expected) > 0, name
            assert found == expected, name
    finally:
        await sink.close()
        client.close()
    assert len(memory.rows("dead_letters")) == sum(not is_valid(p) for topic in SOURCES for p in payloads(topic))


def verbatim() -> Iterator[tuple[str, bytes, bytes]]:
    """Topic, key and value of every example."""
    for topic in SOURCES:
        for path in payloads(topic):
            yield topic, key_of(path), path.read_bytes()


def renamed() -> Iterator[tuple[str, bytes, bytes]]:
    """The valid ones, each about a task of its own."""
    for topic in SOURCES:
        for path in filter(is_valid, payloads(topic)):
            payload = json.loads(path.read_bytes()) | {"task_id": path.stem}
            if topic == ANNOTATIONS.name:
                payload["event_id"] = path.stem
            yield topic, path.stem.encode(), json.dumps(payload).encode()


def send(deployment: Deployment, messages: Iterable[tuple[str, bytes, bytes]]) -> list[tuple[str, int, Message]]:
    """Produce; per message its topic, its partition, and the record as the broker keeps it."""
    producer = KafkaProducer(bootstrap_servers=deployment.bootstrap, acks="all")
    sent = []
    for topic, key, value in messages:
        kept = producer.send(topic, key=key, value=value).get(timeout=30)
        sent.append((topic, kept.partition, Message(kept.offset, kept.timestamp, key, value)))
    producer.close()
    return sent


def comparable(rows: Iterable[Row]) -> list[Row]:
    """Rows less the wall clock's column."""
    return [row._replace(updated_at=0) if isinstance(row, SourceProgressRow) else row for row in rows]
