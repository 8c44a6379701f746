"""Topics on a real broker: created once, never changed, and errors that say what to do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.topics import TOPICS, Topic
from streams import kafka_admin
from streams.cli import cli
from streams.kafka_admin import BrokerError, client_options, create_topics, describe, group_lag
from streams.settings import KafkaSettings

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def renamed(request: pytest.FixtureRequest) -> Callable[[], list[Topic]]:
    """The registry under names of this test's own, so that tests share one broker."""
    return lambda: [replace(topic, name=f"{request.node.originalname}.{topic.name}") for topic in TOPICS]


def outcomes(statuses: list[kafka_admin.TopicStatus]) -> list[str]:
    return [status.outcome for status in statuses]


def test_created_then_exists(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    settings = KafkaSettings(bootstrap=broker)
    topics = renamed()
    assert outcomes(describe(settings, topics)) == ["missing"] * len(TOPICS)
    assert outcomes(create_topics(settings, topics=topics)) == ["created"] * len(TOPICS)
    again = create_topics(settings, topics=topics)
    assert outcomes(again) == ["exists"] * len(TOPICS)
    assert [status.partitions for status in again] == [topic.partitions for topic in topics]


def test_dry_run_changes_nothing(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    settings = KafkaSettings(bootstrap=broker)
    topics = renamed()
    assert outcomes(create_topics(settings, dry_run=True, topics=topics)) == ["missing"] * len(TOPICS)
    assert outcomes(describe(settings, topics)) == ["missing"] * len(TOPICS)


def test_settings_override_topics_with_state_only(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    settings = KafkaSettings(bootstrap=broker, partitions=2)
    assert [status.partitions for status in create_topics(settings, topics=renamed())] == [2, 2, 1, 2, 1, 1, 1]


def test_other_partition_count_says_what_to_do(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    topics = renamed()
    create_topics(KafkaSettings(bootstrap=broker, partitions=2), topics=topics)
    statuses = create_topics(KafkaSettings(bootstrap=broker, partitions=3), topics=topics)
    assert outcomes(statuses) == ["differs", "differs", "exists", "differs", *["exists"] * 3]
    assert "has 2 partitions, not 3" in statuses[0].advice
    assert "LABELWATCH_KAFKA__PARTITIONS=2" in statuses[0].advice
    assert statuses[2].advice == ""
    assert [status.partitions for status in statuses] == [2, 2, 1, 2, 1, 1, 1], "nothing was changed"


def test_one_missing_among_existing(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    settings = KafkaSettings(bootstrap=broker)
    topics = renamed()
    create_topics(settings, topics=topics[:2])
    assert outcomes(create_topics(settings, topics=topics)) == [*["exists"] * 2, *["created"] * 5]


def test_group_lag(broker: str, renamed: Callable[[], list[Topic]]) -> None:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    settings = KafkaSettings(bootstrap=broker, partitions=2)
    annotations = renamed()[0]
    create_topics(settings, topics=[annotations])
    producer = KafkaProducer(**client_options(settings))
    for number in range(10):
        producer.send(annotations.name, value=b"x", partition=number % 2)
    producer.flush()
    producer.close()
    group = f"{annotations.name}.group"
    names = [annotations.name, "no-such-topic"]
    assert group_lag(settings, group, names) == {(annotations.name, 0): 5, (annotations.name, 1): 5}
    consumer = KafkaConsumer(group_id=group, **client_options(settings))
    consumer.assign([TopicPartition(annotations.name, 0)])
    consumer.commit({TopicPartition(annotations.name, 0): OffsetAndMetadata(3, "", -1)})
    consumer.close()
    assert group_lag(settings, group, names) == {(annotations.name, 0): 2, (annotations.name, 1): 5}
    assert group_lag(settings, group, ["no-such-topic"]) == {}


def test_commands(broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_KAFKA__BOOTSTRAP", broker)
    monkeypatch.setenv("COLUMNS", "200")
    dry = CliRunner().invoke(cli, ["topics", "create", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert dry.output.count("would be created") == len(TOPICS)
    missing = CliRunner().invoke(cli, ["topics", "list"])
    assert "labelwatch topics create" in missing.output
    created = CliRunner().invoke(cli, ["topics", "create"])
    assert created.exit_code == 0, created.output
    assert "annotations-dlq" in created.output
    listed = CliRunner().invoke(cli, ["topics", "list"])
    assert listed.exit_code == 0, listed.output
    assert "30 days" in listed.output
    monkeypatch.setenv("LABELWATCH_KAFKA__PARTITIONS", "7")
    differs = CliRunner().invoke(cli, ["topics", "create"])
    assert differs.exit_code == 1
    assert "annotations has 4 partitions, not 7" in differs.output


def test_broker_away(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(BrokerError, match=f"{address}.*labelwatch up"):
        describe(KafkaSettings(bootstrap=address))
    with pytest.raises(BrokerError, match="localhost is not host:port"):
        describe(KafkaSettings(bootstrap="localhost"))
    monkeypatch.setenv("LABELWATCH_KAFKA__BOOTSTRAP", address)
    result = CliRunner().invoke(cli, ["topics", "list"])
    assert result.exit_code == 1
    assert address in result.output
    assert "Traceback" not in result.output


def test_security_options(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    options = client_options(
        KafkaSettings(
            security_protocol="SASL_SSL",
            sasl_username="worker",
            sasl_password_file=secret,
            ssl_cafile=tmp_path / "ca.pem",
        )
    )
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("worker", "hunter2")
    assert options["ssl_cafile"] == str(tmp_path / "ca.pem")
    assert not {"sasl_mechanism", "ssl_cafile"} & client_options(KafkaSettings()).keys()
