"""From a rule and a volume to the detectors that run, and what is to be expected of them.

One place for the agents, for ``thresholds check`` and for backtests, so that what is announced is what runs. Thresholds
are simulated with a generator that is an argument: the same rule and volume give the same detectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, cast

import numpy as np
from scipy.special import bdtr

from detectors.change import calibrate, river_table
from detectors.change.budget import average_run_length
from detectors.change.e_process import EProcess, Learning
from detectors.change.finding import Direction, Method
from detectors.change.fleet import LABELERS, fleet_of, run_lengths
from detectors.change.seasonal import Seasonal
from detectors.change.sparse import SparseProcess
from detectors.change.threshold import FixedThreshold
from detectors.metrics_registry import METRICS
from detectors.rule_check import directions, smallest_drop
from schemas.thresholds import Rule

#: However little comes in, no rule fires more often than once in so many values on average.
LEAST_ARL: Final = 500.0
#: How a level that is not stated is learned. Without a lag, false alarms keep to the budget from a scope's first
#: answers on, however few it gives; with one of 60 answers, labelers who give 1,000 made up to four times as many.
#: A prior worth more than 10 answers is too sure of itself where labelers differ as much as on real data.
LEARNING: Final = Learning(prior=10.0, answers=50, lag=0)
#: Values before the drop of which the delay is simulated, 50 of which are only learned from: a labeler has fewer.
HISTORY_OF_LABELER: Final = 300
HISTORY: Final = 1_500
_RUNS: Final = 300
#: Of methods that look at many labelers at once: a second or two.
_RUNS_OF_FEW: Final = 15
#: Values after the drop, after which it is taken not to be seen.
MOST_OF_FEW: Final = 12_000
MOST_VALUES: Final = 3_000
#: A level that is not stated is taken to be no nearer to 0 or 1 than that.
_MARGIN: Final = 0.015


class Detecting(NamedTuple):
    """One detector of a rule (a rule that watches both directions has two), as it runs on each of its scopes."""

    method: Method
    direction: Direction
    arl: float | None
    """Values from one false alarm to the next, over all scopes; None where there is no such promise (a plain limit)."""


class Delay(NamedTuple):
    """Values from a drop of the rule's smallest size until it is seen: the median and the ninth decile.

    Infinity for more than 3,000; of a few of many labelers, for more than 12,000.
    """

    median: float
    most: float


class CannotPlanError(ValueError):
    """A rule cannot keep its budget at this volume; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Level:
    """The level that a rule begins with."""

    value: float
    is_known: bool
    """Stated or promised. Otherwise each scope learns its own, from this one as the mean over the fleet."""


def level_of(rule: Rule, measured: float | None = None) -> Level | None:
    """The level in control: the rule's own, else what is promised, what was measured of all scopes, or what is usual.

    None where the metric has none: its method learns it, or looks at a limit only.
    """
    metric = METRICS[rule.metric]
    if rule.level is not None:
        return Level(rule.level, True)
    if metric.is_promised and metric.level is not None:
        return Level(metric.level, True)
    level = metric.level if measured is None else measured
    drop = smallest_drop(rule)
    if level is None or metric.law == "numbers":
        return None
    low, high = _MARGIN, 1.0 - _MARGIN
    if drop is not None and rule.method != "fixed":  # a drop must have somewhere to go
        for direction in directions(rule):
            low, high = (
                (max(low, drop + _MARGIN), high) if direction == "down" else (low, min(high, 1 - drop - _MARGIN))
            )
    return Level(min(max(level, low), high), False)


