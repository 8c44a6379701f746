"""The dead-letter topic on Kafka, for one replay."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

from schemas.topics import DEAD_LETTERS
from streams.dead_letters import Received
from streams.kafka_admin import BrokerError, broker_errors, client_options, end_offsets, require_broker
from streams.settings import KafkaSettings

if TYPE_CHECKING:
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

_POLL_MS: Final = 200
_BATCH_MESSAGES: Final = 500
#: No message for so long, although some are there: the broker is in trouble.
_SILENCE_SECONDS: Final = 30.0


class KafkaDeadLetterTopic:
    """Reads as ``group`` from its committed position; partitions are assigned by hand, so that it starts at once.

    Two replays at the same time would both send what they read; the workers drop the second by its ``event_id``.

    Use as a context manager. All methods raise ``BrokerError`` when the broker is away or refuses.
    """

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._consumer: KafkaConsumer | None = None
        self._producer: KafkaProducer | None = None
        self._sent: list[Any] = []
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}

    def __enter__(self) -> Self:
        require_broker(self._settings, "reading dead letters")
        from kafka import KafkaConsumer, TopicPartition

        with self._errors("reading dead letters"):
            self._consumer = consumer = KafkaConsumer(
                **client_options(self._settings),
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",  # messages before the oldest have expired
                max_poll_records=_BATCH_MESSAGES,
                allow_auto_create_topics=False,
            )
            numbers = consumer.partitions_for_topic(DEAD_LETTERS.name)
            if not numbers:
                self.close()
                raise BrokerError(
                    f"there is no topic {DEAD_LETTERS.name} at {self._settings.bootstrap}. "
                    "Create it with `labelwatch topics create`"
                )
            partitions = [TopicPartition(DEAD_LETTERS.name, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            self._ends = end_offsets(self._settings, partitions)
            first = consumer.beginning_offsets(partitions)
            for partition in partitions:
                self._starts[partition] = max(consumer.committed(partition) or 0, first[partition])
                consumer.seek(partition, self._starts[partition])
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave; what was sent and not flushed may or may not arrive."""
        for client in (self._consumer, self._producer):
            if client is not None:
                client.close()
        self._consumer = self._producer = None

    @property
    def pending(self) -> int:
        """Messages between the committed position and the end."""
        return sum(max(0, end - self._starts[partition]) for partition, end in self._ends.items())

    def batches(self) -> Iterator[Sequence[Received]]:
        consumer = self._consumer
        assert consumer is not None, "use as a context manager"
        heard = time.monotonic()
        while any(consumer.position(partition) < end for partition, end in self._ends.items()):
            with self._errors("reading dead letters"):
                polled = consumer.poll(_POLL_MS)
            batch = [
                Received(record.partition, record.offset, record.key, record.value or b"")
                for partition, records in polled.items()
                for record in records
                if record.offset < self._ends[partition]
            ]
            if batch:
                yield batch
                heard = time.monotonic()
            elif not polled and time.monotonic() - heard > _SILENCE_SECONDS:
                raise BrokerError(f"no dead letters from {self._settings.bootstrap} for {_SILENCE_SECONDS:.0f} s")

    def send(self, topic: str, partition: int | None, key: bytes | None, value: bytes) -> None:
        if self._producer is None:
            from kafka import KafkaProducer

            with self._errors("replaying"):
                self._producer = KafkaProducer(
                    **client_options(self._settings), acks="all", linger_ms=20, allow_auto_create_topics=False
                )
        with self._errors(f"sending to {topic}"):
            if partition is not None and partition not in (self._producer.partitions_for(topic) or ()):
                partition = None  # the topic has fewer partitions now
            self._sent.append(self._producer.send(topic, value=value, key=key, partition=partition))

    def flush(self) -> None:
        if self._producer is None:
            return
        with self._errors("replaying"):
            self._producer.flush(timeout=_SILENCE_SECONDS)
            for sent in self._sent:
                sent.get(timeout=_SILENCE_SECONDS)  # raises what went wrong with it
        self._sent.clear()

    def commit(self, positions: Mapping[int, int]) -> None:
        from kafka import TopicPartition
        from kafka.structs import OffsetAndMetadata

        assert self._consumer is not None, "use as a context manager"
        moved = {TopicPartition(DEAD_LETTERS.name, number): offset for number, offset in positions.items()}
        # Never back: a position before the start would be one that another replay has committed since.
        ahead = {tp: OffsetAndMetadata(offset, "", -1) for tp, offset in moved.items() if offset > self._starts[tp]}
        if ahead:
            with self._errors("committing the position"):
                self._consumer.commit(ahead)

    def _errors(self, doing: str) -> Any:
        return broker_errors(self._settings, doing)
