"""Alerts of a backtest held against incidents that are known to have happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from detectors import incident_match
from schemas.incident import Incident
from schemas.times import to_ms
from streams.backtest.backtest import Backtest, Ran
from streams.backtest.fired import Fired


class Found(NamedTuple):
    """An incident, and the alerts about it that people were told of."""

    incident: Incident
    alerts: tuple[Fired, ...]
    """The first told one first."""
    delay_ms: int | None
    """From its start until people were first told; None: missed."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How good the alerts of some rules were. Those that nobody was told of do not count."""

    found: tuple[Found, ...]
    """Of each incident that began within the time that was looked at."""
    outside: int
    """Incidents that did not, and are not judged; alerts may be about them all the same."""
    told: int
    """Alerts that people were told of."""
    false: tuple[Fired, ...]
    """Those about no incident."""

    @property
    def precision(self) -> float | None:
        """Share of alerts that are about an incident; None without alerts."""
        return 1.0 - len(self.false) / self.told if self.told else None

    @property
    def recall(self) -> float | None:
        """Share of incidents that were found; None without incidents."""
        return sum(one.delay_ms is not None for one in self.found) / len(self.found) if self.found else None

    @property
    def delay_ms(self) -> float | None:
        """The median over incidents that were found."""
        delays = [one.delay_ms for one in self.found if one.delay_ms is not None]
        return float(median(delays)) if delays else None


def score(result: Backtest, ran: Ran, incidents: Sequence[Incident]) -> Scores:
    """Hold what came of some rules against incidents."""
    alerts = [one for one in ran.fired if one.told_ms is not None]
    matched = incident_match.match(
        [
            incident_match.Fired(one.key.rule, one.alert.rule.metric, one.alert.scope, one.told_ms or 0)
            for one in alerts
        ],
        incidents,
        segments=result.segments,
    )
    found = tuple(
        Found(incident, tuple(alerts[number] for number in numbers), delay_ms)
        for incident, numbers, delay_ms in zip(incidents, matched.of_incident, matched.delays_ms, strict=True)
        if result.span.since_ms <= to_ms(incident.start) < result.end_ms
    )
    false = tuple(alerts[number] for number in matched.false)
    return Scores(found, len(incidents) - len(found), len(alerts), false)
