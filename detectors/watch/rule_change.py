"""What of a rule may change while it goes on: how people are told, and how sure it must be. Not what is looked for."""

from __future__ import annotations

from typing import Final

from schemas.thresholds import Rule

#: How much evidence is asked for: what was gathered so far counts on.
BUDGET: Final = "false_alarms_per_week"
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


def looks_for_the_same(rule: Rule, other: Rule) -> bool:
    """Whether what a rule has learned and found holds for another one of its name, too.

    >>> rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy"})
    >>> changes = {"severity": "critical"}, {"false_alarms_per_week": 0.5}, {"level": 0.9}
    >>> [looks_for_the_same(rule, rule.model_copy(update=change)) for change in changes]
    [True, True, False]
    """
    if rule.method == "seasonal" and rule.schedule.time_zone != other.schedule.time_zone:
        return False
    return rule.model_copy(update={name: getattr(other, name) for name in (*TELLING, BUDGET)}) == other
