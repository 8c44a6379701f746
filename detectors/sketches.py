"""Mergeable sketches: quantiles by log-spaced buckets, distinct counts by the k smallest hashes.

Both merge by plain set and sum algebra, so that order, partitioning and replay cannot change them and ClickHouse
can merge them in SQL (``sumMap``; sorted distinct arrays).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

#: Ratio of neighbouring bucket bounds: quantiles are within 1 % of a true order statistic (DDSketch, Masson et al.
#: 2019, with alpha = (g-1)/(g+1) = .0099). Stored sketches and the SQL views depend on it: a change needs a migration.
GAMMA: Final = 1.02
#: Anything faster is a machine; it keeps the buckets of zero and near zero in one place.
SMALLEST_SECONDS: Final = 0.001
#: Hashes kept a window: exact up to 511 distinct ids, standard error 1/sqrt(510) = 4.4 % above.
KEPT_HASHES: Final = 512

_LOG_GAMMA: Final = math.log(GAMMA)
_HASH_SPACE: Final = float(2**64)


def bucket(seconds: float) -> int:
    """The log-spaced bucket of a duration: bucket i covers (GAMMA^(i-1), GAMMA^i].

    >>> bucket(1.0), bucket(30.0), bucket(0.0)
    (0, 172, -348)
    """
    return math.ceil(math.log(max(seconds, SMALLEST_SECONDS)) / _LOG_GAMMA)


def bucket_value(index: int) -> float:
    """The duration that stands for a bucket: within 1 % of everything in it.

    >>> round(bucket_value(bucket(30.0)), 2)
    29.85
    """
    return 2.0 * math.exp(index * _LOG_GAMMA) / (GAMMA + 1.0)


def quantile(counts: Mapping[int, int], q: float) -> float:
    """The q-quantile of a sketch (bucket to count), NaN when it is empty.

    >>> round(quantile({bucket(s): 1 for s in (10.0, 20.0, 30.0)}, 0.5), 1)
    20.1
    """
    total = sum(counts.values())
    if not total:
        return math.nan
    rank = max(1, math.ceil(q * total))
    seen = 0
    for index in sorted(counts):
        seen += counts[index]
        if seen >= rank:
            return bucket_value(index)
    raise AssertionError("unreachable: ranks never exceed the total")


def hash64(text: str) -> int:
    """A 64-bit hash of an id, the same in every process and forever (BLAKE2b).

    >>> hash64("labeler-1")
    15928455812592023583
    """
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


class DistinctSketch:
    """The k smallest distinct hashes (KMV; Bar-Yossef et al. 2002, Beyer et al. 2007).

    >>> sketch = DistinctSketch()
    >>> for i in range(1000):
    ...     sketch.add(hash64(f"task-{i % 100}"))
    >>> sketch.estimate()
    100
    """

    __slots__ = ("_hashes", "_largest")

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._hashes = set(hashes)
        self._largest = max(self._hashes, default=0)
        if len(self._hashes) > KEPT_HASHES:
            self._hashes = set(sorted(self._hashes)[:KEPT_HASHES])
            self._largest = max(self._hashes)

    def add(self, value: int) -> None:
        """Add one 64-bit hash."""
        hashes = self._hashes
        if len(hashes) < KEPT_HASHES:
            hashes.add(value)
            if value > self._largest:
                self._largest = value
        elif value < self._largest and value not in hashes:
            hashes.remove(self._largest)
            hashes.add(value)
            self._largest = max(hashes)

    def hashes(self) -> list[int]:
        """The kept hashes, ascending."""
        return sorted(self._hashes)

    def estimate(self) -> int:
        """How many distinct ids were added."""
        if len(self._hashes) < KEPT_HASHES:
            return len(self._hashes)
        return round((KEPT_HASHES - 1) / (self._largest / _HASH_SPACE))
