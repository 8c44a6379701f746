"""Times of CrowdFlower / Figure Eight / Appen exports: ``M/D/YYYY HH:MM:SS`` in UTC, and what was made of them since.

Spreadsheets that saved an export again leave ``2-1-2015 10:40``: no seconds, and nothing says which is the month.
Such a time is read only where it can mean one thing, or where the platform's judgement ids, which rise with submit
time (checked on every public export we have: at most 4 s out of order), leave one of its two meanings possible.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_USUAL = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d\d):(\d\d)", re.ASCII)
_ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?: ?UTC|Z)?", re.ASCII)
_ODD = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}) (\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)

#: How far submit times may disagree with the order of ids. Measured: 4 s. Far below the month that a swap moves.
ID_ORDER_SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ExportTime:
    """What a cell can mean: one time, or one with the month first and one with the day first."""

    month_first: datetime | None
    day_first: datetime | None
    usual: bool
    """In the platform's own form, so that its meaning is not in doubt."""
    has_seconds: bool

    def readings(self) -> list[datetime]:
        """The distinct meanings, month first before day first."""
        both = (self.month_first, self.day_first)
        return sorted({time for time in both if time is not None}, key=both.index)


def read_time(cell: str) -> ExportTime:
    """What the cell can mean.

    Raises:
        ValueError: blank, or no such time.

    >>> read_time("9/7/2016 23:50:20").readings()
    [datetime.datetime(2016, 9, 7, 23, 50, 20, tzinfo=datetime.timezone.utc)]
    >>> [f"{time:%d %B}" for time in read_time("2-1-2015 10:40").readings()]
    ['01 February', '02 January']
    """
    text = cell.strip()
    if not text:
        raise ValueError("no time")
    if match := _USUAL.fullmatch(text):
        month, day, year, hour, minute, second = map(int, match.groups())
        time = _utc(year, month, day, hour, minute, second)
        if time is None:
            raise ValueError(f"{text!r} is not a time of the form month/day/year hour:minute:second")
        return ExportTime(time, None, usual=True, has_seconds=True)
    if match := _ISO.fullmatch(text):
        time = _utc(*map(int, match.groups()))
        if time is None:
            raise ValueError(f"{text!r} is not a time")
        return ExportTime(time, None, usual=True, has_seconds=True)
    if match := _ODD.fullmatch(text):
        first, second_part, year, hour, minute = (int(part) for part in match.groups()[:5])
        seconds = int(match[6] or 0)
        month_first = _utc(year, first, second_part, hour, minute, seconds)
        day_first = _utc(year, second_part, first, hour, minute, seconds)
        if month_first is not None or day_first is not None:
            return ExportTime(month_first, day_first, usual=False, has_seconds=match[6] is not None)
    raise ValueError(f"{text[:40]!r} is not a time of the form 9/7/2016 23:50:20")


class IdOrder:
    """Judgement ids and the submit times known for certain; tells which of two meanings fits between neighbours."""

    def __init__(self, known: Iterable[tuple[int, datetime]]) -> None:
        pairs = sorted(known)
        self._ids = [judgement for judgement, _ in pairs]
        self._times = [time for _, time in pairs]

    def choose(self, judgement: int | None, readings: list[datetime]) -> datetime:
        """The one meaning that fits.

        Raises:
            ValueError: none fits, or more than one does.
        """
        if judgement is None or not self._ids:
            fitting = readings
        else:
            at = bisect_left(self._ids, judgement)
            earliest = self._times[at - 1] - ID_ORDER_SLACK if at > 0 else None
            latest = self._times[at] + ID_ORDER_SLACK if at < len(self._times) else None
            fitting = [
                time
                for time in readings
                if (earliest is None or time >= earliest) and (latest is None or time <= latest)
            ]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise ValueError("the time contradicts the judgements numbered before and after it")
        raise ValueError("month and day cannot be told apart, and the judgements numbered around it do not decide")


def proves_day_first(cell: str) -> bool | None:
    """True: in the usual form only with the day first; False: only with the month first; None: no proof.

    >>> [proves_day_first(f"{date}/2016 10:00:00") for date in ("13/2", "2/13", "2/3")]
    [True, False, None]
    """
    match = _USUAL.fullmatch(cell.strip())
    if match is None:
        return None
    first, second = int(match[1]), int(match[2])
    if first > 12 >= second:
        return True
    return False if second > 12 >= first else None


def _utc(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime | None:
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
