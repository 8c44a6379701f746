"""How long the work of one queue takes, whoever does it, and how far labelers and vendors differ there."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from detectors.arithmetic import clipped
from detectors.handling_time import Queue
from detectors.time_grain import TimeGrain

#: Queues and vendors remembered per model; the one idle longest is forgotten beyond it.
MAX_KEPT: Final = 300
#: Weight of the newest answer in a queue's level, and of the newest page in its drift.
LEVEL_SHARE: Final = 0.001
DRIFT_SHARE: Final = 0.05
#: What an annotation is believed to take before anything was seen (seconds, as a logarithm).
FIRST_LEVEL: Final = math.log(30.0)
#: Variances of log-seconds believed at first, within and between labelers, and the pages that is worth.
FIRST_WITHIN: Final = 0.25
FIRST_BETWEEN: Final = 0.15
FIRST_PAGES: Final = 5.0
#: Pages of a labeler worth as much as what is known of the others lie between these.
LEAST_ALIKE: Final = 0.1
MOST_ALIKE: Final = 20.0
#: Labelers' worth of the belief that a vendor's labelers are like the others.
VENDOR_ALIKE: Final = 20.0
_PAGE_SHARE: Final = 0.05


class QueueLevel:
    """One queue: level and drift of its log-seconds, how many rows its pages have, what its times are counted in."""

    __slots__ = ("drift", "grain", "learned", "level", "log_rows")

    def __init__(
        self, level: float, learned: int = 0, drift: float = 0.0, log_rows: float = 0.0, grain: Iterable[int] = ()
    ) -> None:
        self.level = level
        self.learned = learned
        self.drift = drift
        """Decayed mean by which pages lately took longer than level and labeler explain."""
        self.log_rows = log_rows
        """Logarithm of the rows of a page, where times are a page's and nobody has divided them."""
        self.grain = TimeGrain(*grain)

    def learn(self, log_seconds: float) -> None:
        """Take one answer into account."""
        self.learned += 1
        share = 1.0 / (self.learned + 1.0)
        self.level += (log_seconds - self.level) * (share if share > LEVEL_SHARE else LEVEL_SHARE)

    def learn_page(self, excess: float, rows: int) -> None:
        """Take a page into account: by how much it took longer than explained, and its rows."""
        self.drift += (excess - self.drift) * DRIFT_SHARE
        self.log_rows += (math.log(rows) - self.log_rows) * _PAGE_SHARE

    def dump(self) -> list[Any]:
        """As plain values, in the order of the constructor."""
        return [self.level, self.learned, self.drift, self.log_rows, self.grain.dump()]


class Differences:
    """How far labelers differ (between) against how far a labeler's pages do (within), by the method of moments.

    >>> alike, unlike = Differences(), Differences()
    >>> for page in range(100):
    ...     alike.learn(pages=10, level=0.0, newest=(-1.0) ** page)
    ...     unlike.learn(pages=10, level=(-1.0) ** page, newest=(-1.0) ** page)
    >>> round(alike.pages_worth, 1), round(unlike.pages_worth, 1)
    (20.0, 0.1)
    """

    __slots__ = ("_between", "_pages", "_within", "pages_worth")

    def __init__(
        self, within: float = FIRST_WITHIN, between: float = FIRST_BETWEEN, pages: float = FIRST_PAGES
    ) -> None:
        self._within = within
        self._between = between
        self._pages = pages
        self.pages_worth = self._worth()
        """Pages of a labeler that say as much of its level as the others' do."""

    def _worth(self) -> float:
        between = self._between if self._between > 1e-3 else 1e-3
        return clipped(self._within / between, LEAST_ALIKE, MOST_ALIKE)

    def learn(self, pages: int, level: float, newest: float) -> None:
        """See a labeler with so many pages of that level, and one more."""
        if pages < 1:
            return
        self._pages += 1.0
        share = 1.0 / self._pages
        if share < LEVEL_SHARE:
            share = LEVEL_SHARE
        distance = newest - level
        self._within += (min(distance * distance, 4.0) * pages / (pages + 1.0) - self._within) * share
        self._between += (clipped(level * level - self._within / pages, -1.0, 6.0) - self._between) * share
        self.pages_worth = self._worth()

    def dump(self) -> list[float]:
        """As plain values, in the order of the constructor."""
        return [self._within, self._between, self._pages]


class QueueLevels:
    """Levels of all queues and vendors of one source partition, and of all work together."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Queue, QueueLevel] = OrderedDict()
        self._vendors: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.overall = QueueLevel(FIRST_LEVEL)

    def get(self, queue: Queue) -> QueueLevel:
        """The queue's level; that of all work for a queue not seen yet."""
        return self._queues.get(queue, self.overall)

    def open(self, queue: Queue) -> QueueLevel:
        """The queue's level, to be changed. A new one starts from that of all work."""
        level = self._queues.get(queue)
        if level is None:
            level = self._queues[queue] = QueueLevel(self.overall.level)
            if len(self._queues) > MAX_KEPT:
                self._queues.popitem(last=False)
        else:
            self._queues.move_to_end(queue)
        return level

    def vendor(self, vendor_id: str) -> float:
        """By how much a vendor's labelers take longer than others (logarithm), as far as it is believed."""
        labelers, mean = self._vendors.get(vendor_id, (0.0, 0.0))
        return mean * labelers / (labelers + VENDOR_ALIKE)

    def learn_vendor(self, vendor_id: str, level: float, pages: int) -> None:
        """Take a page of a vendor's labeler into account; a labeler's first pages count most."""
        labelers, mean = self._vendors.pop(vendor_id, (0.0, 0.0))
        weight = 1.0 / (1.0 + pages)
        labelers = min(labelers + weight, 200.0)
        self._vendors[vendor_id] = (labelers, mean + (level - mean) * weight / labelers)
        if len(self._vendors) > MAX_KEPT:
            self._vendors.popitem(last=False)

    def dump(self) -> list[Any]:
        """State as plain values, in order of last use."""
        queues = [[list(queue), *level.dump()] for queue, level in self._queues.items()]
        vendors = [[name, *values] for name, values in self._vendors.items()]
        return [self.overall.dump(), queues, vendors]

    def load(self, state: list[Any]) -> None:
        """Continue from dumped state."""
        overall, queues, vendors = state
        self.overall = QueueLevel(*overall)
        self._queues = OrderedDict((Queue(*queue), QueueLevel(*values)) for queue, *values in queues)
        self._vendors = OrderedDict((name, (labelers, mean)) for name, labelers, mean in vendors)
