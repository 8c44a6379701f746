"""Which ClickHouse errors pass with time, and waiting for them to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import aiohttp
from clickhouse_connect.driver.exceptions import ClickHouseError, Error, OperationalError

from streams.sinks.sink import SinkStoppedError

T = TypeVar("T")

#: ClickHouse's error codes that say "not now" (src/Common/ErrorCodes.cpp). All others say "never".
RETRYABLE_CODES: Final = frozenset(
    {
        159,  # TIMEOUT_EXCEEDED
        160,  # TOO_SLOW
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        203,  # NO_FREE_CONNECTION
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        225,  # NO_ZOOKEEPER
        236,  # ABORTED: the server is shutting down
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY: a replica lost its Keeper session
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        285,  # TOO_FEW_LIVE_REPLICAS
        286,  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
        319,  # UNKNOWN_STATUS_OF_INSERT: rows have identity, so writing them again is safe
        394,  # QUERY_WAS_CANCELLED
        425,  # SYSTEM_ERROR
        439,  # CANNOT_SCHEDULE_TASK
        473,  # DEADLOCK_AVOIDED
        499,  # S3_ERROR
        745,  # SERVER_OVERLOADED
        999,  # KEEPER_EXCEPTION
    }
)
#: A proxy's answer in ClickHouse's place carries no code of ClickHouse's.
_PROXY_STATUS = re.compile(r"HTTP status (?:408|429|5\d\d)\b")


class Kind(StrEnum):
    """What to do about an error."""

    RETRYABLE = "retryable"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"
    """Not ClickHouse's doing: a bug. It must end the worker."""


def classify(error: BaseException) -> Kind:
    """The kind of an error raised while talking to ClickHouse."""
    if isinstance(error, Error):
        if error.code is not None:
            return Kind.RETRYABLE if error.code in RETRYABLE_CODES else Kind.PERMANENT
        if isinstance(error, OperationalError) or _PROXY_STATUS.search(str(error)):
            return Kind.RETRYABLE
    if isinstance(error, ClickHouseError):
        return Kind.PERMANENT
    if isinstance(error, OSError | TimeoutError | aiohttp.ClientError):
        return Kind.RETRYABLE
    return Kind.UNKNOWN


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double up to a bound. Half of each is left to chance, so that workers do not come back as one."""

    first_seconds: float = 0.1
    max_seconds: float = 30.0

    def pause(self, attempt: int, jitter: float) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (from 1); ``jitter`` is in [0, 1).

        >>> [Backoff(1.0, 5.0).pause(n, jitter=0.0) for n in (1, 2, 3, 4, 1000)]
        [0.5, 1.0, 2.0, 2.5, 2.5]
        """
        full = min(self.max_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 60))
        return full * (0.5 + jitter / 2)


OnRetry = Callable[[int, str, float], None]
"""Called before each pause with the number of attempts so far, the error and the pause in seconds."""


async def retry(
    operation: Callable[[], Awaitable[T]],
    *,
    backoff: Backoff,
    jitter: Callable[[], float],
    stop: asyncio.Event,
    on_retry: OnRetry,
) -> T:
    """The operation's result; as long as its errors are retryable, tried again until ``stop`` is set.

    Raises:
        SinkStoppedError: stopped while it was failing.
        BaseException: what the operation raised, when trying again cannot help.
    """
    attempt = 0
    while True:
        try:
            return await operation()
        except Exception as error:
            if classify(error) is not Kind.RETRYABLE:
                raise
            attempt += 1
            pause = backoff.pause(attempt, jitter())
            if not stop.is_set():
                on_retry(attempt, str(error), pause)
                await _wait(stop, pause)
            if stop.is_set():
                raise SinkStoppedError(f"stopped after {attempt} attempts; the last error: {error}") from error


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
