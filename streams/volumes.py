"""How much comes in a day, by segment: what delays and budgets are worked out from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detectors.metrics_registry import METRICS, Metric
from schemas.events import Id
from schemas.scope import Scope
from schemas.thresholds import Rule

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

MAX_FILE_BYTES: Final = 20_000_000
HOURS_PER_DAY: Final = 24.0
_Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class VolumesError(Exception):
    """The volumes cannot be used; the message says which file, and why."""


class SegmentVolume(BaseModel):
    """What came from one segment in a day, or in as many hours as `Volumes` say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    project_id: Id
    task_type: Id
    vendor_id: Id
    labelers: Annotated[int, Field(ge=1)] = 1
    answers: _Count = 0
    """Annotations, and of them those that arrived late."""
    late: _Count = 0
    free: _Count = 0
    """Answers that are free text or spans: no two need be alike."""
    golds: _Count = 0
    golds_right: _Count = 0
    compared: _Count = 0
    """Answers to tasks that had a consensus, and those that agreed with it."""
    agreed: _Count = 0
    forecasts: _Count = 0
    """Answers with a forecast interval of handling time, and what became of it."""
    covered_90: _Count = 0
    too_fast: _Count = 0
    too_slow: _Count = 0
    reviews: _Count = 0
    rejected: _Count = 0


class Volumes(BaseModel):
    """What came from every segment, in a day unless said otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = "the volumes file"
    """Where this is from, in words."""
    is_real: bool = True
    """False: assumed, so that nothing can be said about names."""
    hours: Annotated[float, Field(ge=1, le=24 * 366)] = HOURS_PER_DAY
    """In how many hours it came."""
    segments: Annotated[list[SegmentVolume], Field(min_length=1)]

    def of_scope(self, scope: Scope) -> list[SegmentVolume]:
        """The segments that a scope watches."""
        return [one for one in self.segments if scope.matches(one.model_dump(include=_FIELDS))]

    def names(self, field: str) -> set[str]:
        """Every project, task type or vendor there is."""
        return {str(getattr(segment, field)) for segment in self.segments}


_FIELDS: Final = {"project_id", "task_type", "vendor_id"}


class RuleVolume(NamedTuple):
    """What a rule has to work with."""

    scopes: int
    values_per_week: float
    """Of all scopes together."""
    busiest: str
    """Name of the scope with most."""
    busiest_per_minute: float
    typical_per_minute: float
    """Of the scope in the middle."""
    measured: float | None
    """The metric over all scopes now, where it is a share of what is counted."""


def rule_volume(rule: Rule, volumes: Volumes) -> RuleVolume | None:
    """What of the volumes is the rule's; None where it watches nothing.

    The labelers of a segment are taken to do equal shares.
    """
    metric = METRICS[rule.metric]
    _, ones = metric.columns or ("", "")
    scopes: dict[tuple[str, ...], float] = {}
    total, right, of_labelers = 0.0, 0.0, 0
    for segment in volumes.of_scope(rule.scope):
        fields = segment.model_dump()
        count = _counted(metric, fields) * HOURS_PER_DAY / volumes.hours
        total, right = total + count, right + float(fields.get(ones, 0)) * HOURS_PER_DAY / volumes.hours
        if rule.scope.kind == "labeler":
            of_labelers += segment.labelers
            key = rule.scope.key({**{name: str(fields[name]) for name in _FIELDS}, "labeler_id": segment.vendor_id})
            scopes[key] = max(scopes.get(key, 0.0), count / segment.labelers)
        else:
            key = rule.scope.key({name: str(fields[name]) for name in _FIELDS})
            scopes[key] = scopes.get(key, 0.0) + count
    if not scopes:
        return None
    number = of_labelers if rule.scope.kind == "labeler" else len(scopes)
    if metric.counted in ("hours", "minutes"):
        per_minute = 1.0 if metric.counted == "minutes" else 1.0 / 60.0
        scopes = dict.fromkeys(scopes, per_minute * 1_440)
        total = number * per_minute * 1_440
    busiest = max(scopes, key=lambda key: (scopes[key], key))
    name = " / ".join(busiest) or ("everything" if rule.scope.where is None else rule.scope.text)
    return RuleVolume(
        scopes=number,
        values_per_week=7 * total,
        busiest=f"a labeler of {name}" if rule.scope.kind == "labeler" else name,
        busiest_per_minute=scopes[busiest] / 1_440,
        typical_per_minute=sorted(scopes.values())[len(scopes) // 2] / 1_440,
        measured=right / total if ones in SegmentVolume.model_fields and total else None,
    )


def _counted(metric: Metric, fields: Mapping[str, Any]) -> float:
    """How many values of a metric a segment gave."""
    if metric.name == "repeated_answer_share":
        return float(fields["free"])
    if metric.name == "constant_answer_share":  # pairs of the others, which do not overlap
        return max(float(fields["answers"] - fields["free"]), 0.0) / 2.0
    counted = metric.columns[0] if metric.columns else "answers"
    return float(fields.get(counted, fields["answers"]))


def unknown_names(scope: Scope, volumes: Volumes, declared_projects: set[str]) -> Iterator[tuple[str, str, set[str]]]:
    """Names in a scope's expression that nobody has seen: field, name, and the names there are."""
    for field, name in scope.names():
        known = volumes.names(field) | (declared_projects if field == "project_id" else set())
        if name not in known:
            yield field, name, known


