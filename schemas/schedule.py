"""When a rule may wake people, and which rhythm its metric has."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = r"([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00"


def parse_clock(value: object) -> int:
    """Minutes since midnight.

    Raises:
        ValueError: not a time of day.

    >>> parse_clock("22:30"), parse_clock("24:00")
    (1350, 1440)
    """
    if not isinstance(value, str) or not re.fullmatch(_CLOCK, value, re.ASCII):
        raise ValueError("must be a time of day from 00:00 to 24:00, such as 22:30")
    hours, minutes = value.split(":")
    return 60 * int(hours) + int(minutes)


ClockTime = Annotated[
    int,
    PlainValidator(parse_clock),
    PlainSerializer(lambda minutes: f"{minutes // 60:02d}:{minutes % 60:02d}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK})$"}),
]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there; a path; a folder of zones
        raise ValueError(f"no time zone {name!r}; write one such as UTC or Europe/Berlin") from None
    return name


class QuietHours(BaseModel):
    """Hours on the clock of the schedule's time zone; across midnight where ``to`` is not after ``from``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    from_minute: Annotated[ClockTime, Field(alias="from")]
    to_minute: Annotated[ClockTime, Field(alias="to")]
    days: Annotated[tuple[Day, ...], Field(strict=False, min_length=1, max_length=7)] = DAYS
    """Days on which they begin."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.from_minute in (self.to_minute, 1_440):
            raise ValueError("quiet hours end when they begin; write from 00:00 to 24:00 for whole days")
        return self

    def hold(self, local: datetime) -> bool:
        """Whether they hold at a time on the schedule's clock."""
        minute, today = 60 * local.hour + local.minute, local.weekday()
        if self.from_minute < self.to_minute:
            return DAYS[today] in self.days and self.from_minute <= minute < self.to_minute
        began_today = minute >= self.from_minute and DAYS[today] in self.days
        return began_today or (minute < self.to_minute and DAYS[today - 1] in self.days)


class Schedule(BaseModel):
    """Quiet hours, in which alerts are found and kept but nobody is woken; and seasonality.

    Hours are those that a clock on the wall shows. When clocks are put back, an hour that comes twice is quiet twice;
    when they are put forward, quiet hours that would begin in the missing hour begin at its end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = "UTC"
    quiet_hours: Annotated[tuple[QuietHours, ...], Field(strict=False, max_length=20)] = ()
    seasonality: Literal["none", "hour_of_week"] | None = None
    """Whether every hour of the week (of the time zone) has a level of its own. Left out: as the method has it."""

    def is_quiet(self, at: datetime) -> bool:
        """Whether nobody is to be woken at a time (aware).

        >>> night = Schedule.model_validate(
        ...     {"time_zone": "Europe/Berlin", "quiet_hours": [{"from": "22:00", "to": "06:00"}]}
        ... )
        >>> [night.is_quiet(datetime(2026, 7, 1, hour, tzinfo=UTC)) for hour in (19, 20, 3, 4)]
        [False, True, True, False]
        """
        if not self.quiet_hours:
            return False
        local = at.astimezone(UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone))
        return any(hours.hold(local) for hours in self.quiet_hours)
