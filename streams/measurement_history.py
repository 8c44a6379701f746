"""Measurements as they were stored, in the order in which WATCH read them: in ClickHouse, or on the topic.

Both give every rules message, and of the measurements everything from the first message on that has an answer at or
after some event time. Duplicates of a message are left out.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from schemas.measurements import Measurements, RulesChange
from schemas.topics import MEASUREMENTS
from streams.decode import Refusal
from streams.kafka_admin import BrokerError, broker_errors, client_options, end_offsets, require_broker
from streams.settings import ClickHouseSettings, KafkaSettings
from streams.watch import decode_measurement

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

#: Answers and messages that are held at a time. Offsets are looked up in blocks.
_MOST_ANSWERS: Final = 100_000
_MOST_MESSAGES: Final = 10_000
_BLOCK: Final = 250
_POLL_MS: Final = 200
#: No message for so long, although some are there: the broker is in trouble.
_SILENCE_SECONDS: Final = 30.0


class HistoryError(Exception):
    """The history cannot be read; the message says which address was tried, and what to do."""


class Read(NamedTuple):
    """A message, and the share of the history that was read by now."""

    message: Measurements | RulesChange
    share: float


class History(Protocol):
    """Where measurements were stored."""

    @property
    def name(self) -> str:
        """Where that is, as a person is told."""
        ...

    @property
    def latest_ms(self) -> int:
        """After reading: event time of the latest answer that was seen there; 0 if there is none."""
        ...

    def read(self, from_ms: int) -> Generator[Read]:
        """Messages in order, as the module says.

        Raises:
            HistoryError: it cannot be reached, or breaks off.
        """
        ...


class _Chunk(NamedTuple):
    """Offsets that are read at a time, and between which arrivals they are: the table is sorted by these."""

    first: int
    behind: int
    from_ms: int
    to_ms: int
    messages: int


_START: Final = """
SELECT
    minIf(source_offset, answers > 0 AND last_at >= fromUnixTimestamp64Milli({from_ms:Int64})),
    countIf(answers > 0 AND last_at >= fromUnixTimestamp64Milli({from_ms:Int64})),
    toUnixTimestamp64Milli(max(last_at))
FROM measurements
WHERE app_id = {app_id:String}
"""
#: Workers' clocks stamp arrivals, so that these are not quite in the order of offsets.
_BLOCKS: Final = f"""
SELECT
    intDiv(source_offset, {_BLOCK}) AS block,
    toUnixTimestamp64Milli(min(arrived_at)),
    toUnixTimestamp64Milli(max(arrived_at)),
    count(),
    sum(answers)
FROM measurements
WHERE app_id = {{app_id:String}} AND source_offset >= {{start:UInt64}}
GROUP BY block
ORDER BY block
"""  # noqa: S608  # made of constants
_RULES: Final = """
SELECT payload
FROM measurements
WHERE app_id = {app_id:String} AND kind = 'rules' AND source_offset < {start:UInt64}
ORDER BY source_offset
LIMIT 1 BY source_offset
"""
_PAYLOADS: Final = """
SELECT payload
FROM measurements
WHERE app_id = {app_id:String}
    AND arrived_at >= fromUnixTimestamp64Milli({from_ms:Int64})
    AND arrived_at <= fromUnixTimestamp64Milli({to_ms:Int64})
    AND source_offset >= {first:UInt64}
    AND source_offset < {behind:UInt64}
