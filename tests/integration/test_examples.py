"""The contract with producers, end to end: each example payload through codec, pipeline, row mapper and DDL.

Once in this process, and once through Kafka and a worker: both come to the same rows, to the last bit. One partition
is what makes that possible: of several, each believes by what it has heard of the others so far.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from deploy.local.stack import EmbeddedStack
from schemas.dead_letter import DeadLetter
from schemas.reliability import ReliabilityRecord
from schemas.rows import (
    AnnotationScoreRow,
    ClosedTaskRow,
    DeadLetterRow,
    LabelerReliabilityRow,
    ReviewRow,
    Row,
    SourceProgressRow,
    StateRow,
    TaskConfidenceRow,
)
from schemas.times import to_ms
from schemas.topics import ANNOTATIONS, DEAD_LETTERS, LABELER_EVIDENCE, REVIEWS, TOPICS
from streams.dead_letter_table import ClickHouseDeadLetterTable
from streams.dead_letters import OnError, Received, Replay
from streams.decode import Refusal, decode_annotations, decode_reviews
from streams.kafka_admin import create_topics
from streams.labelers import LabelersPipeline
from streams.outcome import Outcome
from streams.pipeline import PartitionPipeline, new_beliefs
from streams.settings import KafkaSettings, PipelineSettings, ReliabilitySettings
from streams.sinks.clickhouse import ClickHouseSink
from streams.sinks.sink import MemorySink, Sink
from streams.state.labelers import LabelersState
from streams.state.partition_state import PartitionState
from tests.builders import Message
from tests.integration.deployment import REPO, Deployment, received, until

pytestmark = pytest.mark.integration

EXAMPLES = REPO / "schemas" / "examples"
SOURCES = (ANNOTATIONS.name, REVIEWS.name)
TIMES = ("started_at", "submitted_at")
APPENDED_MS = int(time.time() * 1_000)  # after every example's own times, and not so old that a table drops it

#: Every table that SCORE fills from one message. The others have tests of their own: it takes a later message to close
#: a task (`closed_tasks`), and `labeler_reliability` is filled by LABELERS. `partition_claims` is not about input.
RESULTS = (
    "annotation_scores",
    "task_confidence",
    "confidence_outcomes",
    "reviews",
    "window_partials",
    "dead_letters",
    "source_progress",
    "state",
)


#: State of kinds that are stored as of the checkpoint, not as of the message that changed them last.
AS_OF_CHECKPOINT = ("labeler", "label_space", "confidence")


@pytest.fixture(scope="module")
def deployment(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The embedded broker: payloads do not know their broker, and the crash tests use both."""
    running = Deployment(stack.kafka_bootstrap, stack.clickhouse_url, tmp_path_factory.mktemp("workers"))
    create_topics(KafkaSettings(bootstrap=stack.kafka_bootstrap, partitions=1), topics=TOPICS)
    yield running
    running.close()


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


def new_pipeline(app_id: str, partition: int) -> PartitionPipeline:
    """One that has seen nothing, with the settings that a worker has unless it is told otherwise."""
    return PartitionPipeline(
        PartitionState(app_id, partition, PipelineSettings(), new_beliefs(ReliabilitySettings(), {})), {}
    )


async def stored(
    pipeline: PartitionPipeline, outcome: Outcome, sink: Sink, closed: Sequence[ClosedTaskRow] = ()
) -> dict[str, list[Row]]:
    """Write what checkpoints write, until nothing follows from the last one; the rows by table."""
    written: defaultdict[str, list[Row]] = defaultdict(list)
    applied = -1
    while applied < (applied := pipeline.state.journal.applied):
        changes, following = pipeline.begin_checkpoint(APPENDED_MS, pipeline.wanted_tasks(), closed)
        tables = {
            **outcome.rows,
            **changes.results,
            "source_progress": changes.progress,
            "state": [*changes.intent, *changes.state],
        }
        assert len(tables) == len(outcome.rows) + len(changes.results) + 2
        tables = {name: rows for name, rows in tables.items() if rows}
        await sink.write(tables)
        for name, rows in tables.items():
            written[name] += rows
        outcome = following
    return written


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
                pipeline = new_pipeline(f"{topic}-{number}", number)
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
    sink = await clickhouse(deployment, "worker")
    client = deployment.database("worker")
    worker = deployment.start_worker("worker", "examples")
    memory, pipeline, count = MemorySink(), new_pipeline("examples", 0), 0
    for (
        topic
    ) in SOURCES:  # reviews when the annotations are scored: where among them they are applied is up to the worker
        records = send(deployment, topic, [*verbatim(topic), *renamed(topic)])
        count += len(records)
        until(lambda: received(client) == count, f"{count} messages scored")  # noqa: B023
        await stored(pipeline, pipeline.process(topic, records), memory)
    assert worker.stop() == 0, worker.text()[-3_000:]
    assert pipeline.state.journal.applied > 0, "reviews came to something"
    try:
        for name in RESULTS:
            which = {"app_id": "examples"} if name in ("state", "source_progress") else {}
            expected, found = comparable(await memory.read(name)), comparable(await sink.read(name, **which))
            assert len(expected) > 0, name
            assert found == expected, name
    finally:
        await sink.close()
        client.close()
    assert len(memory.rows("dead_letters")) == sum(not is_valid(p) for topic in SOURCES for p in payloads(topic))


