"""Event-time windows: watermarks, and the partial sums that one source partition contributes to a window.

A watermark says that no earlier event is expected; it follows event time of one source partition, never a clock,
so a replay closes the same windows at the same messages. Closing only means leaving memory: what arrives after it
opens another partial of the same window, which readers add up. Nothing is ever dropped for being late.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from detectors.agreement import Coincidences, Contribution
from detectors.sketches import DistinctSketch, bucket, hash64

#: Classes counted apart in one window and segment; the rest share OTHER, so a free-for-all label set stays bounded.
MAX_HISTOGRAM_LABELS: Final = 200
OTHER: Final = "(other)"
#: Open partials per source partition; the one touched longest ago is closed early beyond it.
MAX_OPEN_PARTIALS: Final = 50_000


#: The same few labelers come again and again; tasks and events do not.
_labeler_hash = lru_cache(maxsize=65_536)(hash64)


class WindowKey(NamedTuple):
    """A window of a segment: start in ms, project, task type, vendor."""

    start_ms: int
    project_id: str
    task_type: str
    vendor_id: str


class IntervalOutcome(NamedTuple):
    """How a handling time compares with the intervals that were forecast for it."""

    covered_50: bool
    covered_90: bool
    width_90_log_micro: int
    """Log of the 90 % interval's upper over its lower bound, in units of 1e-6: an integer, so that sums are exact."""
    too_fast: bool
    too_slow: bool


class Observation(NamedTuple):
    """What one accepted annotation adds to its window. Times in microseconds are integers, so sums are exact."""

    task_id: str
    labeler_id: str
    classes: tuple[str, ...]
    handling_microseconds: int
    forecast_microseconds: int | None
    gold_correct: bool | None
    agrees: bool | None
    revision: bool
    interval: IntervalOutcome | None = None
    """None where no interval was forecast."""
    time_flagged: bool = False
    """The time is impossible, or longer than work can be."""


@dataclass(slots=True)
class Partial:
    """One source partition's share of a window: sums, sketches and the label histogram, all mergeable."""

    first_offset: int
    """The sequence number at which it was opened; part of its identity."""
    last_offset: int
    """The last sequence number that this value includes."""
    touched_ms: int
    annotations: int = 0
    revisions: int = 0
    duplicates: int = 0
    late: int = 0
    gold_seen: int = 0
    gold_right: int = 0
    consensus_seen: int = 0
    consensus_agreed: int = 0
    handling_microseconds: int = 0
    forecast_seen: int = 0
    forecast_microseconds: int = 0
    forecast_error_microseconds: int = 0
    interval_seen: int = 0
    covered_50: int = 0
    covered_90: int = 0
    width_90_log_micro: int = 0
    n_too_fast: int = 0
    n_too_slow: int = 0
    n_time_flagged: int = 0
    handling_sketch: dict[int, int] = field(default_factory=dict)
    tasks: DistinctSketch = field(default_factory=DistinctSketch)
    labelers: DistinctSketch = field(default_factory=DistinctSketch)
    label_histogram: dict[str, int] = field(default_factory=dict)
    agreement: Coincidences = field(default_factory=Coincidences)

    def correct(
        self,
        offset: int,
        *,
        gold_seen: int = 0,
        gold_right: int = 0,
        consensus_seen: int = 0,
        consensus_agreed: int = 0,
    ) -> None:
        """Revise what was counted of an annotation, now that more is known of its task. Figures may be negative.

        How long it took, and what was forecast, no truth changes.
        """
        self.last_offset = max(self.last_offset, offset)
        self.gold_seen += gold_seen
        self.gold_right += gold_right
        self.consensus_seen += consensus_seen
        self.consensus_agreed += consensus_agreed

    def agree(self, offset: int, unit: Contribution, sign: int) -> None:
        """Add, or take back, what one task's answers say of the agreement among labelers."""
        self.last_offset = max(self.last_offset, offset)
        self.agreement.add(unit, sign)

    def add_duplicate(self, offset: int) -> None:
        """Count one duplicate; an offset that is included already changes nothing."""
        if offset > self.last_offset:
            self.last_offset = offset
            self.duplicates += 1

    def add(self, seen: Observation, *, offset: int, late: bool) -> None:
        """Add one annotation; an offset that is included already changes nothing."""
        if offset <= self.last_offset:
            return
        self.last_offset = offset
        self.late += late
        self.annotations += 1
        self.revisions += seen.revision
        if seen.gold_correct is not None:
            self.gold_seen += 1
            self.gold_right += seen.gold_correct
        if seen.agrees is not None:
            self.consensus_seen += 1
            self.consensus_agreed += seen.agrees
        self.handling_microseconds += seen.handling_microseconds
        index = bucket(seen.handling_microseconds / 1e6)
        self.handling_sketch[index] = self.handling_sketch.get(index, 0) + 1
        if seen.forecast_microseconds is not None:
            self.forecast_seen += 1
            self.forecast_microseconds += seen.forecast_microseconds
            self.forecast_error_microseconds += abs(seen.handling_microseconds - seen.forecast_microseconds)
        if seen.interval is not None:
            self.interval_seen += 1
            self.covered_50 += seen.interval.covered_50
            self.covered_90 += seen.interval.covered_90
            self.width_90_log_micro += seen.interval.width_90_log_micro
            self.n_too_fast += seen.interval.too_fast
            self.n_too_slow += seen.interval.too_slow
        self.n_time_flagged += seen.time_flagged
        self.tasks.add(hash64(seen.task_id))
        self.labelers.add(_labeler_hash(seen.labeler_id))
        histogram = self.label_histogram
        for name in seen.classes:
            if name not in histogram and len(histogram) >= MAX_HISTOGRAM_LABELS:
                name = OTHER
            histogram[name] = histogram.get(name, 0) + 1


