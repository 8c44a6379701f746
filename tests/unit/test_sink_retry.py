"""Which errors are tried again, how often, and when it ends."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError, ProgrammingError
from hypothesis import given
from hypothesis import strategies as st

from streams.sinks.retry import Backoff, Kind, classify, retry
from streams.sinks.sink import SinkStoppedError


class Refused(Exception):
    """Neither ClickHouse's nor the network's."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DatabaseError("Too many parts", code=252), Kind.RETRYABLE),
        (DatabaseError("Memory limit exceeded", code=241), Kind.RETRYABLE),
        (DatabaseError("Timeout exceeded", code=159), Kind.RETRYABLE),
        (OperationalError("Too many simultaneous queries", code=202), Kind.RETRYABLE),
        (OperationalError("Network Error: Connection refused"), Kind.RETRYABLE),
        (DatabaseError("HTTP driver received HTTP status 502, server response: bad gateway"), Kind.RETRYABLE),
        (DatabaseError("HTTP driver received HTTP status 429"), Kind.RETRYABLE),
        (ConnectionResetError(), Kind.RETRYABLE),
        (TimeoutError(), Kind.RETRYABLE),
        (aiohttp.ServerDisconnectedError(), Kind.RETRYABLE),
        (DatabaseError("Unknown table", code=60), Kind.PERMANENT),
        (OperationalError("Authentication failed", code=516), Kind.PERMANENT),
        (DatabaseError("HTTP driver received HTTP status 404"), Kind.PERMANENT),
        (DataError("Invalid None value"), Kind.PERMANENT),
        (ProgrammingError("column count"), Kind.PERMANENT),
        (TypeError("a bug"), Kind.UNKNOWN),
        (Refused(), Kind.UNKNOWN),
    ],
)
def test_classify(error: Exception, kind: Kind) -> None:
    assert classify(error) is kind


@given(attempt=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded_and_never_zero(attempt: int, jitter: float) -> None:
    backoff = Backoff(first_seconds=0.1, max_seconds=30.0)
    assert 0.05 <= backoff.pause(attempt, jitter) <= 30.0


class Away:
    """Fails a number of times, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return "here"


async def test_it_is_tried_until_it_works() -> None:
    seen: list[tuple[int, str, float]] = []
    away = Away(5, DatabaseError("Too many parts", code=252))
    result = await retry(
        away,
        backoff=Backoff(first_seconds=0.001, max_seconds=0.004),
        jitter=lambda: 0.0,
        stop=asyncio.Event(),
        on_retry=lambda *call: seen.append(call),
    )
    assert result == "here"
    assert away.calls == 6
    assert seen == [(n, "Too many parts", pause) for n, pause in enumerate([0.0005, 0.001, 0.002, 0.002, 0.002], 1)]


@pytest.mark.parametrize("error", [DatabaseError("Unknown table", code=60), TypeError("a bug")])
async def test_what_will_not_pass_is_raised_at_once(error: Exception) -> None:
    away = Away(1, error)
    with pytest.raises(type(error)):
        await retry(
            away,
            backoff=Backoff(),
            jitter=lambda: 0.0,
            stop=asyncio.Event(),
            on_retry=lambda *call: pytest.fail(f"tried again: {call}"),
        )
    assert away.calls == 1


async def test_stop_ends_a_long_pause() -> None:
    stop = asyncio.Event()
    away = Away(10, OperationalError("Connection refused"))
    with pytest.raises(SinkStoppedError, match="after 1 attempts; the last error: Connection refused"):
        await retry(
            away,
            backoff=Backoff(first_seconds=3_600.0, max_seconds=3_600.0),
            jitter=lambda: 0.5,
            stop=stop,
            on_retry=lambda attempt, error, pause: stop.set(),
        )
    assert away.calls == 1


async def test_while_stopping_one_attempt_is_made() -> None:
    """So that the last checkpoint of a worker that is told to stop is still written."""
    stop = asyncio.Event()
    stop.set()
    kwargs = {"backoff": Backoff(), "jitter": lambda: 0.0, "stop": stop, "on_retry": lambda *call: None}
    assert await retry(Away(0, OSError()), **kwargs) == "here"  # type: ignore[arg-type]
    with pytest.raises(SinkStoppedError):
        await retry(Away(1, OSError("gone")), **kwargs)  # type: ignore[arg-type]
