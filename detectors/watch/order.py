"""What all source partitions say, in the order in which it happened.

Each source partition is read in its own order, but not at one pace: after an outage, or in a replay, one may be hours
of event time ahead of another, and detectors would see its fall among the others' past. So what a source says waits
until no other source is behind it that still has something to read. Sources that are read to their ends hold nobody up,
so live there is nothing to wait for; nor do those that have not been heard of for a while: their worker may be gone.

The order depends on the messages alone.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, NamedTuple

from schemas.measurements import Answer, LateTruth, Measurements, Refused, ReviewMeasured, Settled

Item = Answer | LateTruth | ReviewMeasured | Settled | Refused

#: A source that others have not heard of for so long, by the senders' clocks, holds them up no more. SCORE sends at
#: every checkpoint, and heartbeats in between.
SILENT_MS: Final = 30_000
#: Items that wait at most; beyond it the earliest ones go on.
MOST_HELD: Final = 500_000


class Element(NamedTuple):
    """One item of a batch, or None for what the batch says besides, which comes after its items."""

    at_ms: int
    """The latest event time that the source had said by then."""
    number: int
    """Of the message."""
    batch: Measurements
    item: Item | None


@dataclass(slots=True)
class _Source:
    at_ms: int = 0
    """The latest event time that was said."""
    sent_ms: int = 0
    is_at_end: bool = False
    gone_sequence: int = -1
    """Of the latest item that went on; and its element's time, and the latest message that went on wholly."""
    gone_ms: int = 0
    gone_number: int = -1
    waiting: deque[Element] = field(default_factory=deque)
    said_sequence: int = -1
    """As ``gone_...``, of the latest that waits."""
    said_ms: int = 0


class EventOrder:
    """Puts batches of several sources in one order.

    >>> def say(source, second, *, at_end):
    ...     answer = Answer(second, 0, "ann", 1_000 * second, "cat", *(False,) * 3, *(None,) * 8, 0, 0)
    ...     return Measurements(app_id="a", source_partition=source, sent_ms=0, arrived_ms=0, is_at_end=at_end,
    ...         is_idle=False, watermark_ms=0, segments=(("p", "t", "v"),), answers=(answer,))
    >>> order, told = EventOrder(), []
    >>> for source, second, at_end in [(0, 5, False), (1, 2, False), (0, 6, True), (1, 9, True)]:
    ...     order.put(say(source, second, at_end=at_end))
    ...     told.append([one.item.sequence for one in order.take() if one.item])
    >>> told
    [[5], [2], [], [6, 9]]
    """

    def __init__(self) -> None:
        self._sources: dict[int, _Source] = {}
        self._held = 0
        self._now_ms = 0
        """The latest of the senders' clocks."""
        self._number = -1
        """Of the latest message."""

    @property
    def oldest(self) -> int | None:
        """Number of the first message of which something waits; None if nothing does."""
        return min((source.waiting[0].number for source in self._sources.values() if source.waiting), default=None)

    def put(self, batch: Measurements, number: int | None = None) -> None:
        """Take a batch; nothing of what was said before.

        Args:
            batch: what a source says.
            number: of the message; they grow. After `load`, those from `oldest` on come again. None: the next one.
        """
        number = self._number + 1 if number is None else number
        source = self._sources.setdefault(batch.source_partition, _Source())
        said = source.said_sequence
        for item in _in_order(batch):
            if item.sequence <= said:
                continue
            source.said_sequence = item.sequence
            if isinstance(item, Answer) and item.submitted_ms > source.said_ms:
                source.said_ms = item.submitted_ms
            self._wait(source, Element(source.said_ms, number, batch, item))
        if number > source.gone_number:
            self._wait(source, Element(source.said_ms, number, batch, None))
        if number > self._number:  # else it comes again, and what it says of its source is old
            self._number = number
            source.at_ms = max(source.at_ms, source.said_ms)
            source.is_at_end, source.sent_ms = batch.is_at_end, batch.sent_ms
            self._now_ms = max(self._now_ms, batch.sent_ms)

    def take(self) -> Iterator[Element]:
        """What need not wait any more, in order."""
        behind = (one.at_ms for one in self._sources.values() if not one.is_at_end and not self._is_silent(one))
        horizon_ms = min(behind, default=None)
        heads = [(one.waiting[0].at_ms, partition) for partition, one in self._sources.items() if one.waiting]
        heapq.heapify(heads)
        while heads:
            at_ms, partition = heads[0]
            if horizon_ms is not None and at_ms > horizon_ms and self._held <= MOST_HELD:
                return
            source = self._sources[partition]
            element = source.waiting.popleft()
            self._held -= 1
            source.gone_ms = element.at_ms
            if element.item is None:
                source.gone_number = element.number
            else:
                source.gone_sequence = element.item.sequence
            yield element
            if source.waiting:
                heapq.heapreplace(heads, (source.waiting[0].at_ms, partition))
            else:
                heapq.heappop(heads)

    def dump(self) -> list[Any]:
        """As plain values, without what waits: that is read again, from `oldest` on."""
        sources = [
            [partition, one.at_ms, one.sent_ms, one.is_at_end, one.gone_sequence, one.gone_ms, one.gone_number]
            for partition, one in self._sources.items()
        ]
        return [self._now_ms, self._number, sources]

    def load(self, state: list[Any]) -> None:
        """The inverse."""
        self._now_ms, self._number, sources = state
        self._sources = {partition: _Source(*one) for partition, *one in sources}
        for source in self._sources.values():
            source.said_sequence, source.said_ms = source.gone_sequence, source.gone_ms

    def _wait(self, source: _Source, element: Element) -> None:
        source.waiting.append(element)
        self._held += 1

    def _is_silent(self, source: _Source) -> bool:
        return self._now_ms - source.sent_ms > SILENT_MS


def _in_order(batch: Measurements) -> tuple[Item, ...] | list[Item]:
    """Items in the order of their numbers."""
    others = (batch.truths, batch.reviews, batch.settled, batch.refused)
    if not any(others):
        return batch.answers
    return sorted(chain(batch.answers, *others), key=lambda item: item.sequence)