def read_volumes(path: Path) -> Volumes:
    """Volumes from a JSON file: ``{"segments": [{"project_id": ..., "golds": 900, ...}]}``, perhaps with ``hours``.

    Raises:
        VolumesError: it cannot be read, or is not of that form.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise VolumesError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise VolumesError(f"{path}: is larger than {MAX_FILE_BYTES // 1_000_000} MB")
    try:
        return Volumes.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise VolumesError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from None


def assumed_volumes() -> Volumes:
    """A middling operation, where nothing better is known: 5 segments, 40 labelers and 9,000 answers a day each."""
    share = {"golds": 900, "golds_right": 828, "compared": 6_000, "agreed": 5_100, "forecasts": 9_000}
    share |= {"covered_90": 8_100, "too_fast": 225, "too_slow": 225, "reviews": 450, "rejected": 36, "late": 90}
    segments = [
        SegmentVolume(
            project_id="assumed", task_type=f"type-{n}", vendor_id="assumed", labelers=40, answers=9_000, **share
        )
        for n in range(1, 6)
    ]
    return Volumes(source="assumed volumes", is_real=False, segments=segments)


_LATEST: Final = "SELECT toUnixTimestamp64Milli(max(window_start)) FROM window_partials"
_FIRST: Final = "SELECT toUnixTimestamp64Milli(min(submitted_at)) FROM annotation_scores"
_SEGMENTS: Final = """
SELECT
    project_id,
    task_type,
    vendor_id,
    toUInt64(uniq(labeler_id)) AS labelers,
    count() AS answers,
    countIf(is_late) AS late,
    countIf(label_kind IN ('text', 'span')) AS free,
    countIf(isNotNull(gold_correct)) AS golds,
    countIf(ifNull(gold_correct, false)) AS golds_right,
    countIf(isNotNull(agrees_with_consensus)) AS compared,
    countIf(ifNull(agrees_with_consensus, false)) AS agreed,
    countIf(isNotNull(handling_high_90)) AS forecasts,
    countIf(handling_seconds BETWEEN handling_low_90 AND handling_high_90) AS covered_90,
    countIf(ifNull(is_too_fast, false)) AS too_fast,
    countIf(ifNull(is_too_slow, false)) AS too_slow
FROM annotation_scores_current
WHERE submitted_at > fromUnixTimestamp64Milli({from_ms:Int64})
    AND submitted_at <= fromUnixTimestamp64Milli({to_ms:Int64})
GROUP BY project_id, task_type, vendor_id
ORDER BY project_id, task_type, vendor_id
"""
#: Reviews name a task and a labeler; the segment is that of the answer, given in the week before.
_REVIEWS: Final = """
SELECT project_id, task_type, vendor_id, count() AS reviews, countIf(NOT accepted) AS rejected
FROM
(
    SELECT project_id, task_id, labeler_id, assumeNotNull(accepted) AS accepted
    FROM reviews_current
    WHERE reviewed_at > fromUnixTimestamp64Milli({from_ms:Int64})
        AND reviewed_at <= fromUnixTimestamp64Milli({to_ms:Int64}) AND isNotNull(accepted)
) AS verdicts
INNER JOIN
(
    SELECT project_id, task_id, labeler_id, any(task_type) AS task_type, any(vendor_id) AS vendor_id
    FROM annotation_scores_current
    WHERE submitted_at > fromUnixTimestamp64Milli({from_ms:Int64} - 6 * 86400000)
    GROUP BY project_id, task_id, labeler_id
) AS answers USING (project_id, task_id, labeler_id)
GROUP BY project_id, task_type, vendor_id
"""
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS


def stored_volumes(client: Client) -> Volumes | None:
    """The latest 24 hours that ClickHouse has, or as many as there are, at least one; None where it has nothing."""
    latest = client.query(_LATEST).result_rows[0][0]
    if not latest:
        return None
    to_ms = int(latest) + 60_000
    parameters = {"from_ms": to_ms - _DAY_MS, "to_ms": to_ms}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for statement in (_SEGMENTS, _REVIEWS):
        result = client.query(statement, parameters=parameters)
        for values in result.result_rows:
            row = dict(zip(result.column_names, values, strict=True))
            segment = row["project_id"], row["task_type"], row["vendor_id"]
            found[segment] = found.get(segment, {}) | row
    if not found:
        return None
    first = client.query(_FIRST).result_rows[0][0]
    hours = min(max((to_ms - int(first)) / _HOUR_MS, 1.0), HOURS_PER_DAY)
    until = datetime.fromtimestamp(to_ms / 1_000, UTC)
    segments = [SegmentVolume.model_validate(row) for row in found.values()]
    span = "hour" if hours == 1 else f"{hours:.3g} hours"
    source = f"ClickHouse, the {span} until {until:%Y-%m-%d %H:%M} UTC"
    return Volumes(source=source, hours=hours, segments=segments)