ORDER BY source_offset
LIMIT 1 BY source_offset
"""


class ClickHouseHistory:
    """The table ``measurements``. What is held at a time is bounded."""

    def __init__(self, settings: ClickHouseSettings, app_id: str) -> None:
        self.latest_ms = 0
        self._settings = settings
        self._app_id = app_id

    @property
    def name(self) -> str:
        return f"table measurements of ClickHouse at {self._settings.url}"

    def read(self, from_ms: int) -> Generator[Read]:
        with _client(self._settings) as client:
            ((start, count, latest),) = self._rows(client, _START, from_ms=from_ms)
            self.latest_ms = int(latest)
            if not count:
                return
            for (payload,) in self._rows(client, _RULES, start=start):
                yield Read(_decoded(payload), 0.0)
            chunks = list(_chunks(self._rows(client, _BLOCKS, start=start), int(start)))
            total, done = sum(chunk.messages for chunk in chunks), 0
            for first, behind, arrived_from_ms, to_ms, messages in chunks:
                rows = self._rows(client, _PAYLOADS, first=first, behind=behind, from_ms=arrived_from_ms, to_ms=to_ms)
                for number, (payload,) in enumerate(rows):
                    yield Read(_decoded(payload), (done + number) / total)
                done += messages

    def _rows(self, client: Client, sql: str, **parameters: int) -> list[tuple[Any, ...]]:
        result = client.query(sql, parameters={"app_id": self._app_id, **parameters})
        return [tuple(row) for row in result.result_rows]


class KafkaHistory:
    """The topic, as far back as the broker keeps it. Nothing is committed: workers are not disturbed."""

    def __init__(self, settings: KafkaSettings, app_id: str) -> None:
        self.latest_ms = 0
        self._settings = settings
        self._app_id = app_id

    @property
    def name(self) -> str:
        return f"topic {MEASUREMENTS.name} of Kafka at {self._settings.bootstrap}"

    def read(self, from_ms: int) -> Generator[Read]:
        try:
            yield from self._read(from_ms)
        except BrokerError as error:
            raise HistoryError(str(error)) from error

    def _read(self, from_ms: int) -> Generator[Read]:
        has_begun = False
        for value, share in self._values():
            message = decode_measurement(value)
            if isinstance(message, Refusal) or message.app_id != self._app_id:
                continue  # WATCH passes over it, too
            if isinstance(message, Measurements):
                latest_ms = max((answer.submitted_ms for answer in message.answers), default=0)
                self.latest_ms = max(self.latest_ms, latest_ms)
                has_begun = has_begun or (bool(message.answers) and latest_ms >= from_ms)
                if not has_begun:
                    continue
            yield Read(message, share)

    def _values(self) -> Generator[tuple[bytes | None, float]]:
        doing = "reading measurements"
        require_broker(self._settings, doing)
        from kafka import KafkaConsumer, TopicPartition

        partition = TopicPartition(MEASUREMENTS.name, 0)
        with broker_errors(self._settings, doing):
            consumer = KafkaConsumer(
                **client_options(self._settings), enable_auto_commit=False, allow_auto_create_topics=False
            )
        try:
            with broker_errors(self._settings, doing):
                if not consumer.partitions_for_topic(MEASUREMENTS.name):
                    raise BrokerError(
                        f"there is no topic {MEASUREMENTS.name} at {self._settings.bootstrap}. "
                        "Create it with `labelwatch topics create`"
                    )
                consumer.assign([partition])
                end = end_offsets(self._settings, [partition])[partition]
                first = consumer.beginning_offsets([partition])[partition]
                consumer.seek(partition, first)
            heard = time.monotonic()
            while consumer.position(partition) < end:
                with broker_errors(self._settings, doing):
                    polled = consumer.poll(_POLL_MS)
                for records in polled.values():
                    for record in records:
                        if record.offset < end:
                            yield record.value, (record.offset - first) / (end - first)
                    heard = time.monotonic()
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise BrokerError(f"no measurements from {self._settings.bootstrap} for {_SILENCE_SECONDS:.0f} s")
        finally:
            consumer.close()


def _chunks(blocks: list[tuple[Any, ...]], start: int) -> Iterator[_Chunk]:
    """Neighbouring blocks together, until they are as much as is to be held at a time."""
    held: list[tuple[int, ...]] = []
    messages = answers = 0
    for row in blocks:
        held.append(tuple(map(int, row)))
        messages, answers = messages + held[-1][3], answers + held[-1][4]
        if messages >= _MOST_MESSAGES or answers >= _MOST_ANSWERS:
            yield _joined(held, start)
            held, messages, answers = [], 0, 0
    if held:
        yield _joined(held, start)


def _joined(blocks: list[tuple[int, ...]], start: int) -> _Chunk:
    return _Chunk(
        first=max(blocks[0][0] * _BLOCK, start),
        behind=(blocks[-1][0] + 1) * _BLOCK,
        from_ms=min(block[1] for block in blocks),
        to_ms=max(block[2] for block in blocks),
        messages=sum(block[3] for block in blocks),
    )


def _decoded(payload: str) -> Measurements | RulesChange:
    message = decode_measurement(payload.encode())
    if isinstance(message, Refusal):  # a later version of labelwatch wrote it
        raise HistoryError(f"a stored message cannot be read: {message.detail}. Use the labelwatch that wrote it")
    return message


@contextmanager
def _client(settings: ClickHouseSettings) -> Iterator[Client]:
    from streams.sinks.session import ClickHouseUnusableError, session

    try:
        with session(settings) as client:
            yield client
    except ClickHouseUnusableError as error:
        raise HistoryError(str(error)) from error
