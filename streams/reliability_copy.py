"""Every worker's copy of `labeler-reliability`: the latest record of every labeler, read from the topic's beginning.

A plain consumer without a group reads all partitions. The copy is an image of the topic and nothing else: it is not
stored, and a worker that starts reads it again. Keys that a broker has not compacted yet are read in their order, so
that the latest counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from detectors.consensus import LabelSpace, shared
from detectors.evidence import Evidence
from schemas.reliability import ReliabilityRecord
from schemas.topics import LABELER_RELIABILITY
from streams.kafka_admin import async_client_options
from streams.metrics import METRICS
from streams.settings import KafkaSettings
from streams.sinks.retry import Backoff

log = structlog.get_logger()

Hear = Callable[[LabelSpace, str, Mapping[int, Evidence]], None]
"""Told of a labeler in a label space: the evidence of every source partition."""

#: A fetch that finds nothing returns after this, well below the age that the copy may have.
_POLL_MS: Final = 500
#: Records handled between two turns of the event loop: about 30 ms.
_CHUNK: Final = 500


class Heard(NamedTuple):
    """A record that can be used."""

    space: LabelSpace
    labeler_id: str
    parts: Mapping[int, Evidence]
    as_of: datetime
    version: int
    """Sum of the parts' versions."""


class _Known(NamedTuple):
    as_of: datetime
    version: int
    value: bytes


class ReliabilityCopy:
    """Latest records of one application's labelers.

    Args:
        app_id: other applications' records are passed over.
        now_ms: the wall clock, for the copy's age.
    """

    def __init__(self, app_id: str, now_ms: Callable[[], int]) -> None:
        self._app_id = app_id
        self._now_ms = now_ms
        self._known: dict[bytes, _Known] = {}
        """By key. Values stay bytes: parsed, they take several times as much memory."""
        self._answered_ms = now_ms()
        self._restored = asyncio.Event()
        self.on_record: Hear = lambda space, labeler_id, parts: None
        """Told of every record that is news."""

    def __len__(self) -> int:
        return len(self._known)

    @property
    def age_seconds(self) -> float:
        """Time since the broker last answered for every partition."""
        return max(0.0, (self._now_ms() - self._answered_ms) / 1_000)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Keep one record if it is this application's and no older than what is known, and pass it on."""
        try:
            if key is None:
                raise ValueError("record has no key")
            if orjson.loads(key)[0] != self._app_id:
                return
            if not value:  # forgotten by LABELERS
                self._known.pop(key, None)
                return
            heard = parse_record(key, value)
        except (ValueError, TypeError, IndexError, KeyError, RecursionError) as error:
            METRICS.reliability_copy_skipped.inc()
            log.warning("reliability_copy.skipped", key=repr(key)[:200], error=str(error)[:300])
            return
        new = _Known(heard.as_of, heard.version, value)
        known = self._known.get(key)
        # A worker that was suspended may send what is out of date before it learns that it owns nothing any more.
        if known is not None and new[:2] < known[:2]:
            return
        self._known[key] = new
        self.on_record(*heard[:3])

    async def tell(self, hear: Hear) -> None:
        """Pass all that is known to a listener that is new. What comes meanwhile, it must hear by `on_record`."""
        for number, key in enumerate(list(self._known), 1):
            known = self._known.get(key)
            if known is not None:
                hear(*parse_record(key, known.value)[:3])
            if number % _CHUNK == 0:
                await asyncio.sleep(0)

    async def restored(self, timeout_seconds: float) -> bool:
        """Wait until everything that was in the topic at the start has been read; False if that takes too long."""
        try:
            await asyncio.wait_for(self._restored.wait(), timeout_seconds)
        except TimeoutError:
            log.warning("reliability_copy.incomplete", records=len(self), waited_seconds=timeout_seconds)
            return False
        log.info("reliability_copy.restored", records=len(self))
        return True

    def report(self, _now: float) -> None:
        """Show size and age."""
        METRICS.reliability_copy_records.set(len(self))
        METRICS.reliability_copy_age_seconds.set(self.age_seconds)

    async def run(self, kafka: KafkaSettings, retry_max_seconds: float) -> None:
        """Read until cancelled. While the broker is away, the copy grows old and everything else goes on."""
        attempt, backoff = 0, Backoff(max_seconds=retry_max_seconds)
        while True:
            consumer = AIOKafkaConsumer(
                LABELER_RELIABILITY.name,
                group_id=None,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                **async_client_options(kafka),
            )
            try:
                await consumer.start()
                attempt = 0
                await self._read(consumer)
            except (KafkaError, OSError) as error:
                attempt += 1
                log.warning("reliability_copy.retry", attempt=attempt, error=f"{type(error).__name__}: {error}")
            finally:
                await consumer.stop()
            await asyncio.sleep(backoff.pause(attempt, 1.0))

    async def _read(self, consumer: Any) -> None:
        ends = await consumer.end_offsets(consumer.assignment())
        while True:
            fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_CHUNK)
            for records in fetched.values():
                for record in records:
                    self.take(record.key, record.value)
            answered = [consumer.last_poll_timestamp(partition) for partition in consumer.assignment()]
            if answered and None not in answered:
                self._answered_ms = min(answered)
            if ends is not None and all([await consumer.position(p) >= end for p, end in ends.items()]):
                self._restored.set()
                ends = None
            await asyncio.sleep(0)


def parse_record(key: bytes, value: bytes) -> Heard:
    """A record of the topic.

    Raises:
        ValueError: it cannot be read, or is not of that key.
    """
    try:
        record = ReliabilityRecord.model_validate(orjson.loads(value))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:64] for part in problem["loc"]) or "record"
        raise ValueError(f"{where}: {problem['msg']}") from None
    if orjson.loads(key) != [record.app_id, record.project_id, record.task_type, record.labeler_id]:
        raise ValueError("key and record name different labelers")
    parts = {partition: Evidence.from_plain(part.evidence) for partition, part in record.parts.items()}
    version = sum(part.version for part in record.parts.values())
    space = LabelSpace(shared(record.project_id), shared(record.task_type))
    return Heard(space, shared(record.labeler_id), parts, record.as_of, version)