def detecting(
    rule: Rule, values_per_week: float, generator: np.random.Generator, measured: float | None = None
) -> tuple[Detecting, ...]:
    """The detectors of a rule: a function of the arguments and of what the generator gives first.

    The first time it takes up to a quarter of a second, a second at levels next to 1. Asked again for another volume,
    with a generator of the same seed, microseconds.

    Args:
        rule: one that `rule_check.problems` finds nothing wrong with.
        values_per_week: of all its scopes together, since the budget is theirs together.
        generator: for simulated thresholds.
        measured: the metric over all scopes by now, where the rule states no level.

    Raises:
        CannotPlanError: its method is not calibrated for such a budget and volume.

    >>> rule = Rule.model_validate({"name": "gold", "metric": "gold_accuracy", "scope": "labeler", "level": 0.92})
    >>> found, = detecting(rule, 6_700, np.random.default_rng(1))
    >>> found.method.threshold, found.arl
    (4310.0, 6700.0)
    """
    ways = cast(tuple[Direction, ...], directions(rule))
    budget = rule.false_alarms_per_week / len(ways)
    if not math.isfinite(values_per_week / budget):
        raise CannotPlanError(f"{budget:g} false alarms a week are too few to reckon with; allow more of them")
    arl = max(average_run_length(max(values_per_week, 1.0), budget), LEAST_ARL)
    level = level_of(rule, measured)
    try:
        return tuple(_one(rule, way, arl, level, generator) for way in ways)
    except ValueError as error:
        raise CannotPlanError(
            f"{rule.method} cannot keep {rule.false_alarms_per_week:g} false alarms a week: {error}"
        ) from None


def _one(
    rule: Rule, direction: Direction, arl: float, level: Level | None, generator: np.random.Generator
) -> Detecting:
    if rule.method == "fixed" and rule.limit is not None:
        is_counted = METRICS[rule.metric].law == "answers"
        run_length = _fixed_arl(rule, direction, level.value) if level and is_counted else None
        return Detecting(FixedThreshold(rule.limit, rule.min_count, direction), direction, run_length)
    if rule.method == "e_sparse":
        return Detecting(_sparse(rule, direction, arl, level), direction, arl)
    method = _method(rule, direction, arl, level, generator)
    return Detecting(_allowing(method, METRICS[rule.metric].spread_of(rule.scope.kind)), direction, arl)


def _sparse(rule: Rule, direction: Direction, arl: float, level: Level | None) -> SparseProcess:
    """What theory guarantees: its thresholds are not calibrated."""
    drop = smallest_drop(rule)
    assert level is not None, "rule_check lets only shares have it"
    assert drop is not None, "metrics of shares have a smallest drop"
    spread = METRICS[rule.metric].spread_of(rule.scope.kind)
    return SparseProcess(arl, level.value, drop, direction, rule.min_count, spread)


def _allowing(method: Method, spread: float) -> Method:
    """What a method asks for where counts vary ``spread`` times as much as those of independent answers.

    The log of the bets' gain is a random walk that falls while all is well, and reaches b with a chance of exp(-c b),
    where c is twice its drift by its variance (D. Siegmund, *Sequential Analysis*, 1985, chapter 8). More variance for
    the same drift makes c smaller by the spread, which as many times the b makes up for.
    """
    if not isinstance(method, EProcess) or spread == 1.0:
        return method
    return replace(method, threshold=float(f"{method.threshold**spread:.3g}"))


def _method(
    rule: Rule, direction: Direction, arl: float, level: Level | None, generator: np.random.Generator
) -> Method:
    if rule.method == "seasonal":
        hourly = calibrate.seasonal(arl, direction=direction, min_count=max(rule.min_count, 168))
        return replace(hourly, time_zone=rule.schedule.time_zone)
    if rule.method == "kswin":
        return river_table.kswin(arl, direction)
    assert level is not None, "rule_check lets only shares have other methods"
    drop = smallest_drop(rule)
    good = level.value if direction == "down" else 1.0 - level.value
    if rule.method == "fixed":
        fixed = calibrate.fixed_threshold(arl, level.value, rule.min_count, direction=direction)
        if fixed is None:
            raise ValueError(f"no limit on blocks of {rule.min_count} is that rare; take larger ones")
        return fixed
    if rule.method in ("adwin", "page_hinkley"):
        river = river_table.adwin if rule.method == "adwin" else river_table.page_hinkley
        made = river(arl, level.value, direction)
        return replace(made, min_count=max(made.min_count, rule.min_count))
    assert drop is not None, "metrics of shares have a smallest drop"
    if rule.method == "cusum":
        after = level.value - drop if direction == "down" else level.value + drop
        return calibrate.bernoulli_cusum(arl, level.value, after, direction=direction, min_count=rule.min_count)
    if rule.method == "e_cusum":
        made_of_good = calibrate.e_cusum(arl, good, generator, smallest_drop=drop)
        return replace(made_of_good, level=level.value, direction=direction, min_count=rule.min_count)
    guaranteed = rule.method == "e_sr_guaranteed"
    learning = None if level.is_known or METRICS[rule.metric].law != "answers" else LEARNING
    return calibrate.e_process(
        arl,
        level.value,
        generator,
        smallest_drop=drop,
        mode="guaranteed" if guaranteed else "calibrated",
        direction=direction,
        min_count=rule.min_count,
        learning=learning,
    )


