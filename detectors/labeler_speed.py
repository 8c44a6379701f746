"""How fast a labeler is in one queue, compared with what the queue takes: level, spread and how sure that is.

Every source partition keeps its own sums and sends them whole; those of others are heard and added. Of one source
partition the latest count, so that order and repetition change nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from detectors.arithmetic import clipped, rounded
from detectors.consensus import LabelSpace
from detectors.recent_memory import RecentMemory

#: A labeler in this many queues is remembered per model; the one idle longest is forgotten beyond it.
MAX_SPEEDS: Final = 2_000
#: The same for what other source partitions say, which is in no state.
MAX_HEARD: Final = 20_000
#: Latest pages whose median is the labeler's typical speed.
KEPT_PAGES: Final = 40
#: Weight of the newest page: in the recent level, in the slower one that is sent to others, and in the spreads.
RECENT: Final = 0.3
LASTING: Final = 0.1
SPREAD: Final = 0.04
SPREAD_RECENT: Final = 0.15
#: A page moves levels by this many typical errors at most: an unfinished lunch is no change of speed.
MOST_ERRORS: Final = 2.0
#: After so long without work (ms) a new session begins.
SESSION_BREAK_MS: Final = 1_800_000
#: What others heard of a labeler weighs as many pages at most.
MOST_HEARD: Final = 10.0
#: State is stored as JSON, in so many parts of one: digits cost.
_PARTS: Final = 1e5


class SpeedKey(NamedTuple):
    """A labeler in one queue."""

    labeler_id: str
    project_id: str
    task_type: str

    @property
    def space(self) -> LabelSpace:
        """The label space that the queue is of."""
        return LabelSpace(self.project_id, self.task_type)


class SpeedEvidence(NamedTuple):
    """What one source partition knows of a labeler's speed in one queue.

    >>> one = SpeedEvidence(weight=8.0, log_seconds=3.4, spread=-1.2, seen_ms=5_000)
    >>> SpeedEvidence.from_plain(one.to_plain()) == one
    True
    """

    weight: float
    """Pages that the level rests on, as they weigh now."""
    log_seconds: float
    """Decayed mean logarithm of the seconds of an annotation, what is known of the tasks' difficulty taken out."""
    spread: float
    """Decayed mean logarithm of the size of forecast errors (of logarithms)."""
    seen_ms: int
    """Latest submit time."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return self._asdict()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> SpeedEvidence:
        """The inverse; what comes from outside is checked.

        Raises:
            ValueError: not evidence on a speed; says why.
        """
        try:
            weight, level, spread = (float(plain[name]) for name in ("weight", "log_seconds", "spread"))
            seen_ms = int(plain["seen_ms"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not evidence on a labeler's speed: {type(error).__name__}: {error}") from None
        if not (0.0 <= weight <= 1e9 and abs(level) <= 50.0 and abs(spread) <= 50.0 and seen_ms >= 0):
            raise ValueError(f"evidence on a labeler's speed is out of range: {dict(plain)}")
        return cls(weight, level, spread, seen_ms)


class Speed:
    """One labeler in one queue: logarithms, as distances from the queue's level. `lasting` is the level itself, since a
    queue's level moves, and is another in other source partitions.
    """

    __slots__ = (
        "_arrived",
        "_sorted",
        "kind",
        "lasting",
        "pages",
        "recent",
        "seen_ms",
        "session",
        "spread",
        "spread_recent",
    )

    def __init__(
        self,
        levels: tuple[float, ...] = (0.0,) * 4,
        counts: tuple[int, ...] = (0, 0, -1),
        latest: Iterable[float] = (),
    ) -> None:
        self.recent, self.lasting, self.spread, self.spread_recent = levels
        self.pages, self.session, self.seen_ms = counts
        self._arrived = deque(latest, maxlen=KEPT_PAGES)
        self._sorted = sorted(self._arrived)

    @property
    def typical(self) -> float:
        """Median of the latest pages."""
        latest = self._sorted
        middle = len(latest) // 2
        return latest[middle] if len(latest) % 2 else (latest[middle - 1] + latest[middle]) / 2.0

    def is_back(self, started_ms: int) -> bool:
        """Whether work that starts then begins a new session."""
        return started_ms - self.seen_ms > SESSION_BREAK_MS

    def learn(self, distance: float, level: float, spread: float, typical_error: float) -> None:
        """Take a page into account: its distance from the queue's level, its level, the logarithm of its error."""
        pages = self.pages = self.pages + 1
        most = MOST_ERRORS * typical_error if pages > 3 else math.inf
        share = 1.0 / pages
        self.recent = _towards(self.recent, clipped(distance - self.recent, -most, most), RECENT, share)
        self.lasting = _towards(self.lasting, clipped(level - self.lasting, -most, most), LASTING, share)
        self.spread = _towards(self.spread, spread - self.spread, SPREAD, share)
        self.spread_recent = _towards(self.spread_recent, spread - self.spread_recent, SPREAD_RECENT, share)
        distance = rounded(distance, _PARTS)
        if len(self._arrived) == KEPT_PAGES:
            del self._sorted[bisect_left(self._sorted, self._arrived[0])]
        self._arrived.append(distance)
        insort(self._sorted, distance)

    def worked(self, started_ms: int, submitted_ms: int, answers: int) -> None:
        """See a page of so many answers in the labeler's session."""
        self.session = answers if self.is_back(started_ms) else self.session + answers
        if submitted_ms > self.seen_ms:
            self.seen_ms = submitted_ms

    def dump(self) -> list[Any]:
        """As plain values, in the order of the constructor."""
        levels = [self.recent, self.lasting, self.spread, self.spread_recent]
        return [levels, [self.pages, self.session, self.seen_ms], list(self._arrived)]


