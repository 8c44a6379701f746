"""Messages to Kafka: acknowledged by all replicas, at most so many in flight, and no failed delivery passes unseen."""

from __future__ import annotations

import contextlib
from collections import deque
from types import TracebackType
from typing import Any, Protocol, Self

from schemas.topics import ANNOTATIONS, REVIEWS
from streams.kafka_admin import BrokerError, broker_errors, client_options, describe
from streams.settings import KafkaSettings
from streams.sources.source import Message

#: Bounds of what was sent and is not yet acknowledged: the producer itself has none, and would buffer a whole file.
MAX_IN_FLIGHT_MESSAGES = 20_000
MAX_IN_FLIGHT_BYTES = 32 * 1_048_576
#: A broker that has been away for so long ends the replay.
DELIVERY_TIMEOUT_SECONDS = 30.0


class Sender(Protocol):
    """Where a replay's messages go."""

    def send(self, message: Message) -> None:
        """Take the message; may wait while too many are on their way."""
        ...

    def flush(self) -> None:
        """Wait until all that was taken has arrived."""
        ...

    @property
    def delivered(self) -> int:
        """Messages known to have arrived."""
        ...


class KafkaSender:
    """Sends through kafka-python: ``acks=all``, idempotent, keyed, partitioned by murmur2 of the key as Kafka does.

    Raises (all methods):
        BrokerError: the broker is away, a topic is missing, or a message was refused; says what to do.
    """

    def __init__(
        self, kafka: KafkaSettings, *, compression: str | None = None, linger_ms: int = 20, batch_bytes: int = 131_072
    ) -> None:
        self._kafka = kafka
        self._doing = "sending messages"
        # Asked of the admin API: naming a topic to a producer creates it on brokers that allow that.
        self._missing = {
            status.topic.name for status in describe(kafka, (ANNOTATIONS, REVIEWS)) if status.outcome == "missing"
        }
        from kafka import KafkaProducer  # slow to import, and --help should not wait for it

        with broker_errors(kafka, self._doing):
            # Idempotence is the library's default, and given up by it only where the broker is too old for it.
            self._producer = KafkaProducer(
                **client_options(kafka),
                acks="all",
                linger_ms=linger_ms,
                batch_size=batch_bytes,
                compression_type=compression,
                delivery_timeout_ms=int(DELIVERY_TIMEOUT_SECONDS * 1_000),
                request_timeout_ms=int(DELIVERY_TIMEOUT_SECONDS * 1_000) - linger_ms - 1_000,
                max_block_ms=int(DELIVERY_TIMEOUT_SECONDS * 1_000),
                allow_auto_create_topics=False,
            )
        self._in_flight: deque[tuple[Any, int]] = deque()
        self._in_flight_bytes = 0
        self._delivered = 0

    @property
    def delivered(self) -> int:
        """Messages that the broker has acknowledged, in the order in which they were sent."""
        return self._delivered

    def send(self, message: Message) -> None:
        """Queue the message; waits for the oldest ones while too many are unacknowledged."""
        if message.topic in self._missing:
            raise BrokerError(
                f"topic {message.topic!r} does not exist on the broker at {self._kafka.bootstrap}: "
                "run `labelwatch topics create`"
            )
        with broker_errors(self._kafka, self._doing):
            future = self._producer.send(message.topic, key=message.key, value=message.value)
            size = len(message.key) + len(message.value)
            self._in_flight.append((future, size))
            self._in_flight_bytes += size
            while self._in_flight and (self._in_flight[0][0].is_done or self._is_full()):
                self._settle_oldest()

    def flush(self) -> None:
        """Wait until everything sent is acknowledged."""
        with broker_errors(self._kafka, self._doing):
            while self._in_flight:
                self._settle_oldest()

    def close(self) -> None:
        """Let go of the connection, without waiting for what is unacknowledged."""
        from kafka.errors import KafkaError

        try:
            self._producer.close(timeout=1)
        except KafkaError:
            # It flushes first, and where it cannot it stays open with its thread, and complains when collected.
            # There is no public way to give up what is pending. What flush() did not settle was reported already.
            self._producer._sender.force_close()
            self._producer._sender.join(5)
            with contextlib.suppress(KafkaError):
                self._producer.close(timeout=1)
            # Ctrl-C in the middle of a send leaves a batch that no thread will ever complete.
            self._producer._closed = True

    def _is_full(self) -> bool:
        return len(self._in_flight) > MAX_IN_FLIGHT_MESSAGES or self._in_flight_bytes > MAX_IN_FLIGHT_BYTES

    def _settle_oldest(self) -> None:
        future, size = self._in_flight[0]
        future.get(timeout=DELIVERY_TIMEOUT_SECONDS + 5)
        self._in_flight.popleft()
        self._in_flight_bytes -= size
        self._delivered += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DrySender:
    """Sends nothing: counts, and keeps the first few messages to show."""

    def __init__(self, show: int = 3) -> None:
        self.first: list[Message] = []
        self._show = show
        self._taken = 0

    @property
    def delivered(self) -> int:
        """Messages taken."""
        return self._taken

    def send(self, message: Message) -> None:
        """Count it."""
        if len(self.first) < self._show:
            self.first.append(message)
        self._taken += 1

    def flush(self) -> None:
        """Nothing to wait for."""