class Windows:
    """Open partials of one source partition, and its watermark.

    Args:
        width_ms: width of a window.
        out_of_order_ms: how far the watermark stays behind the latest event time.
        lateness_ms: how long (in watermark time) an untouched partial stays open.

    >>> windows = Windows(width_ms=60_000, out_of_order_ms=5_000, lateness_ms=60_000)
    >>> key = windows.key(("p", "t", "v"), event_ms=61_000)
    >>> windows.advance(61_000), windows.watermark_ms
    (None, 56000)
    >>> partial = windows.touch(key, offset=0)
    >>> [key.start_ms for key in windows.open_keys()]
    [60000]
    >>> windows.advance(200_000)
    >>> [(key.start_ms, partial.first_offset) for key, partial in windows.close()]
    [(60000, 0)]
    """

    def __init__(self, *, width_ms: int, out_of_order_ms: int, lateness_ms: int) -> None:
        self._width_ms = width_ms
        self._out_of_order_ms = out_of_order_ms
        self._lateness_ms = lateness_ms
        self._open: OrderedDict[WindowKey, Partial] = OrderedDict()
        self.watermark_ms = 0

    def __len__(self) -> int:
        return len(self._open)

    def open_keys(self) -> list[WindowKey]:
        """Keys of open partials, the one touched longest ago first."""
        return list(self._open)

    def get(self, key: WindowKey) -> Partial:
        """The open partial of that key."""
        return self._open[key]

    def advance(self, event_ms: int) -> None:
        """Move the watermark for an event seen at this event time; it never goes back."""
        self.watermark_ms = max(self.watermark_ms, event_ms - self._out_of_order_ms)

    def key(self, segment: tuple[str, str, str], event_ms: int) -> WindowKey:
        """The window that an event time falls in."""
        return WindowKey(event_ms - event_ms % self._width_ms, *segment)

    def is_late(self, key: WindowKey) -> bool:
        """Whether the watermark has passed the window's end."""
        return self.watermark_ms >= key.start_ms + self._width_ms

    def touch(self, key: WindowKey, *, offset: int) -> Partial:
        """The open partial of a window, opened if need be; it stays open while it is touched."""
        partial = self._open.get(key)
        if partial is None:
            partial = self._open[key] = Partial(offset, offset - 1, self.watermark_ms)
        else:
            self._open.move_to_end(key)
            partial.touched_ms = self.watermark_ms
        return partial

    def close(self) -> Iterator[tuple[WindowKey, Partial]]:
        """Close partials untouched for the allowed lateness, and the excess over the cap; oldest touch first."""
        while self._open:
            key, partial = next(iter(self._open.items()))
            if len(self._open) <= MAX_OPEN_PARTIALS and partial.touched_ms + self._lateness_ms > self.watermark_ms:
                return
            del self._open[key]
            yield key, partial

    def close_early(self, key: WindowKey) -> None:
        """Close a partial that can hold no more; what still comes opens another one of the same window."""
        del self._open[key]

    def restore(self, watermark_ms: int, partials: Mapping[WindowKey, Partial]) -> None:
        """Continue from stored state; partials in order of last touch."""
        self.watermark_ms = watermark_ms
        self._open = OrderedDict(partials)
