"""Which alerts belong to which incidents, and what that makes of precision, recall and delay.

An alert belongs to an incident if it was told between the incident's start and a grace time after its end, its scope
and the work that was hit have something in common, and its metric can show what happened. It may belong to several.
What belongs to none is a false alert.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from schemas.incident import Incident, Kind
from schemas.measurements import Segment
from schemas.scope import SEGMENT_FIELDS, parse_scope
from schemas.thresholds import MetricName
from schemas.times import to_ms
from schemas.verdicts import VerdictScope

#: Hourly metrics are known an hour late, golds of a task come in over half an hour, and rules may wait (``for``).
GRACE_MS: Final = 2 * 3_600_000
#: Reviews are of answers given hours before: so long after an incident they may still tell of it first.
LATE_BY_NATURE_MS: Final[Mapping[MetricName, int]] = {"reviewer_reject_rate": 12 * 3_600_000}

_QUALITY: Final[frozenset[MetricName]] = frozenset(
    {
        "gold_accuracy", "consensus_agreement", "krippendorff_alpha", "mean_confidence", "calibration_error",
        "reviewer_reject_rate", "label_distance_own", "label_distance_peers",
    }
)  # fmt: skip
_TIME: Final[frozenset[MetricName]] = frozenset(
    {"aht_seconds", "forecast_error", "interval_coverage_90", "too_fast_share", "too_slow_share", "volume"}
)
_HABIT: Final[frozenset[MetricName]] = frozenset({"constant_answer_share", "repeated_answer_share"})
#: Kind of incident to the metrics that can show it; those of kind other may be shown by any.
SHOWN_BY: Final[Mapping[Kind, frozenset[MetricName]]] = {
    "labelers": _QUALITY,
    "vendor": _QUALITY,
    "project": _QUALITY,
    "task_type": _QUALITY,
    "guideline": _QUALITY,
    "speed": _QUALITY | _TIME,
    "constant": _QUALITY | _HABIT,
    "stall": frozenset({"volume", "stall_seconds", "lag_seconds", "late_share"}),
}


class Fired(NamedTuple):
    """An alert, when people were first told of it."""

    rule: str
    metric: MetricName
    scope: VerdictScope
    at_ms: int


class Match(NamedTuple):
    """What belongs together, by positions in what was given."""

    of_incident: tuple[tuple[int, ...], ...]
    """Of each incident its alerts, the first told one first."""
    false: tuple[int, ...]
    """Alerts of no incident, in their order."""
    delays_ms: tuple[int | None, ...]
    """Of each incident, from its start to its first alert; None if it was missed."""
    alerts: int

    @property
    def precision(self) -> float | None:
        """Share of alerts that belong to an incident; None without alerts."""
        return 1.0 - len(self.false) / self.alerts if self.alerts else None

    @property
    def recall(self) -> float | None:
        """Share of incidents that were found; None without incidents."""
        found = sum(delay is not None for delay in self.delays_ms)
        return found / len(self.delays_ms) if self.delays_ms else None


def match(
    alerts: Sequence[Fired],
    incidents: Sequence[Incident],
    grace_ms: int = GRACE_MS,
    segments: Collection[Segment] | None = None,
) -> Match:
    """Which alerts belong to which incidents.

    Args:
        alerts: in any order.
        incidents: in any order.
        grace_ms: how long after its end an alert may still be about an incident; of reviews twelve hours at least.
        segments: those that there are. Then a project and a vendor have work in common only if the vendor works on it.

    >>> truth = Incident(start="2026-01-09T06:00:00Z", end="2026-01-09T10:00:00Z", kind="vendor", vendor_id="acme")
    >>> ms = to_ms(truth.start)
    >>> acme, other = (VerdictScope(kind="vendor", text="vendor", vendor_id=name) for name in ("acme", "other"))
    >>> found = match([Fired("gold", "gold_accuracy", scope, ms + 600_000) for scope in (other, acme)], [truth])
    >>> found.of_incident, found.false, found.delays_ms, found.precision, found.recall
    (((1,),), (0,), (600000,), 0.5, 1.0)
    """
    of_incident = tuple(
        tuple(
            sorted(
                (number for number, alert in enumerate(alerts) if belongs(alert, incident, grace_ms, segments)),
                key=lambda number: (alerts[number].at_ms, number),
            )
        )
        for incident in incidents
    )
    explained = {number for numbers in of_incident for number in numbers}
    delays = tuple(
        alerts[numbers[0]].at_ms - to_ms(incident.start) if numbers else None
        for incident, numbers in zip(incidents, of_incident, strict=True)
    )
    false = tuple(number for number in range(len(alerts)) if number not in explained)
    return Match(of_incident, false, delays, len(alerts))


def belongs(
    alert: Fired, incident: Incident, grace_ms: int = GRACE_MS, segments: Collection[Segment] | None = None
) -> bool:
    """Whether an alert is about an incident; see `match`."""
    grace_ms = max(grace_ms, LATE_BY_NATURE_MS.get(alert.metric, 0))
    if not to_ms(incident.start) <= alert.at_ms <= to_ms(incident.end) + grace_ms:
        return False
    shown_by = SHOWN_BY.get(incident.kind)
    if shown_by is not None and alert.metric not in shown_by:
        return False
    scope = alert.scope
    if scope.labeler_id and incident.labeler_ids and scope.labeler_id not in incident.labeler_ids:
        return False
    hit = {name: str(getattr(incident, name)) for name in SEGMENT_FIELDS}
    if segments is None:
        both = {name: str(getattr(scope, name)) or value for name, value in hit.items()}
        return all(value in ("", both[name]) for name, value in hit.items()) and _may_match(scope, both)
    return any(
        all(value in ("", hit[name] or value) for name, value in fields.items()) and holds(scope, fields)
        for fields in (dict(zip(SEGMENT_FIELDS, segment, strict=True)) for segment in segments)
    )


def holds(scope: VerdictScope, segment: Mapping[str, str]) -> bool:
    """Whether a segment is part of a scope."""
    return all(getattr(scope, name) in ("", value) for name, value in segment.items()) and parse_scope(
        scope.text
    ).matches(segment)


def _may_match(scope: VerdictScope, fields: Mapping[str, str]) -> bool:
    """Whether the scope's expression may hold of fields, of which the empty ones are not known."""
    parsed = parse_scope(scope.text)
    return not all(fields[name] for name, _ in parsed.names()) or parsed.matches(fields)
