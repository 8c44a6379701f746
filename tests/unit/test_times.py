"""Times on the wire are ISO 8601 with a zone, in memory aware UTC, in rows integer milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import format_utc, parse_utc, to_ms

ZONES = st.integers(min_value=-14 * 60, max_value=14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# hypothesis wants bounds without a zone
TIMES = st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30), timezones=ZONES)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-05T07:00:00Z", "2026-01-05T07:00:00Z"),
        ("2026-01-05T09:00:00.123456+02:00", "2026-01-05T07:00:00.123456Z"),
        ("2026-01-05 07:00:00-00:30", "2026-01-05T07:30:00Z"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00Z"),
        ("2099-12-31T23:59:59.999999Z", "2099-12-31T23:59:59.999999Z"),
    ],
)
def test_parsed(text: str, utc: str) -> None:
    assert format_utc(parse_utc(text)) == utc
    assert parse_utc(text).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2026-01-05T09:00:00", "time has no zone: write 2026-01-05T09:00:00Z if it is UTC"),
        ("2026-01-05", "time has no zone"),
        ("yesterday", "not an ISO 8601 time: 'yesterday'"),
        ("", "not an ISO 8601 time: ''"),
        ("x" * 10_000, f"not an ISO 8601 time: '{'x' * 40}'"),
        ("2026-02-30T00:00:00Z", "not an ISO 8601 time"),
        (1767596400, "time must be an ISO 8601 string with a zone"),
        (1767596400.5, "time must be"),
        (True, "time must be"),
        (None, "time must be"),
        ("1999-12-31T23:59:59Z", "year 1999 is outside 2000-2100: was the clock set"),
        ("1970-01-01T00:00:00Z", "year 1970"),
        ("2100-01-01T00:00:00Z", "year 2100"),
        ("2100-01-01T00:30:00-01:00", "year 2100"),
        ("0001-01-01T00:00:00+01:00", "time out of range"),
        ("9999-12-31T23:59:59-01:00", "time out of range"),
    ],
)
def test_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}") as refused:
        parse_utc(value)
    assert len(str(refused.value)) < 120


def test_the_zone_decides_the_year() -> None:
    assert parse_utc("2100-01-01T00:30:00+01:00").year == 2099


@given(TIMES)
def test_text_and_back_is_the_same_moment(time: datetime) -> None:
    assert parse_utc(time.isoformat()) == time
    assert parse_utc(format_utc(time)) == time


@given(TIMES)
def test_milliseconds_are_exact_and_rounded_down(time: datetime) -> None:
    back = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=to_ms(time))
    assert timedelta() <= time - back < timedelta(milliseconds=1)
