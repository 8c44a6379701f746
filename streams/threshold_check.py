"""What a file of rules will mean: how soon each sees what, and how often it will be wrong, in figures and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from detectors.change.seasonal import Seasonal
from detectors.metrics_registry import METRICS
from detectors.rule_check import smallest_drop
from detectors.rule_method import (
    MOST_OF_FEW,
    MOST_VALUES,
    CannotPlanError,
    Delay,
    Detecting,
    Level,
    detecting,
    expected_delay,
    level_of,
    seasonal_delay,
)
from schemas.duration import format_duration
from schemas.thresholds import Rule
from streams.volumes import RuleVolume, Volumes, rule_volume, unknown_names

#: Thresholds and delays are simulated from this seed: the same file and volumes give the same report.
SEED: Final = 0
HOUR_SECONDS: Final = 3_600.0
#: A scope that needs longer to see a drop is said to be hopeless.
_LONG_SECONDS: Final = 7 * 86_400.0


@dataclass(slots=True)
class RuleReport:
    """What is to be expected of one rule. Delays are of the smallest drop, from its beginning."""

    name: str
    line: int
    metric: str
    scope: str
    method: str
    scopes: int = 0
    values_per_week: float = 0.0
    level: float | None = None
    level_from: str = ""
    """stated, measured, or usual; empty where the method needs none."""
    false_alarms_per_week: float | None = None
    """At most; None where it is a plain limit on something that nothing is known of."""
    delay_values: float | None = None
    delay_values_p90: float | None = None
    delay_seconds: float | None = None
    """In the scope with most volume, ``for`` and the closing of hours included."""
    delay_seconds_typical: float | None = None
    """In the scope in the middle."""
    will_run: bool = True
    """False where it cannot keep its budget at these volumes, or watches nothing."""
    words: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_object(self) -> dict[str, Any]:
        """For JSON: what is infinite is null."""
        return {
            name: None if isinstance(value, float) and math.isinf(value) else value
            for name, value in asdict(self).items()
        }


def check_rule(rule: Rule, line: int, volumes: Volumes, *, late_seconds: float) -> RuleReport:
    """What is to be expected of a rule.

    Args:
        rule: one that was loaded.
        line: where it begins in its file.
        volumes: what comes in.
        late_seconds: how long after its end an hour is closed.
    """
    metric = METRICS[rule.metric]
    report = RuleReport(rule.name, line, rule.metric, rule.scope.text, rule.method)
    volume = rule_volume(rule, volumes)
    if volume is None:
        if volumes.is_real:
            report.warnings.append("its scope selects no segment that there is: it will watch nothing")
            report.will_run = False
        volume = RuleVolume(1, 0.0, rule.scope.text.removeprefix(rule.scope.kind).lstrip(), 0.0, 0.0, None)
    report.scopes, report.values_per_week = volume.scopes, volume.values_per_week
    level = None if metric.law == "numbers" else level_of(rule, volume.measured)
    if level:
        report.level = round(level.value, 4)
        report.level_from = _level_from(rule, level, volume)
    generator = np.random.default_rng(SEED)
    try:
        found = detecting(rule, volume.values_per_week, generator, volume.measured)
    except CannotPlanError as error:
        report.warnings.append(f"will not run at these volumes: {error}")
        report.will_run = False
        return report
    wrong = [volume.values_per_week / one.arl for one in found if one.arl]
    report.false_alarms_per_week = sum(wrong) if wrong else None
    hour_seconds = HOUR_SECONDS + late_seconds if metric.source == "hours" else 0.0
    waits = rule.for_seconds + hour_seconds
    for one in found:
        delay = expected_delay(rule, one, generator, level) if level else None
        if delay:
            report.delay_values, report.delay_values_p90 = delay
        elif isinstance(one.method, Seasonal):
            report.delay_values = seasonal_delay(one.method)
        if report.delay_values:
            report.delay_seconds = _seconds(report.delay_values, volume.busiest_per_minute, waits)
            report.delay_seconds_typical = _seconds(report.delay_values, volume.typical_per_minute, waits)
        report.words.append(_sentence(rule, one, delay, volume, volumes))
    report.words.extend(_later(rule, hour_seconds))
    report.words.append(_budget(rule, report, volumes))
    report.warnings.extend(_warnings(rule, report, volume, metric.counted))
    return report


def unknown_projects(rule: Rule, volumes: Volumes, declared: set[str]) -> Iterator[tuple[bool, str]]:
    """Names in the rule's scope that are in no data: whether that is an error (a project), and what to say."""
    if not volumes.is_real:
        return
    for name, value, known in unknown_names(rule.scope, volumes, declared):
        listed = ", ".join(sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
        more = "; a new one can be declared under `projects` in the settings" if name == "project_id" else ""
        yield name == "project_id", f"{name} {value!r} is in none of the data of {volumes.source} ({listed}){more}"


def _level_from(rule: Rule, level: Level, volume: RuleVolume) -> str:
    if level.is_known:
        return "stated" if rule.level is not None else "promised"
    return "measured" if volume.measured is not None else "usual"


def _seconds(values: float, per_minute: float, waits: float) -> float:
    return 60.0 * values / per_minute + waits if per_minute else math.inf


def _sentence(rule: Rule, found: Detecting, delay: Delay | None, volume: RuleVolume, volumes: Volumes) -> str:
    metric = METRICS[rule.metric]
    what, which = metric.name.replace("_", " "), f"{what_of(rule)}{volume.busiest}"
    if isinstance(found.method, Seasonal):
        change = "fall" if found.direction == "down" else "rise"
        hours = seasonal_delay(found.method)
        return (
            f"a {change} in {what} of {which} by {found.method.shift:g} times its usual deviation is expected to be "
            f"seen after about {_number(hours)} {metric.counted}, once there is a week of history"
        )
    if delay is None:
        if rule.limit is None:
            return f"another distribution of {what} is looked for; how soon it is seen, depends on how it differs"
        side = "below" if found.direction == "down" else "above"
        return (
            f"fires when {what} of {which} is {side} {rule.limit:g} on average over {rule.min_count} {metric.counted}"
        )
    drop = smallest_drop(rule) or 0.0
    change = f"a {'drop' if found.direction == 'down' else 'rise'} of {_number(100 * drop)} points in {what}"
    which = f"a fifth of the labelers of {which}" if rule.method == "e_sparse" else which
    if math.isinf(delay.median):
        return f"{change} of {which} will mostly not be seen within {_horizon(rule)} {metric.counted}"
    seen = f"{change} of {which} is expected to be seen after about {_number(delay.median)} {metric.counted}"
    if math.isinf(delay.most):
        seen += f" ({_horizon(rule)} are not enough in more than one case of ten)"
    if not volume.busiest_per_minute:
        return f"{seen}, of which there were none"
    minutes = delay.median / volume.busiest_per_minute
    pace = "today's" if volumes.is_real else "an assumed"
    return f"{seen}: {_time(60 * minutes)} at {pace} {_rate(volume.busiest_per_minute, metric.counted)}"


def _horizon(rule: Rule) -> str:
    return f"{MOST_OF_FEW if rule.method == 'e_sparse' else MOST_VALUES:,}"


def what_of(rule: Rule) -> str:
    """What comes before a scope's name.

    >>> what_of(Rule.model_validate({"name": "a", "metric": "gold_accuracy"}))
    'segment '
    """
    return "" if rule.scope.kind in ("labeler", "all") else f"{rule.scope.kind.replace('_', ' ')} "


def _later(rule: Rule, hour_seconds: float) -> Iterator[str]:
    if hour_seconds:
        yield f"up to {_time(hour_seconds)} more until the first whole hour after it began is closed"
    if rule.for_seconds:
        yield f"and {format_duration(rule.for_seconds)} more until it has lasted long enough (`for`)"


def _budget(rule: Rule, report: RuleReport, volumes: Volumes) -> str:
    if report.false_alarms_per_week is None:
        return "a plain limit: how often it is crossed is not known beforehand, and no budget holds"
    scopes = f" over {report.scopes:,} scopes" if report.scopes > 1 else ""
    if rule.method == "fixed" and rule.limit is not None:
        return f"about {_number(report.false_alarms_per_week)} false alarms a week{scopes} while nothing changes"
    budget = rule.false_alarms_per_week
    return f"at most {_number(budget)} false alarm{'' if budget == 1 else 's'} a week{scopes}"


def _warnings(rule: Rule, report: RuleReport, volume: RuleVolume, counted: str) -> Iterator[str]:
    wrong, budget = report.false_alarms_per_week, rule.false_alarms_per_week
    if wrong is not None and wrong > 1.05 * budget:
        yield f"expected to be wrong {_number(wrong)} times a week, above its budget of {_number(budget)}"
    typical = report.delay_seconds_typical
    if volume.values_per_week and typical is not None and typical > _LONG_SECONDS and report.scopes > 1:
        rate = _rate(volume.typical_per_minute, counted)
        yield f"the scope in the middle, with {rate}, would need {_time(typical)}"
    if not volume.values_per_week and report.scopes:
        yield f"no {counted} came in: it has nothing to go by"


def _rate(per_minute: float, counted: str) -> str:
    units = ((1, "minute"), (60, "hour"), (1_440, "day"))
    minutes, unit = next((one for one in units if per_minute * one[0] >= 1), units[-1])
    return f"{_number(per_minute * minutes)} {counted} a{'n' if unit == 'hour' else ''} {unit}"


def _time(seconds: float) -> str:
    """In the unit that reads best.

    >>> _time(369), _time(45), _time(8_000), _time(math.inf)
    ('6 minutes', '45 seconds', '2.2 hours', 'for ever')
    """
    if math.isinf(seconds):
        return "for ever"
    units = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((one for one in units if seconds >= 1.5 * one[0]), units[-1])
    amount = seconds / size
    text = f"{amount:.1f}".removesuffix(".0") if size >= 3_600 and amount < 10 else f"{amount:,.0f}"
    return f"{text} {unit}{'' if text == '1' else 's'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
