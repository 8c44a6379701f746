"""Holds back what the libraries repeat: without a broker, a Kafka client logs the same line many times a second."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EVERY_SECONDS: Final = 30.0
"""Time in which a library's line is let through once."""
_MAX_KEPT: Final = 1_000
"""Lines remembered. A library that puts ids into its templates must not grow this for ever."""
_DIGITS: Final = re.compile(r"\d+")

Key = tuple[str, str, str]


@dataclass(slots=True)
class _Seen:
    passed_at: float
    suppressed: int = 0


class FloodFilter(logging.Filter):
    """Of each library's line the first passes, then one in `EVERY_SECONDS`, with ``suppressed``: how many did not.

    Lines are the same when logger, template (digits apart) and type of exception are. Our own events, which come
    from structlog, always pass. Goes on a handler: filters of a logger do not see what its children log.

    Args:
        clock: seconds; its zero does not matter.
    """

    def __init__(self, clock: Callable[[], float], every_seconds: float = EVERY_SECONDS) -> None:
        super().__init__()
        self._clock, self._every_seconds = clock, every_seconds
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()
        self._lock = threading.Lock()  # handlers call their filters before they take their own lock

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.msg, dict) and hasattr(record, "_logger"):  # what structlog's wrap_for_formatter makes
            return True
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        key = (record.name, _DIGITS.sub("#", str(record.msg)), kind)
        with self._lock:
            now = self._clock()
            seen = self._seen.get(key)
            if seen is not None and now - seen.passed_at < self._every_seconds:
                seen.suppressed += 1
                return False
            if seen is not None and seen.suppressed:
                record.suppressed = seen.suppressed
            self._seen[key] = _Seen(now)
            self._seen.move_to_end(key)
            if len(self._seen) > _MAX_KEPT:
                self._seen.popitem(last=False)
        return True
