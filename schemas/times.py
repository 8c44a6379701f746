"""The one form of time on the wire: ISO 8601 with a zone, turned into aware UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

#: Events outside these years are clocks that were never set, not annotations.
EARLIEST_YEAR = 2000
LATEST_YEAR = 2100


def parse_utc(value: object) -> datetime:
    """An ISO 8601 string with a zone (or an aware datetime) as aware UTC.

    Numbers are refused: whether they are seconds or milliseconds is a guess.

    Raises:
        ValueError: no zone, not ISO 8601, or a year outside 2000-2100.

    >>> parse_utc("2026-01-05T09:00:00+02:00").isoformat()
    '2026-01-05T07:00:00+00:00'
    >>> parse_utc("2026-01-05T09:00:00")
    Traceback (most recent call last):
    ...
    ValueError: time has no zone: write 2026-01-05T09:00:00Z if it is UTC
    """
    if isinstance(value, str):
        text = value
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"not an ISO 8601 time: {text[:40]!r}") from None
    if not isinstance(value, datetime):
        raise ValueError("time must be an ISO 8601 string with a zone, such as 2026-01-05T09:00:00Z")
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError(f"time has no zone: write {value.isoformat()}Z if it is UTC")
        try:
            value = value.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"time out of range: {value.isoformat()}") from None
    if not EARLIEST_YEAR <= value.year < LATEST_YEAR:
        raise ValueError(f"year {value.year} is outside {EARLIEST_YEAR}-{LATEST_YEAR}: was the clock set?")
    return value


def format_utc(value: datetime) -> str:
    """ISO 8601 in UTC with a trailing Z.

    >>> format_utc(datetime(2026, 1, 5, 7, tzinfo=UTC))
    '2026-01-05T07:00:00Z'
    """
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(value: datetime) -> int:
    """Milliseconds since the Unix epoch, exactly (no floating point).

    >>> to_ms(datetime(2026, 1, 5, 7, tzinfo=UTC))
    1767596400000
    """
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000 + delta.microseconds // 1_000


UtcTime = Annotated[
    datetime,
    PlainValidator(parse_utc),
    PlainSerializer(format_utc, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
