"""What the batch transport hands out and what it keeps account of: record batches and acknowledged offsets.

Nothing here does I/O: the bookkeeping that decides which offset may be committed is plain data, tested alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

#: Records in one batch at most. An agent yields to the event loop between batches, so a batch must stay
#: well under the heartbeat interval: 1,000 records at 100 us each are 0.1 s.
BATCH_MAX_RECORDS = 1_000


class PositionError(RuntimeError):
    """A partition does not continue where it should: a position is unknown, or does not exist in the log."""


class TP(NamedTuple):
    """A topic's partition. Equal, and of equal hash, to Faust's ``TP`` and aiokafka's ``TopicPartition``."""

    topic: str
    partition: int


@dataclass(slots=True)
class RecordBatch:
    """Consecutive records of one partition, in offset order.

    ``records`` are aiokafka's ``ConsumerRecord``: ``offset``, ``key`` and ``value`` (bytes or None), ``timestamp``
    (milliseconds), ``headers``. Offsets may have holes (compacted topics). ``generation`` is the group
    generation in which the batch was fetched; hand it back when acknowledging.
    """

    topic: str
    partition: int
    records: Sequence[Any]
    first_offset: int
    last_offset: int
    generation: int

    @property
    def tp(self) -> TP:
        """Where the batch comes from."""
        return TP(self.topic, self.partition)

    def __len__(self) -> int:
        return len(self.records)


def batches_of(
    topic: str, partition: int, records: Sequence[Any], generation: int, max_records: int
) -> Iterator[RecordBatch]:
    """Cut one partition's fetched records into batches of at most ``max_records``; no work is done per record."""
    for start in range(0, len(records), max_records):
        part = records[start : start + max_records] if len(records) > max_records else records
        yield RecordBatch(topic, partition, part, part[0].offset, part[-1].offset, generation)


@dataclass(slots=True)
class _Owned:
    """One assigned partition. All numbers are next offsets: one past the last offset they cover."""

    generation: int
    delivered: int
    acknowledged: int | None
    committed: int | None


class Acknowledgements:
    """Which offsets of the owned partitions are acknowledged, and which of those the group has committed.

    A partition is owned from `assign` to `revoke`. What `acknowledge` accepts only grows, so what is committed
    only grows. The one that acknowledges vouches for every offset up to the one it names.

    >>> acks = Acknowledgements()
    >>> acks.assign(("t", 0), position=10, committed=10, generation=1)
    >>> acks.deliver(("t", 0), 10, 19)
    >>> acks.acknowledge(("t", 0), 14), acks.committable(("t", 0))
    (True, 15)
    >>> acks.acknowledge(("t", 1), 3), acks.ignored
    (False, 1)
    """

    __slots__ = ("_owned", "ignored")

    def __init__(self) -> None:
        self._owned: dict[tuple[str, int], _Owned] = {}
        #: Acknowledgements refused since start: partition not owned, another generation, or never delivered.
        self.ignored = 0

    def assign(self, tp: tuple[str, int], *, position: int, committed: int | None, generation: int) -> None:
        """Own ``tp``, read from ``position`` on; forget whatever was known of it.

        What is before ``position`` may be acknowledged at once: an application that resumes ahead of the group
        has it done and stored.
        """
        self._owned[tp] = _Owned(generation, position, None, committed)

    def revoke(self, tps: Collection[tuple[str, int]]) -> None:
        """Stop owning ``tps``: what is not committed now will be delivered again to the next owner."""
        for tp in tps:
            self._owned.pop(tp, None)

    def owned(self) -> Collection[tuple[str, int]]:
        """The partitions owned now."""
        return self._owned.keys()

    def deliver(self, tp: tuple[str, int], first_offset: int, last_offset: int) -> None:
        """Note that these records are handed to a stream.

        Raises PositionError where they begin before what was delivered: the log was reset under the reader.
        """
        owned = self._owned.get(tp)
        if owned is None:
            return
        if first_offset < owned.delivered:
            raise PositionError(
                f"{tp[0]}[{tp[1]}] was read up to offset {owned.delivered} and now goes on at {first_offset}: "
                "the topic was made anew or lost records. Start over with a new worker.app_id and a new "
                "clickhouse.database: docs/runbooks/start-over.md"
            )
        owned.delivered = last_offset + 1

    def rewind(self, tp: tuple[str, int], offset: int) -> None:
        """Note that ``tp`` is read from ``offset`` again."""
        owned = self._owned.get(tp)
        if owned is not None:
            owned.delivered = offset

    def acknowledge(self, tp: tuple[str, int], last_offset: int, generation: int | None = None) -> bool:
        """Vouch for everything up to and including ``last_offset``; whether that was accepted.

        Refused, and counted in `ignored`: a partition not owned, a batch of another ``generation`` (None skips
        this check), an offset this assignment has not delivered.
        """
        owned = self._owned.get(tp)
        if (
            owned is None
            or (generation is not None and generation != owned.generation)
            or last_offset >= owned.delivered
        ):
            self.ignored += 1
            return False
        if owned.acknowledged is None or last_offset >= owned.acknowledged:
            owned.acknowledged = last_offset + 1
        return True

    def committable(self, tp: tuple[str, int]) -> int | None:
        """The next offset to commit for ``tp``: one past the last acknowledged; None if that is committed."""
        owned = self._owned.get(tp)
        if owned is None or owned.acknowledged is None:
            return None
        if owned.committed is not None and owned.acknowledged <= owned.committed:
            return None
        return owned.acknowledged

    def pending(self) -> list[tuple[str, int]]:
        """Partitions with something to commit."""
        return [tp for tp in self._owned if self.committable(tp) is not None]

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Note next offsets that the broker has committed."""
        for tp, offset in offsets.items():
            owned = self._owned.get(tp)
            if owned is not None:
                owned.committed = max(owned.committed or 0, offset)
