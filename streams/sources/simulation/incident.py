"""Incidents: what goes wrong, when, for whom and how badly. One table says what each type needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, model_validator

from schemas.times import parse_utc

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(value: object) -> timedelta:
    """Days, hours, minutes and seconds as people write them.

    Raises:
        ValueError: anything else, with what to write instead.

    >>> parse_duration("1d2h30m")
    datetime.timedelta(days=1, seconds=9000)
    >>> parse_duration(90)
    Traceback (most recent call last):
    ...
    ValueError: not a duration: 90; write days, hours, minutes and seconds such as 1d2h, 90m or 45s
    """
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.replace(" ", ""))
        if match and any(match.groups()):
            days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
            return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    raise ValueError(f"not a duration: {value!r}; write days, hours, minutes and seconds such as 1d2h, 90m or 45s")


def _parse_moment(value: object) -> datetime | timedelta:
    """A time with a zone, or a duration after the scenario's start."""
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value):
        return parse_utc(value)
    return parse_duration(value)


Duration = Annotated[timedelta, PlainValidator(parse_duration)]
Moment = Annotated[datetime | timedelta, PlainValidator(_parse_moment)]


class Spec(BaseModel):
    """Base of everything a scenario's YAML may hold: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IncidentType(StrEnum):
    """What can go wrong."""

    SPAMMER_WAVE = "spammer_wave"
    GUIDELINE_CHANGE = "guideline_change"
    VENDOR_DEGRADATION = "vendor_degradation"
    SPEEDING_BOTS = "speeding_bots"
    HANDLING_TIME_DRIFT = "handling_time_drift"
    MISSING_CLASS = "missing_class"
    INGESTION_STALL = "ingestion_stall"


@dataclass(frozen=True, slots=True)
class Rule:
    """What one incident type needs. ``strength`` is (default, lowest, highest)."""

    needs: frozenset[str]
    allows: frozenset[str]
    strength: tuple[float, float, float]
    classes: int = 0


RULES: Final[dict[IncidentType, Rule]] = {
    # strength: share of answers that are spam
    IncidentType.SPAMMER_WAVE: Rule(
        frozenset({"labelers"}), frozenset({"project", "vendor", "labelers", "new"}), (1.0, 0.05, 1.0)
    ),
    # strength: share of the project's labelers that follow the changed guideline
    IncidentType.GUIDELINE_CHANGE: Rule(
        frozenset({"project"}), frozenset({"project", "vendor"}), (1.0, 0.05, 1.0), classes=2
    ),
    # strength: accuracy lost, .15 being fifteen points
    IncidentType.VENDOR_DEGRADATION: Rule(frozenset({"vendor"}), frozenset({"vendor", "project"}), (0.15, 0.01, 0.5)),
    # strength: accuracy of the bots' answers
    IncidentType.SPEEDING_BOTS: Rule(
        frozenset({"labelers"}), frozenset({"project", "vendor", "labelers", "new"}), (0.4, 0.0, 1.0)
    ),
    # strength: how much longer work takes, .4 being 40 % longer
    IncidentType.HANDLING_TIME_DRIFT: Rule(frozenset({"project"}), frozenset({"project", "vendor"}), (0.4, 0.01, 10.0)),
    # strength: share of the class's answers that become another
    IncidentType.MISSING_CLASS: Rule(
        frozenset({"project"}), frozenset({"project", "vendor"}), (1.0, 0.05, 1.0), classes=1
    ),
    # strength: share of the target's annotations that are held back
    IncidentType.INGESTION_STALL: Rule(frozenset(), frozenset({"project", "vendor"}), (1.0, 0.05, 1.0)),
}


class Target(Spec):
    """Whom an incident hits. What is left out is not a restriction."""

    project: Name | None = None
    vendor: Name | None = None
    labelers: Annotated[int, Field(ge=1)] | None = None
    """How many labelers go bad."""
    new: bool = False
    """They are newcomers who appear when the incident starts and leave when it ends."""


class Incident(Spec):
    """One thing that goes wrong on purpose."""

    id: Name
    type: IncidentType
    start: Moment
    """After the scenario's start (``1d2h``), or a time with a zone."""
    end: Moment | None = None
    duration: Duration | None = None
    """Neither end nor duration: until the scenario's end."""
    target: Target = Target()
    strength: float | None = Field(default=None, allow_inf_nan=False)
    answers: Literal["random", "constant"] | None = None
    """spammer_wave only: how spam looks (default random)."""
    classes: tuple[str, ...] = ()
    """guideline_change: the two that swap. missing_class: the one that stops."""
    instead: str | None = None
    """missing_class only: what is answered in its place; default the most frequent other class."""

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        rule = RULES[self.type]
        if self.end is not None and self.duration is not None:
            raise ValueError("give end or duration, not both")
        given = {name for name in ("project", "vendor", "labelers") if getattr(self.target, name) is not None}
        given |= {"new"} if self.target.new else set()
        if missing := rule.needs - given:
            raise ValueError(f"target.{min(missing)} is missing: {self.type} needs it")
        if surplus := given - rule.allows:
            raise ValueError(f"target.{min(surplus)} means nothing for {self.type}")
        if self.type is IncidentType.INGESTION_STALL and not given:
            raise ValueError("target.project or target.vendor is missing: a stall holds back one of them")
        if self.target.new and self.target.vendor is None:
            raise ValueError("target.vendor is missing: new labelers belong to a vendor")
        _, low, high = rule.strength
        if self.strength is not None and not low <= self.strength <= high:
            raise ValueError(f"strength {self.strength:g} is outside {low:g} to {high:g} for {self.type}")
        if len(self.classes) != rule.classes or len(set(self.classes)) != rule.classes:
            raise ValueError(f"classes: {self.type} takes {rule.classes} different ones, got {list(self.classes)}")
        if self.answers is not None and self.type is not IncidentType.SPAMMER_WAVE:
            raise ValueError(f"answers means nothing for {self.type}")
        if self.instead is not None and self.type is not IncidentType.MISSING_CLASS:
            raise ValueError(f"instead means nothing for {self.type}")
        return self

    @property
    def effective_strength(self) -> float:
        """The strength given, else the type's default."""
        return RULES[self.type].strength[0] if self.strength is None else self.strength

    def times(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """When it begins and ends in a scenario that runs from ``start`` to ``end``."""
        begins = self.start if isinstance(self.start, datetime) else start + self.start
        if self.duration is not None:
            return begins, begins + self.duration
        if self.end is None:
            return begins, end
        return begins, self.end if isinstance(self.end, datetime) else start + self.end
