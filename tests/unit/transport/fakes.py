"""What stands in for aiokafka where the batch transport is tested without a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from faust.transport.drivers import TRANSPORTS
from faust.types import TP as FaustTP

from streams.batch_consumer import ConsumerThread, FetchedRecords

TRANSPORTS.aliases.setdefault("kafka-batch", "streams.transport:Transport")  # as the entry point does once installed

A = FaustTP("batches", 0)
PLAIN = FaustTP("plain", 0)


@dataclass(frozen=True)
class Record:
    offset: int
    topic: str = "batches"
    partition: int = 0
    timestamp: int = 1_700_000_000_000
    timestamp_type: int = 0
    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[()] = ()
    checksum: None = None
    serialized_key_size: int = 1
    serialized_value_size: int = 1


@dataclass
class FakeThread:
    """Stands for the consumer's thread: hands out what a test put in, remembers seeks."""

    fetches: list[FetchedRecords] = field(default_factory=list)
    seeks: dict[Any, int] = field(default_factory=lambda: {A: 0, PLAIN: 0})
    sought: list[tuple[Any, int]] = field(default_factory=list)
    end: int | None = 1_000
    committed: list[dict[Any, int]] = field(default_factory=list)
    accepts: bool = True
    rebalances: int = 1
    is_assigned: bool = True
    assigned: set[Any] = field(default_factory=lambda: {A, PLAIN})
    call_thread: Any = None

    def __post_init__(self) -> None:
        async def call(function: Any, *args: Any) -> Any:
            return function(*args)

        self.call_thread = call

    def require_assignment(self, rebalances: int) -> None:
        ConsumerThread.require_assignment(cast(Any, self), rebalances)

    async def give_back(self, records: FetchedRecords) -> None:
        await ConsumerThread.give_back(cast(Any, self), records)

    def _give_back(self, records: FetchedRecords) -> None:
        ConsumerThread._give_back(cast(Any, self), records)

    def _ensure_consumer(self) -> Any:
        return SimpleNamespace(assignment=self.assignment)

    def _seek_all(self, positions: dict[Any, int]) -> None:
        for tp, offset in positions.items():
            self.sought.append((tp, offset))
            self.seeks[tp] += 1

    def revoke(self) -> None:
        self.rebalances += 1
        self.is_assigned = False

    def assign(self) -> None:
        self.rebalances += 1
        self.is_assigned = True

    def put(self, records: dict[Any, list[Record]]) -> None:
        fetched = FetchedRecords(records)
        fetched.seeks = dict(self.seeks)
        self.fetches.append(fetched)

    async def getmany(self, *_: Any, **__: Any) -> FetchedRecords:
        return self.fetches.pop(0)

    async def seek_one(self, tp: Any, offset: int) -> None:
        self._seek_all({tp: offset})

    async def commit(self, offsets: dict[Any, int]) -> bool:
        self.committed.append(dict(offsets))
        return self.accepts

    async def resume(self, stored: Any, _: Any, rebalances: int) -> Any:
        self.require_assignment(rebalances)
        return {A: (stored.get(A, 0), None)}

    def highwater(self, _: Any) -> int | None:
        return self.end

    def assignment(self) -> set[Any]:
        return self.assigned


async def items(consumer: Any) -> list[Any]:
    return [(tp, message.value) async for tp, message in consumer.getmany(0.1)]
