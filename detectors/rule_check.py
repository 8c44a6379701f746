"""What is wrong with rules whose shape is right: what does not suit the metric, or contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from detectors.metrics_registry import METRICS, Metric
from schemas.thresholds import Rule, Thresholds

#: Methods that look for a shift in deviations, or for another distribution: a smallest drop says nothing to them.
_WITHOUT_DROP: Final = frozenset({"seasonal", "kswin"})
#: Methods that must be told the level while all is well.
_WITH_LEVEL: Final = frozenset({"cusum"})


class RuleProblem(NamedTuple):
    """One thing wrong: in which rule (counted from 0), in which field as the file calls it, and why."""

    rule: int
    field: str
    reason: str


def problems(thresholds: Thresholds) -> Iterator[RuleProblem]:
    """Everything wrong, rule by rule; nothing where all may run.

    >>> rule = {"name": "speed", "metric": "aht_seconds", "method": "e_sr"}
    >>> for problem in problems(Thresholds.model_validate({"version": 1, "rules": [rule]})):
    ...     print(problem.field, "-", problem.reason)
    method - e_sr does not suit aht_seconds; take seasonal, fixed or kswin
    """
    seen: dict[str, int] = {}
    for number, (rule, written) in enumerate(zip(thresholds.rules, thresholds.written, strict=True)):
        if rule.name in seen:
            yield RuleProblem(number, "name", f"{rule.name} is the name of another rule; names must differ")
        seen[rule.name] = number
        metric = METRICS[rule.metric]
        for field, reason in (*_suits(rule, metric), *_numbers(rule, metric), *_needless(rule, metric, written)):
            yield RuleProblem(number, field, reason)


def smallest_drop(rule: Rule) -> float | None:
    """The rule's own, else the metric's."""
    return rule.smallest_drop if rule.smallest_drop is not None else METRICS[rule.metric].smallest_drop


def directions(rule: Rule) -> tuple[str, ...]:
    """Which ways are bad: one, or two."""
    bad = rule.direction or METRICS[rule.metric].bad
    return ("down", "up") if bad == "both" else (bad,)


def _suits(rule: Rule, metric: Metric) -> Iterator[tuple[str, str]]:
    if rule.method not in metric.suits:
        yield "method", f"{rule.method} does not suit {metric.name}; take {_either(metric.suits)}"
    if rule.scope.kind not in metric.scopes:
        yield "scope", f"{metric.name} is not measured of each {rule.scope.kind}; take {_either(metric.scopes)}"
    if rule.method == "e_sparse" and rule.scope.kind == "labeler":
        yield "scope", "e_sparse looks for a few of many labelers; take segment, project or another scope of many"
    if rule.scope.where is not None and metric.scopes == ("all",):
        yield "scope", f"{metric.name} is not measured by segment; write all"


def _numbers(rule: Rule, metric: Metric) -> Iterator[tuple[str, str]]:
    low, high = metric.low, metric.high
    if rule.level is not None:
        if _has_level(rule, metric) and not low < rule.level < high:
            yield "level", f"must be above {low:g} and below {high:g}, not {rule.level:g}"
    elif rule.method in _WITH_LEVEL and not metric.is_promised:
        yield (
            "level",
            f"{rule.method} must be told the level while all is well; state it, or take e_sr, which learns it",
        )
    elif rule.method == "e_sr_guaranteed" and metric.law == "scores":
        yield "level", f"e_sr_guaranteed on {metric.name} must be told the level while all is well"
    if rule.method == "fixed":
        yield from _fixed(rule, metric)
    drop = smallest_drop(rule)
    if drop is None or metric.law == "numbers" or rule.method in (*_WITHOUT_DROP, "fixed"):
        return
    level = rule.level if rule.level is not None else metric.level
    for direction in directions(rule):
        if (
            level is not None
            and low < level < high
            and not low < (level - drop if direction == "down" else level + drop) < high
        ):
            known = "its level" if rule.level is not None else "the usual level"
            yield "smallest_drop", f"{drop:g} {direction} from {known} of {level:g} is not between {low:g} and {high:g}"


def _fixed(rule: Rule, metric: Metric) -> Iterator[tuple[str, str]]:
    if rule.min_count == 0:
        yield "min_count", f"method fixed takes the mean of so many {metric.counted}; state how many (1 or more)"
    if rule.limit is None:
        if metric.law != "answers":
            yield "limit", f"method fixed on {metric.name} needs a limit, in {metric.unit}"
    elif not metric.low <= rule.limit <= metric.high:
        yield "limit", f"must be from {metric.low:g} to {metric.high:g}, not {rule.limit:g}"
    elif len(directions(rule)) > 1:
        yield "direction", "a limit has one bad side; write down or up"


def _has_level(rule: Rule, metric: Metric) -> bool:
    """Whether a stated level says anything to the rule's method."""
    if rule.method == "fixed":
        return metric.law == "answers"
    return metric.law != "numbers" and rule.method not in _WITHOUT_DROP


def _needless(rule: Rule, metric: Metric, written: Rule) -> Iterator[tuple[str, str]]:
    """What the rule itself says without effect; what ``defaults`` say need not suit every rule."""
    said = {name for name in written.model_fields_set if getattr(written, name) is not None}
    if "smallest_drop" in said and rule.method in _WITHOUT_DROP:
        yield "smallest_drop", f"{rule.method} looks for unusual deviations, whatever their size; leave it out"
    if "smallest_drop" in said and rule.method == "fixed":
        yield "smallest_drop", "method fixed looks at its limit only; leave it out"
    if "level" in said and not _has_level(rule, metric):
        does = "looks at its limit only" if rule.method == "fixed" else "learns the level"
        yield "level", f"{rule.method} on {metric.name} {does}; leave it out"
    if "limit" in said and rule.method != "fixed":
        yield "limit", f"is for method fixed, not {rule.method}"
    if "min_count" in said and rule.min_count and rule.method == "kswin":
        yield "min_count", "kswin waits until its window is full, which has a length of its own; leave it out"
    if "no_data" in said and rule.no_data != "keep" and metric.source == "minutes":
        yield "no_data", f"{metric.name} has a value every minute, also while nothing comes in; leave it out"
    if "schedule" not in said:
        return
    if rule.method == "seasonal" and rule.schedule.seasonality == "none":
        yield "schedule", "the seasonal method is all about the hour of the week; leave out seasonality: none"
    if rule.method != "seasonal" and rule.schedule.seasonality == "hour_of_week":
        yield "schedule", f"seasonality is for method seasonal, not {rule.method}"


def _either(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