def _towards(mean: float, distance: float, least_share: float, share: float) -> float:
    """A decayed mean after one more value so far away; the first values weigh alike."""
    return rounded(mean + distance * (share if share > least_share else least_share), _PARTS)


class Speeds:
    """All speeds of one source partition, and what others say."""

    def __init__(self) -> None:
        self.memory: RecentMemory[SpeedKey, Speed] = RecentMemory(
            MAX_SPEEDS, to_plain=Speed.dump, from_plain=lambda plain: Speed(*plain)
        )
        """Own ones."""
        self._heard: OrderedDict[SpeedKey, dict[int, SpeedEvidence]] = OrderedDict()
        self._sums: dict[SpeedKey, tuple[float, float, float]] = {}

    def get(self, key: SpeedKey) -> Speed | None:
        """The labeler's own speed here, if any of its work was learned."""
        return self.memory.get(key)

    def open(self, key: SpeedKey) -> Speed:
        """The labeler's own speed here, to be changed."""
        speed = self.memory.get(key) or Speed()
        self.memory.use(key, speed)
        return speed

    def heard(self, key: SpeedKey) -> tuple[float, float, float] | None:
        """Weight, level (log seconds) and spread that all other source partitions together know."""
        return self._sums.get(key)

    def hear(self, key: SpeedKey, source_partition: int, evidence: SpeedEvidence) -> None:
        """Take what another source partition says, in place of what it said before."""
        parts = self._heard.setdefault(key, {})
        parts[source_partition] = evidence
        self._heard.move_to_end(key)
        if len(self._heard) > MAX_HEARD:
            forgotten, _ = self._heard.popitem(last=False)
            self._sums.pop(forgotten, None)
        weight = math.fsum(one.weight for one in parts.values())
        if weight > 0.0:
            level = math.fsum(one.weight * one.log_seconds for one in parts.values()) / weight
            spread = math.fsum(one.weight * one.spread for one in parts.values()) / weight
            self._sums[key] = (min(weight, MOST_HEARD), level, spread)
        else:
            self._sums.pop(key, None)
