"""Which detectors a rule runs, at the volume that it meets: planned anew as the volume changes.

A budget in false alarms a week becomes an average run length in values only by how many values come in a week. WATCH
counts them itself, so that a replay plans as it was planned live.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from detectors.metrics_registry import METRICS
from detectors.rule_method import Detecting, detecting
from detectors.sketches import hash64
from schemas.thresholds import Rule

WEEK_MS: Final = 7 * 86_400_000
HOUR_MS: Final = 3_600_000
#: Values a week that are planned for, at least, while a rule has run for less than an hour.
AT_FIRST: Final = 16_384.0
#: Values after which the measured level of all scopes replaces the metric's usual one, for scopes that are new.
KNOWN_LEVEL: Final = 500
#: Levels are rounded to so much, and planned anew when they have moved by more than one and a half of it.
LEVEL_STEP: Final = 0.02

Planner = Callable[[Rule, float, float | None], tuple[Detecting, ...]]
"""From a rule, its values per week and its measured level to its detectors. Raises `CannotPlanError`."""


def plan_rule(rule: Rule, values_per_week: float, measured: float | None) -> tuple[Detecting, ...]:
    """The detectors of a rule; the same arguments give the same ones.

    >>> rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy", "level": 0.92})
    >>> [round(one.arl) for one in plan_rule(rule, 8_192, None)]
    [8192]
    """
    return detecting(rule, values_per_week, np.random.default_rng(hash64(rule.name)), measured)


class Volume:
    """How many values a rule meets in a week, and their level: sums that fade with a week's time constant.

    >>> volume = Volume()
    >>> for minute in range(600):
    ...     volume.add(1.0, minute * 60_000)
    >>> volume.needed(36_000_000), round(volume.per_week(36_000_000))
    (16384.0, 10050)
    """

    __slots__ = ("_at_ms", "_first_ms", "_seen", "_total")

    def __init__(self, state: list[float] | None = None) -> None:
        self._seen, self._total, self._first_ms, self._at_ms = state or [0.0, 0.0, -1, 0]

    def add(self, value: float, at_ms: int) -> None:
        """Count one value."""
        if self._first_ms < 0:
            self._first_ms = self._at_ms = at_ms
        elif at_ms - self._at_ms >= HOUR_MS:
            fade = math.exp((self._at_ms - at_ms) / WEEK_MS)
            self._seen *= fade
            self._total *= fade
            self._at_ms = at_ms
        self._seen += 1.0
        self._total += value

    def per_week(self, now_ms: int) -> float:
        """Values a week; of less than an hour as if they had come in one."""
        elapsed = max(now_ms - self._first_ms, HOUR_MS)
        counted = WEEK_MS * -math.expm1(-elapsed / WEEK_MS)
        return self._seen * math.exp(min(self._at_ms - now_ms, 0) / WEEK_MS) * WEEK_MS / counted

    def needed(self, now_ms: int) -> float:
        """The volume to plan for: values a week, up to the next power of two, so that plans change seldom."""
        is_known = self._first_ms >= 0 and now_ms - self._first_ms >= HOUR_MS
        return 2.0 ** math.ceil(math.log2(max(self.per_week(now_ms), 1.0 if is_known else AT_FIRST)))

    def level(self) -> float | None:
        """Mean of the values, rounded; None while they are few."""
        if self._seen < KNOWN_LEVEL:
            return None
        return round(self._total / self._seen / LEVEL_STEP) * LEVEL_STEP

    def dump(self) -> list[float]:
        """As plain values."""
        return [self._seen, self._total, self._first_ms, self._at_ms]


def has_level(rule: Rule) -> bool:
    """Whether a measured level says something to the rule's method."""
    metric = METRICS[rule.metric]
    return metric.law != "numbers" and rule.level is None and not metric.is_promised
