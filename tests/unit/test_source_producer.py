"""The Kafka sender's own rules, on a producer whose acknowledgements the test hands out."""

from __future__ import annotations

from typing import Any

import kafka
import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from schemas.topics import ANNOTATIONS, REVIEWS, Topic
from streams.kafka_admin import BrokerError, TopicStatus
from streams.settings import KafkaSettings
from streams.sources import producer
from streams.sources.producer import KafkaSender
from streams.sources.source import Message

SETTINGS = KafkaSettings(bootstrap="broker.example:9092")


class Future:
    def __init__(self, error: Exception | None = None, done: bool = False) -> None:
        self.error = error
        self.is_done = done
        self.waited = False

    def get(self, timeout: float) -> None:
        self.waited = True
        self.is_done = True
        if self.error is not None:
            raise self.error


class Thread:
    """The producer's sending thread."""

    def __init__(self) -> None:
        self.forced = False

    def force_close(self) -> None:
        self.forced = True

    def join(self, timeout: float) -> None:
        assert self.forced


class Producer:
    """Remembers its configuration and what was sent; ``outcomes`` says how each message fares."""

    outcomes: list[Future]

    def __init__(self, **config: Any) -> None:
        self.config = config
        self.futures: list[Future] = []
        self.closed = self._closed = self.never_done = False
        self._sender = Thread()

    def send(self, topic: str, *, key: bytes, value: bytes) -> Future:
        future = self.outcomes.pop(0) if self.outcomes else Future()
        if isinstance(future.error, MessageSizeTooLargeError):
            raise future.error
        self.futures.append(future)
        return future

    def close(self, timeout: float) -> None:
        if self.never_done or (not self._sender.forced and any(not future.is_done for future in self.futures)):
            raise KafkaTimeoutError("cannot flush")
        self.closed = True


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(settings: KafkaSettings, topics: tuple[Topic, ...]) -> list[TopicStatus]:
        return [TopicStatus(topic, "missing" if topic is REVIEWS else "exists", 4, 4, 1) for topic in topics]

    monkeypatch.setattr(Producer, "outcomes", [], raising=False)
    monkeypatch.setattr(kafka, "KafkaProducer", Producer)
    monkeypatch.setattr(producer, "describe", describe)


def message(size: int = 10, topic: str = ANNOTATIONS.name) -> Message:
    return Message(topic, b"t", b"x" * size, 0)


def futures(sender: KafkaSender) -> list[Future]:
    inner = sender._producer
    assert isinstance(inner, Producer)
    return inner.futures


def test_durable_settings() -> None:
    with KafkaSender(SETTINGS, compression="gzip") as sender:
        config = sender._producer.config
    assert sender._producer.closed
    assert config["acks"] == "all"
    assert config.get("enable_idempotence", True)
    assert config["compression_type"] == "gzip"
    assert config["allow_auto_create_topics"] is False
    assert "partitioner" not in config  # Kafka's own murmur2: the topics of a task must agree
    assert config["delivery_timeout_ms"] >= config["request_timeout_ms"] + config["linger_ms"]


def test_a_missing_topic_is_told_when_it_is_needed() -> None:
    sender = KafkaSender(SETTINGS)
    sender.send(message())
    with pytest.raises(BrokerError, match=r"topic 'reviews' .*broker\.example:9092: run `labelwatch topics create`"):
        sender.send(message(topic=REVIEWS.name))


def test_messages_count_when_they_are_acknowledged() -> None:
    sender = KafkaSender(SETTINGS)
    for _ in range(3):
        sender.send(message())
    assert sender.delivered == 0
    futures(sender)[0].is_done = True
    futures(sender)[2].is_done = True
    sender.send(message())
    assert sender.delivered == 1
    sender.flush()
    assert sender.delivered == 4


def test_too_many_messages_in_flight_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT_MESSAGES", 5)
    sender = KafkaSender(SETTINGS)
    for _ in range(8):
        sender.send(message())
    assert [future.waited for future in futures(sender)] == [True] * 3 + [False] * 5


def test_too_many_bytes_in_flight_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer, "MAX_IN_FLIGHT_BYTES", 100)
    sender = KafkaSender(SETTINGS)
    for _ in range(4):
        sender.send(message(size=49))
    assert [future.waited for future in futures(sender)] == [True, True, False, False]


@pytest.mark.parametrize("error", [KafkaTimeoutError("late"), MessageSizeTooLargeError("large")])
def test_a_failed_delivery_is_an_error_that_names_the_broker(error: Exception) -> None:
    Producer.outcomes = [Future(), Future(error, done=True), Future()]
    sender = KafkaSender(SETTINGS)
    with pytest.raises(BrokerError, match=r"broker\.example:9092"):  # noqa: PT012 - whichever of them meets it
        for _ in range(3):
            sender.send(message())
        sender.flush()
    assert sender.delivered <= 1


def test_closing_gives_up_what_cannot_be_sent() -> None:
    with KafkaSender(SETTINGS) as sender:
        sender.send(message())
    assert sender._producer._sender.forced
    assert sender._producer.closed


def test_closing_does_not_hide_the_error_before_it() -> None:
    Producer.outcomes = [Future(KafkaTimeoutError("the first"), done=True)]
    with pytest.raises(BrokerError, match="the first"), KafkaSender(SETTINGS) as sender:
        sender.send(message())


def test_what_can_never_be_sent_is_not_complained_of_when_collected() -> None:
    """kafka-python's finaliser closes what is not closed, and prints that it cannot."""
    with KafkaSender(SETTINGS) as sender:
        sender._producer.never_done = True
    assert not sender._producer.closed
    assert sender._producer._closed