def verbatim(topic: str) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every example."""
    for path in payloads(topic):
        yield key_of(path), path.read_bytes()


def renamed(topic: str) -> Iterator[tuple[bytes, bytes]]:
    """The valid ones, each about a task of its own."""
    for path in filter(is_valid, payloads(topic)):
        payload = json.loads(path.read_bytes()) | {"task_id": path.stem}
        if topic == ANNOTATIONS.name:
            payload["event_id"] = path.stem
        yield path.stem.encode(), json.dumps(payload).encode()


def send(deployment: Deployment, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> list[Message]:
    """Produce; the records as the broker keeps them."""
    producer = KafkaProducer(bootstrap_servers=deployment.bootstrap, acks="all")
    sent = []
    for key, value in messages:
        kept = producer.send(topic, key=key, value=value).get(timeout=30)
        sent.append(Message(kept.offset, kept.timestamp, key, value))
    producer.close()
    return sent


def comparable(rows: Iterable[Row]) -> list[Row]:
    """Rows less what depends on the clock: when they were written, and between which messages a checkpoint came."""
    return [
        row._replace(updated_at=0)
        if isinstance(row, SourceProgressRow)
        else row._replace(version=0)
        if isinstance(row, StateRow) and row.kind in AS_OF_CHECKPOINT
        else row
        for row in rows
    ]


async def test_an_example_is_put_away_and_found_again_for_its_review(deployment: Deployment) -> None:
    sink = await clickhouse(deployment, "closed")
    path = EXAMPLES / ANNOTATIONS.name / "v1" / "class.json"
    verdict = EXAMPLES / REVIEWS.name / "v1" / "true_label.json"
    payload = json.loads(path.read_bytes())
    days_later = {name: str(datetime.fromisoformat(payload[name]) + timedelta(days=30)) for name in TIMES}
    later = json.dumps({**payload, **days_later, "event_id": "later", "task_id": "later"}).encode()
    pipeline = new_pipeline("closed", 0)
    try:
        records = [Message(0, APPENDED_MS, key_of(path), path.read_bytes()), Message(1, APPENDED_MS, b"later", later)]
        tables = await stored(pipeline, pipeline.process(ANNOTATIONS.name, records), sink)
        (closed,) = await sink.read("closed_tasks")
        assert [closed] == tables["closed_tasks"]
        assert isinstance(closed, ClosedTaskRow)
        assert (closed.project_id, closed.task_id) == (payload["project_id"], payload["task_id"])

        outcome = pipeline.process(REVIEWS.name, [Message(0, APPENDED_MS, key_of(verdict), verdict.read_bytes())])
        assert list(pipeline.wanted_tasks().values()) == [(closed.project_id, closed.task_id)]
        tables = await stored(pipeline, outcome, sink, [closed])
        *_, task = tables["task_confidence"]
        assert task in await sink.read("task_confidence")
        assert isinstance(task, TaskConfidenceRow)
        assert (task.task_id, task.labels, task.truth_source) == (closed.task_id, 1, "review")
        assert task.truth == json.loads(verdict.read_bytes())["true_label"]["value"]
        assert len(await sink.read("confidence_outcomes")) == 1, "now it is known whether its consensus was right"
    finally:
        await sink.close()


async def test_each_example_of_evidence_becomes_reliability(deployment: Deployment) -> None:
    sink = await clickhouse(deployment, "evidence")
    try:
        for number, path in enumerate(payloads(LABELER_EVIDENCE.name)):
            sent = json.loads(path.read_bytes())
            state = LabelersState(sent["app_id"], "labelers", number, ReliabilitySettings())
            record = Message(0, APPENDED_MS, None, path.read_bytes())
            outcome = LabelersPipeline(state).process(LABELER_EVIDENCE.name, [record])
            assert (outcome.received, outcome.accepted) == (1, 1), path.name
            changes = state.changes(APPENDED_MS)
            rows = [row for row in changes.results["labeler_reliability"] if isinstance(row, LabelerReliabilityRow)]
            await sink.write(changes.results)
            found = await sink.read("labeler_reliability")
            assert [row for row in rows if row not in found] == [], path.name
            expected = [(one["labeler_id"], one["evidence"]["form"], one["version"]) for one in sent["entries"]]
            assert [(row.labeler_id, row.form, row.version) for row in rows] == expected, path.name
            told = [ReliabilityRecord.model_validate_json(message.value or b"") for message in changes.messages]
            assert [(one.labeler_id, sorted(one.parts)) for one in told] == [
                (one["labeler_id"], [sent["source_partition"]]) for one in sent["entries"]
            ], path.name
    finally:
        await sink.close()