def _fixed_arl(rule: Rule, direction: Direction, level: float) -> float:
    """Values from one block beyond the limit to the next, at a level."""
    count, bad = rule.min_count, 1.0 - level if direction == "down" else level
    assert rule.limit is not None
    share = 1.0 - rule.limit if direction == "down" else rule.limit
    beyond = 1.0 - float(bdtr(math.floor(share * count + 1e-9), count, bad))
    return count / beyond if beyond > 0 else math.inf


def expected_delay(rule: Rule, found: Detecting, generator: np.random.Generator, level: Level) -> Delay | None:
    """How soon the rule's smallest drop is seen, by simulation; None where the method knows no such drop.

    Before the drop a labeler has 300 values, other scopes 1,500, each 0 or 1; other scores of the same mean vary less,
    and are seen sooner. For e_sparse the drop is that of a fifth of a scope's labelers, and values are the scope's.

    >>> said = {"name": "gold", "metric": "gold_accuracy", "scope": "labeler", "level": 0.92, "smallest_drop": 0.12}
    >>> rule, generator = Rule.model_validate(said), np.random.default_rng(1)
    >>> found, = detecting(rule, 6_700, generator)
    >>> expected_delay(rule, found, generator, Level(0.92, True))
    Delay(median=59.0, most=132.0)
    """
    drop = smallest_drop(rule)
    is_counted = METRICS[rule.metric].law == "answers"
    if drop is None or rule.method in ("seasonal", "kswin") or (rule.method == "fixed" and not is_counted):
        return None
    after = level.value - drop if found.direction == "down" else level.value + drop
    history = HISTORY_OF_LABELER if rule.scope.kind == "labeler" else HISTORY
    after = min(max(after, 0.0), 1.0)
    if isinstance(found.method, SparseProcess):
        return _simulated_few(found.method, level.value, after, generator)
    return _simulated(found.method, level.value, after, history, generator)


def _simulated(method: Method, level: float, after: float, history: int, generator: np.random.Generator) -> Delay:
    before = history + generator.integers(0, 50, _RUNS)
    fleet, levels = fleet_of(method, _RUNS), np.full(_RUNS, level)
    found = run_lengths(fleet, levels, generator, at_most=history + 50 + MOST_VALUES, change=(before, after)) - before
    median, most = np.quantile(found, (0.5, 0.9), method="inverted_cdf")
    return Delay(float(median), float(most))


def _simulated_few(method: SparseProcess, level: float, after: float, generator: np.random.Generator) -> Delay:
    """Of a fifth of a scope's labelers, who give four values a minute together."""
    history = LABELERS * HISTORY_OF_LABELER
    found, most = [], history + MOST_OF_FEW
    for _ in range(_RUNS_OF_FEW):
        detector = method.build()
        who = generator.integers(0, LABELERS, most)
        values = generator.random(most) < np.where((5 * who < LABELERS) & (np.arange(most) >= history), after, level)
        stream = enumerate(zip(values.tolist(), who.tolist(), strict=True))
        ends = (at for at, (value, of) in stream if detector.update(float(value), 15_000 * at, labeler_id=str(of)))
        found.append(next((at - history for at in ends if at >= history), math.inf))
    median, ninth = np.quantile(found, (0.5, 0.9), method="inverted_cdf")
    return Delay(float(median), float(ninth))


def seasonal_delay(method: Seasonal) -> float:
    """Values until a shift of the size that matters is seen, on average.

    D. Siegmund's approximation (*Sequential Analysis*, 1985, equation 2.56), for scores that are normal.

    >>> round(seasonal_delay(calibrate.seasonal(1_000)), 1)
    6.8
    """
    drift = method.shift / 2.0
    reach = 2.0 * drift * (method.threshold + 1.166)
    return (math.exp(-reach) + reach - 1.0) / (2.0 * drift * drift)
