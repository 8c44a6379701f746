"""The breaker: a topic in which most messages are bad is somebody's mistake, not a thousand dead letters."""

from __future__ import annotations

from collections import deque


class BreakerOpenError(Exception):
    """Most recent input of a partition is bad. The worker stops; nothing of it was acknowledged."""


class Breaker:
    """Share of bad messages among the last ``min_messages`` (counted in whole batches).

    >>> breaker = Breaker(min_messages=100, bad_share=0.5)
    >>> breaker.add(received=60, bad=40)
    >>> breaker.add(received=40, bad=20)  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    streams.breaker.BreakerOpenError: 60 of the last 100 messages are bad, more than pipeline.breaker_bad_share (0.5)
    allows; see docs/runbooks/breaker-open.md
    """

    def __init__(self, min_messages: int, bad_share: float) -> None:
        self._min_messages = min_messages
        self._bad_share = bad_share
        self._batches: deque[tuple[int, int]] = deque()
        self._received = 0
        self._bad = 0

    @property
    def share(self) -> float:
        """Share of bad messages among those counted, 0 to 1."""
        return self._bad / self._received if self._received else 0.0

    def add(self, received: int, bad: int) -> None:
        """Count a batch.

        Raises:
            BreakerOpenError: enough messages were counted, and too many of them are bad.
        """
        if not received:  # a replayed batch says nothing, and a long replay must not fill memory
            return
        self._batches.append((received, bad))
        self._received += received
        self._bad += bad
        while self._batches and self._received - self._batches[0][0] >= self._min_messages:
            old_received, old_bad = self._batches.popleft()
            self._received -= old_received
            self._bad -= old_bad
        if self._received >= self._min_messages and self.share > self._bad_share:
            raise BreakerOpenError(
                f"{self._bad} of the last {self._received} messages are bad, more than pipeline.breaker_bad_share "
                f"({self._bad_share}) allows; see docs/runbooks/breaker-open.md"
            )
