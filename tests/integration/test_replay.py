"""Replay onto a real broker: everything arrives, keyed by task, and what cannot arrive is an error."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deploy.local.stack import EmbeddedStack
from schemas.events import AnnotationEvent, ReviewEvent
from schemas.topics import ANNOTATIONS, REVIEWS
from streams.cli import cli
from streams.kafka_admin import BrokerError, create_topics
from streams.settings import KafkaSettings
from streams.sources.json_lines import JsonLines
from streams.sources.producer import KafkaSender
from streams.sources.replay import replay
from streams.sources.source import Message

pytestmark = [
    pytest.mark.integration,
    # kafka-python reads its protocol files so; Python 3.13 took the deprecation back.
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),
]

REPO = Path(__file__).parents[2]
DEADLINE_SECONDS = 60.0


@pytest.fixture(scope="module")
def kafka(broker: str) -> KafkaSettings:
    settings = KafkaSettings(bootstrap=broker)
    create_topics(settings)
    return settings


class Reader:
    """What came to a topic since this was made."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        from kafka import KafkaConsumer, TopicPartition

        self._consumer = KafkaConsumer(
            bootstrap_servers=kafka.bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        self._partitions = [TopicPartition(topic, partition) for partition in range(4)]
        self._consumer.assign(self._partitions)
        for partition, offset in self._consumer.end_offsets(self._partitions).items():
            self._consumer.seek(partition, offset)

    def count(self) -> int:
        ends = self._consumer.end_offsets(self._partitions)
        return sum(ends[partition] - self._consumer.position(partition) for partition in self._partitions)

    def read(self) -> list[Any]:
        ends = self._consumer.end_offsets(self._partitions)
        records = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            assert time.monotonic() < deadline, "the broker does not hand out its messages"
            for batch in self._consumer.poll(500).values():
                records.extend(batch)
        return records

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def reader(kafka: KafkaSettings) -> Iterator[Callable[[str], Reader]]:
    readers: list[Reader] = []

    def make(topic: str) -> Reader:
        readers.append(Reader(kafka, topic))
        return readers[-1]

    yield make
    for one in readers:
        one.close()


def invoke(kafka: KafkaSettings, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["replay", *map(str, arguments), "--bootstrap", kafka.bootstrap])


def export(path: Path, rows: int) -> Path:
    lines = ["_unit_id,_created_at,_id,_started_at,_channel,_worker_id,answer"]
    for n in range(rows):
        clock = f"{n // 3_600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}"
        lines.append(f"u{n % 50},9/8/2016 {clock},{n},9/7/2016 23:00:00,c,w{n % 7},{'yes' if n % 3 else 'no'}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_dutch_captions_arrive_whole(kafka: KafkaSettings, reader: Callable[[str], Reader], data: Path) -> None:
    import pandas as pd

    file = data / "dutch_descriptions" / "crowdflower1-annotated-anonymized.csv.gz"
    annotations = reader(ANNOTATIONS.name)
    result = invoke(kafka, "figure-eight", file, "--project", "captions", "--task-type", "image_caption")
    assert result.exit_code == 0, result.output
    assert "sent 12,806 messages" in result.stdout
    records = annotations.read()
    events = [AnnotationEvent.model_validate_json(record.value) for record in records]
    assert len({event.event_id for event in events}) == len(events) == 12_806
    assert all(record.key.decode() == event.task_id for record, event in zip(records, events, strict=True))
    assert len({record.partition for record in records}) == 4
    expected = pd.read_csv(file, dtype=str)
    created, started = (
        pd.to_datetime(expected[column], format="%m/%d/%Y %H:%M:%S") for column in ("_created_at", "_started_at")
    )
    page = expected.groupby(["_worker_id", "_started_at", "_created_at"])["_id"].transform("size")
    total = ((created - started).dt.total_seconds() / page).sum()
    assert sum(event.handling_seconds for event in events) == pytest.approx(total, rel=1e-6)


def test_each_task_stays_in_one_partition_and_in_order(
    kafka: KafkaSettings, reader: Callable[[str], Reader], tmp_path: Path
) -> None:
    annotations = reader(ANNOTATIONS.name)
    result = invoke(
        kafka, "figure-eight", export(tmp_path / "e.csv", 2_000), "--project", "order", "--task-type", "t",
        "--compression", "gzip",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    partitions: dict[bytes, set[int]] = {}
    last: dict[bytes, str] = {}
    records = annotations.read()
    assert len(records) == 2_000
    for record in records:
        partitions.setdefault(record.key, set()).add(record.partition)
        submitted = json.loads(record.value)["submitted_at"]
        assert last.get(record.key, "") <= submitted
        last[record.key] = submitted
    assert all(len(found) == 1 for found in partitions.values())


def test_reviews_go_to_their_topic(kafka: KafkaSettings, reader: Callable[[str], Reader], tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    review = {
        "project_id": "p", "task_id": "t", "labeler_id": "l", "accepted": True, "reviewer_id": "r",
        "reviewed_at": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    path.write_text(json.dumps(review) + "\n{}\n", encoding="utf-8")
    reviews = reader(REVIEWS.name)
    report = replay(JsonLines([path]), kafka)
    assert (report.sent, report.rejected, report.by_topic) == (1, 1, {"reviews": 1})
    (record,) = reviews.read()
    assert ReviewEvent.model_validate_json(record.value).accepted is True


@contextmanager
def slow_replay(kafka: KafkaSettings, file: Path, annotations: Reader) -> Iterator[subprocess.Popen[str]]:
    """A replay in a process of its own that takes minutes, once its first messages have arrived."""
    program = (
        "from streams.cli import main; from streams.sources import producer;"
        "producer.DELIVERY_TIMEOUT_SECONDS = 3.0; main()"
    )
    options = ["--project", "slow", "--task-type", "t", "--speed", "5", "--bootstrap", kafka.bootstrap]
    process = subprocess.Popen(
        [sys.executable, "-c", program, "replay", "figure-eight", str(export(file, 600)), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPO,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while annotations.count() < 5:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "nothing was sent"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_ctrl_c_flushes_and_says_what_was_sent(
    kafka: KafkaSettings, reader: Callable[[str], Reader], tmp_path: Path
) -> None:
    annotations = reader(ANNOTATIONS.name)
    with slow_replay(kafka, tmp_path / "e.csv", annotations) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, err
    assert "interrupted" in err
    arrived = annotations.count()
    assert 5 <= arrived < 600
    assert f"sent {arrived} messages" in out


def test_a_broker_that_goes_away_ends_the_replay(tmp_path: Path) -> None:
    stack = EmbeddedStack(tmp_path / "stack", kafka_port=0, clickhouse_port=0)
    stack.start()
    try:
        kafka = KafkaSettings(bootstrap=stack.kafka_bootstrap)
        create_topics(kafka)
        annotations = Reader(kafka, ANNOTATIONS.name)
        with slow_replay(kafka, tmp_path / "e.csv", annotations) as process:
            annotations.close()
            stack.stop()
            _, err = process.communicate(timeout=DEADLINE_SECONDS)
    finally:
        stack.stop()
    assert process.returncode == 1
    assert f"sending messages: no Kafka broker answers at {kafka.bootstrap}" in err.replace("\n", " ")
    assert "messages had arrived" in err
    assert "Traceback" not in err


def test_topics_that_do_not_exist(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path / "stack", kafka_port=0, clickhouse_port=0) as stack:
        result = invoke(
            KafkaSettings(bootstrap=stack.kafka_bootstrap),
            "figure-eight", export(tmp_path / "e.csv", 100), "--project", "p", "--task-type", "t",
        )  # fmt: skip
        assert f"topic 'annotations' does not exist on the broker at {stack.kafka_bootstrap}" in result.stderr
    assert result.exit_code == 1
    assert "labelwatch topics create" in result.stderr


def test_a_message_over_the_brokers_limit_is_an_error(kafka: KafkaSettings) -> None:
    with KafkaSender(kafka) as sender, pytest.raises(BrokerError, match=kafka.bootstrap):
        sender.send(Message(ANNOTATIONS.name, b"k", b"x" * 2_000_000, 0))
