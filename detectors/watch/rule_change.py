"""What of a rule may change while it goes on: whatever says how people are told, and not what is found."""

from __future__ import annotations

from typing import Final

from schemas.thresholds import Rule

#: Fields that do not concern detection. Of ``schedule`` only the time zone does, and only where hours have a season.
TELLING: Final = (
    "severity",
    "labels",
    "runbook",
    "for_seconds",
    "resolve_after_seconds",
    "no_data",
    "schedule",
)


def finds_the_same(rule: Rule, other: Rule) -> bool:
    """Whether what a rule has learned and found holds for another one of its name, too.

    >>> rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy"})
    >>> [finds_the_same(rule, rule.model_copy(update=change)) for change in ({"severity": "critical"}, {"level": 0.9})]
    [True, False]
    """
    if rule.method == "seasonal" and rule.schedule.time_zone != other.schedule.time_zone:
        return False
    return rule.model_copy(update={name: getattr(other, name) for name in TELLING}) == other
