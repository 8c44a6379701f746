"""Times as a mapping file describes them, to aware UTC. What could mean two moments is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.times import parse_utc
from streams.sources.mapping import TimeFormat
from streams.sources.text_files import parse_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(cell: str, written: TimeFormat) -> datetime:
    """One cell as aware UTC.

    Raises:
        ValueError: blank, not of that format, without a zone, outside 2000-2100, or an hour that the zone's
            clocks skipped or showed twice.

    >>> parse_time("2015-03-01 10:00", TimeFormat(format="%Y-%m-%d %H:%M", zone="Europe/Amsterdam")).isoformat()
    '2015-03-01T09:00:00+00:00'
    >>> parse_time("1420714806500", TimeFormat(format="epoch_ms")).isoformat()
    '2015-01-08T11:00:06.500000+00:00'
    """
    text = cell.strip()
    if not text:
        raise ValueError("no time")
    if written.format in ("epoch_seconds", "epoch_ms"):
        return _from_epoch(text, written.format)
    try:
        iso = written.format == "iso"
        time = datetime.fromisoformat(text) if iso else datetime.strptime(text, written.format)  # noqa: DTZ007
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time of the format {written.format}") from None
    if time.tzinfo is None:
        time = _in_zone(time, written.zone)
    return parse_utc(time)


def _from_epoch(text: str, unit: str) -> datetime:
    number = parse_number(text)
    if number is None:
        raise ValueError(f"{text[:40]!r} is not a number of {'milliseconds' if unit == 'epoch_ms' else 'seconds'}")
    try:
        passed = timedelta(milliseconds=number) if unit == "epoch_ms" else timedelta(seconds=number)
        return parse_utc(_EPOCH + passed)
    except OverflowError:
        raise ValueError(f"{text[:40]!r} is out of range: is time.format right?") from None


def _in_zone(time: datetime, zone: str | None) -> datetime:
    if zone is None:
        raise ValueError(f"{time.isoformat()} has no zone: add time.zone to the mapping, such as zone: UTC")
    early, late = (time.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    if early.utcoffset() != late.utcoffset():
        what = "was skipped" if early.astimezone(UTC) > late.astimezone(UTC) else "came twice"
        raise ValueError(f"{time.isoformat()} {what} when the clocks of {zone} changed")
    return early
