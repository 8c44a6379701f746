"""When quiet hours end."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from schemas.schedule import Schedule

_MINUTE_MS: Final = 60_000
#: A week of minutes, and a day: a schedule that is quiet for longer is quiet for ever.
_MOST_MINUTES: Final = 8 * 1_440


def is_quiet(schedule: Schedule, at_ms: int) -> bool:
    """Whether nobody is to be woken then."""
    return bool(schedule.quiet_hours) and schedule.is_quiet(_moment(at_ms))


def quiet_until_ms(schedule: Schedule, at_ms: int) -> int | None:
    """The first whole minute at or after ``at_ms`` that is not quiet; None if there is none within eight days.

    >>> night = Schedule.model_validate({"quiet_hours": [{"from": "22:00", "to": "06:00"}]})
    >>> quiet_until_ms(night, 23 * 3_600_000) == 30 * 3_600_000
    True
    """
    first = -(-at_ms // _MINUTE_MS)
    return _search(schedule.model_dump_json(by_alias=True), first)


@lru_cache(maxsize=1_024)
def _search(text: str, first: int) -> int | None:
    schedule = Schedule.model_validate_json(text)
    for minute in range(first, first + _MOST_MINUTES):
        if not schedule.is_quiet(_moment(minute * _MINUTE_MS)):
            return minute * _MINUTE_MS
    return None


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
