"""Whether a worker is well: a judgement over what it last reported, with the clock as an argument.

The worker's event loop reports; the web server's thread asks. All methods may be called from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

#: A partition of a topic.
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The verdict. ``reasons`` are sentences for a person; empty when ``ok``."""

    ok: bool
    reasons: tuple[str, ...] = ()
    assigned: int = 0
    """Partitions that this worker owns now."""


@dataclass(slots=True)
class _Progress:
    position: int | None
    moved_at: float
    """When the position last moved, the lag was last 0, or the partition was assigned."""
    lag: int = 0


class HealthState:
    """What the worker reported last, and the rules that make a verdict of it.

    Times are seconds of one monotonic clock, whichever the caller uses throughout.

    >>> health = HealthState(stuck_after_seconds=60, now=0)
    >>> health.beat(now=10)
    >>> health.check(now=60).ok
    True
    >>> health.check(now=71).reasons
    ('event loop: has not turned for 61 s',)
    """

    def __init__(self, stuck_after_seconds: float, now: float) -> None:
        self._stuck_after = stuck_after_seconds
        self._beat_at = now
        self._fatal: str | None = None
        self._partitions: dict[Partition, _Progress] = {}
        self._lock = threading.Lock()

    def beat(self, now: float) -> None:
        """The event loop turned."""
        with self._lock:
            self._beat_at = now

    def assigned(self, partitions: Iterable[Partition], now: float) -> None:
        """The worker now owns exactly these. What is known of those it keeps is kept."""
        with self._lock:
            self._partitions = {p: self._partitions.get(p) or _Progress(None, now) for p in partitions}

    def progress(self, topic: str, partition: int, position: int, lag: int, now: float) -> None:
        """A partition's acknowledged position and how many messages lie behind it.

        Not owning it is no error: a revoked partition's last checkpoint may still report.
        """
        with self._lock:
            known = self._partitions.get((topic, partition))
            if known is None:
                return
            if position != known.position or lag == 0 or known.lag == 0:
                # A lag that appears now starts its own clock: an hour of silence before it was no fault.
                known.moved_at = now
            known.position, known.lag = position, lag

    def fatal(self, reason: str) -> None:
        """The worker cannot go on. The first reason stands: what follows is usually its consequence."""
        with self._lock:
            self._fatal = self._fatal or reason

    def check(self, now: float) -> HealthReport:
        """The verdict at ``now``. A worker without partitions (more workers than partitions) is well."""
        with self._lock:
            reasons = []
            if self._fatal is not None:
                reasons.append(f"fatal: {self._fatal}")
            if (silent := now - self._beat_at) > self._stuck_after:
                reasons.append(f"event loop: has not turned for {silent:.0f} s")
            for (topic, partition), known in sorted(self._partitions.items()):
                still = now - known.moved_at
                if known.lag > 0 and still > self._stuck_after:
                    reasons.append(
                        f"no progress: {topic}/{partition} stands at {known.position} for {still:.0f} s "
                        f"with {known.lag} messages behind it"
                    )
            return HealthReport(not reasons, tuple(reasons), len(self._partitions))
