"""Many streams of answers at once, for simulation: numpy where a method has it, else its detectors one by one.

The vectorised code fires exactly where the detectors fire (a test holds them side by side). A stream that fires begins
anew, like a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from detectors.change.baselines import Always, LastUnder
from detectors.change.cusum import BernoulliCusum
from detectors.change.e_process import EProcess, Learning
from detectors.change.finding import Detector, Method
from detectors.change.sparse import SparseProcess
from detectors.change.threshold import FixedThreshold

#: Of a scope, for methods that look at many at once.
LABELERS: Final = 20

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Fleet(Protocol):
    """As many streams as it was made for."""

    def step(self, right: Flags) -> Flags:
        """Give each stream an answer; which of them fire."""

    def keep(self, kept: Flags) -> None:
        """Go on with some of the streams only."""


class EFleet:
    """Streams of an `EProcess`."""

    def __init__(self, method: EProcess, streams: int) -> None:
        self._method = method
        bets = method.bets()
        self._sizes = np.array([[bet.size] for bet in bets])
        self._weights = np.array([[bet.weight] for bet in bets])
        self._sums = np.zeros((len(bets), streams))
        self._seen = np.full(streams, -method.learning.answers if method.learning else 0)
        prior = method.learning.prior if method.learning else 0.0
        self._good = np.full(streams, prior * method.good())
        self._bad = np.full(streams, prior - prior * method.good())
        self._waiting = np.zeros((method.learning.lag if method.learning else 0, streams))
        self._steps = 0

    @property
    def statistic(self) -> Floats:
        """The value of each e-detector."""
        return cast(Floats, (self._weights * self._sums).sum(axis=0))

    def step(self, right: Flags) -> Flags:
        method = self._method
        good: Floats = (right if method.direction == "down" else ~right).astype(np.float64)
        level = np.minimum(self._good / (self._good + self._bad), method.highest) if method.learning else method.good()
        factors = (1.0 - self._sizes * good) / (1.0 - self._sizes * level)
        tested = self._seen >= 0
        before = self._sums + 1.0 if method.form == "sr" else np.maximum(self._sums, 1.0)
        self._sums = np.where(tested, before * factors, 0.0)
        self._seen += 1
        if method.learning:
            self._learn(good, method.learning)
        fired = tested & (self.statistic >= method.threshold) & (self._seen >= method.min_count)
        self._sums[:, fired] = 0.0
        self._seen[fired] = 0
        return fired

    def _learn(self, good: Floats, learning: Learning) -> None:
        self._steps += 1
        tested = self._steps - learning.answers
        if tested > 0 and learning.lag:
            at = tested % learning.lag
            oldest = self._waiting[at].copy()
            self._waiting[at] = good
            if tested <= learning.lag:
                return
            good = oldest
        self._good += good
        self._bad += 1.0 - good
        shrink = np.minimum(learning.memory / (self._good + self._bad), 1.0)
        self._good *= shrink
        self._bad *= shrink

    def keep(self, kept: Flags) -> None:
        self._sums = self._sums[:, kept]
        self._seen, self._good, self._bad = self._seen[kept], self._good[kept], self._bad[kept]
        self._waiting = self._waiting[:, kept]


class CusumFleet:
    """Streams of a `BernoulliCusum`."""

    def __init__(self, method: BernoulliCusum, streams: int) -> None:
        self._method = method
        self._sum = np.zeros(streams, dtype=np.int64)
        self._seen = np.zeros(streams, dtype=np.int64)

    def step(self, right: Flags) -> Flags:
        good = right if self._method.direction == "down" else ~right
        self._sum = np.maximum(self._sum + np.where(good, -1, self._method.penalty), 0)
        self._seen += 1
        fired = (self._sum >= self._method.threshold) & (self._seen >= self._method.min_count)
        self._sum[fired] = 0
        self._seen[fired] = 0
        return fired

    def keep(self, kept: Flags) -> None:
        self._sum, self._seen = self._sum[kept], self._seen[kept]


class BlockFleet:
    """Streams of a `FixedThreshold`, or of `Always`, whose limit every block is under."""

    def __init__(self, count: int, is_under: Callable[[Floats], Flags], streams: int) -> None:
        self._count = count
        self._is_under = is_under
        self._total = np.zeros(streams)
        self._seen = 0

    def step(self, right: Flags) -> Flags:
        self._total += right
        self._seen += 1
        if self._seen < self._count:
            return np.zeros(len(right), dtype=np.bool_)
        fired: Flags = self._is_under(self._total / self._count)
        self._total[:] = 0.0
        self._seen = 0
        return fired

    def keep(self, kept: Flags) -> None:
        self._total = self._total[kept]


class LastFleet:
    """Streams of a `LastUnder`."""

    def __init__(self, method: LastUnder, streams: int) -> None:
        self._method = method
        self._last = np.zeros((method.count, streams))
        self._seen = np.zeros(streams, dtype=np.int64)
        self._at = 0

    def step(self, right: Flags) -> Flags:
        count = self._method.count
        self._last[self._at] = right
        self._at = (self._at + 1) % count
        self._seen += 1
        fired = (self._seen >= count) & (self._last.sum(axis=0) / count < self._method.limit)
        self._seen[fired] = 0
        return cast(Flags, fired)

    def keep(self, kept: Flags) -> None:
        self._last, self._seen = self._last[:, kept], self._seen[kept]


class DetectorFleet:
    """Streams of any method, each with its detector."""

    def __init__(self, method: Method, streams: int) -> None:
        self._detectors: list[Detector] = [method.build() for _ in range(streams)]
        self._steps = 0

    def step(self, right: Flags) -> Flags:
        self._steps += 1
        pairs = zip(self._detectors, right.tolist(), strict=True)
        return np.array([one.update(float(value), self._steps) is not None for one, value in pairs], dtype=np.bool_)

    def keep(self, kept: Flags) -> None:
        self._detectors = [one for one, is_kept in zip(self._detectors, kept, strict=True) if is_kept]


class SparseFleet:
    """Streams of a `SparseProcess`: each is a scope of `LABELERS`, who take turns, a value a minute."""

    def __init__(self, method: SparseProcess, streams: int) -> None:
        self._detectors = [method.build() for _ in range(streams)]
        self._steps = 0

    def step(self, right: Flags) -> Flags:
        self._steps += 1
        at_ms, labeler_id = 60_000 * self._steps, str(self._steps % LABELERS)
        pairs = zip(self._detectors, right.tolist(), strict=True)
        found = [one.update(float(value), at_ms, labeler_id=labeler_id) is not None for one, value in pairs]
        return np.array(found, dtype=np.bool_)

    def keep(self, kept: Flags) -> None:
        self._detectors = [one for one, is_kept in zip(self._detectors, kept, strict=True) if is_kept]


def has_numpy(method: Method) -> bool:
    """Whether many streams of it cost little more than one."""
    return isinstance(method, EProcess | BernoulliCusum | FixedThreshold | Always | LastUnder)


def fleet_of(method: Method, streams: int) -> Fleet:
    """So many streams of a method, in the quickest way there is."""
    match method:
        case EProcess():
            return EFleet(method, streams)
        case BernoulliCusum():
            return CusumFleet(method, streams)
        case FixedThreshold(limit=limit, min_count=count, direction="down"):
            return BlockFleet(count, lambda level: level < limit, streams)
        case FixedThreshold(limit=limit, min_count=count):
            return BlockFleet(count, lambda level: level > limit, streams)
        case Always(every=count):
            return BlockFleet(count, lambda level: np.ones(len(level), dtype=np.bool_), streams)
        case LastUnder():
            return LastFleet(method, streams)
        case SparseProcess():
            return SparseFleet(method, streams)
    return DetectorFleet(method, streams)


def run_lengths(
    fleet: Fleet,
    levels: Floats,
    generator: np.random.Generator,
    *,
    at_most: int,
    change: tuple[NDArray[np.int64], float] | None = None,
) -> Floats:
    """Answers until each stream fires first, or first after a change; infinity where that is not within ``at_most``.

    Args:
        fleet: at its beginning.
        levels: how probably an answer of each stream is right; one a stream.
        generator: where answers come from.
        at_most: answers after which to give up.
        change: after how many answers each stream has another level, and which.

    >>> from detectors.change.baselines import LastUnder
    >>> fleet = fleet_of(LastUnder(10, 0.7), 1_000)
    >>> lengths = run_lengths(fleet, np.full(1_000, 0.92), np.random.default_rng(1), at_most=20_000)
    >>> round(float(lengths.mean()))
    607
    """
    lengths = np.full(len(levels), np.inf)
    running = np.arange(len(levels))
    for answers in range(1, at_most + 1):
        if not len(running):
            break
        level = levels if change is None else np.where(answers <= change[0][running], levels, change[1])
        fired = fleet.step(generator.random(len(running)) < level)
        if change is not None:
            fired &= answers > change[0][running]
        if fired.any():
            lengths[running[fired]] = answers
            running, levels = running[~fired], levels[~fired]
            fleet.keep(~fired)
    return lengths


def detection_delay(
    method: Method, level: float, after: float, generator: np.random.Generator, *, runs: int = 500, at_most: int = 5_000
) -> tuple[float, float]:
    """Answers from a drop to its finding: the median and the ninth decile, infinity for more than ``at_most``.

    The drop comes after 1,000 answers at the level. A tenth of a second where the method has numpy code.

    >>> from detectors.change.baselines import Always
    >>> detection_delay(Always(100), 0.92, 0.8, np.random.default_rng(1))
    (49.0, 89.0)
    """
    before = 1_000 + generator.integers(0, 100, runs)
    fleet, levels = fleet_of(method, runs), np.full(runs, level)
    found = run_lengths(fleet, levels, generator, at_most=1_100 + at_most, change=(before, after)) - before
    median, most = np.quantile(found, (0.5, 0.9), method="inverted_cdf")
    return float(median), float(most)
