"""Expected handling time: what each annotation should take, with intervals, before it is seen; learned after.

The logarithm of the seconds is the queue's level plus a robust linear function of what is known of labeler, task and
moment; a second one forecasts the size of the error. Conformal intervals stand on the errors so normalised
(`detectors.conformal`). docs/adr/0007-handling-time-model.md says what else was tried.

All of one source partition's work goes through one model. It is a function of the events in their order, and of what
was heard of other partitions.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from detectors.arithmetic import clipped, rounded
from detectors.conformal import Conformal, Interval
from detectors.handling_time import SMALLEST_SECONDS, Queue
from detectors.labeler_speed import LASTING, Speed, SpeedEvidence, SpeedKey, Speeds
from detectors.pending_pages import PendingPages
from detectors.queue_level import Differences, QueueLevel, QueueLevels
from detectors.recent_memory import RecentMemory
from detectors.robust_regression import RobustRegression
from detectors.time_features import TaskEffects, TaskNumbers
from detectors.timing import Expectation, Timing, Work

__all__ = ["Expectation", "ExpectedTimes", "Timing", "Work"]

#: Labelers whose level over all queues is remembered; the one idle longest is forgotten beyond it.
MAX_PERSONS: Final = 1_000
#: Task types with intervals of their own, and the events after which they are used in place of the pooled ones.
MAX_TASK_TYPES: Final = 12
ENOUGH_SCORES: Final = 200
#: Of types that no longer need them, the pooled ones see every so many events.
POOL_EVERY: Final = 4
#: What the level starts from: the labeler's two levels, the task's effect, and who else is like the labeler.
FIRST_WEIGHTS: Final = {
    "recent": 0.5, "typical": 0.5, "task": 0.6, "vendor": 0.2, "elsewhere": 0.5, "drift": 0.3,
}  # fmt: skip
#: The same for the size of errors.
FIRST_SPREAD_WEIGHTS: Final = {"spread": 0.6, "spread_recent": 0.15, "new": 0.5}
#: Intervals grow with this power of the error expected. Below 1, those of erratic labelers cover a little less and
#: those of steady ones a little more, which makes them narrower on average: the densities at their ends are more alike.
SPREAD_POWER: Final = 0.8
#: Errors (of logarithms) are at least this when their size is learned.
LEAST_ERROR: Final = 0.1
#: An observation further from its forecast than this many typical errors is learned as if it were that far.
MOST_ERRORS: Final = 4.0
#: And if that is ten times as long at least, it is called idle: nobody worked all the while.
IDLE_LOG: Final = math.log(10.0)
#: Pages of a labeler after which its errors are believed as much as everybody's.
SPREAD_ALIKE: Final = 10.0
_FORGET_ERROR: Final = 0.005
_FIRST_ERROR: Final = 0.6
_LOG_LIMITS: Final = (-4.0, 15.0)
_DAY_MS: Final = 86_400_000


class _Forecast(NamedTuple):
    """A forecast on the log scale, and what it was made from."""

    queue: QueueLevel
    calibration: Conformal
    half: Interval
    most: Interval
    task: int
    base: float
    level: float
    features: dict[str, float]
    spread_base: float
    spread_features: dict[str, float]
    scale: float


class ExpectedTimes:
    """The model of one source partition.

    >>> model = ExpectedTimes()
    >>> for n in range(60):
    ...     who, seconds = (("ann", 20.0), ("bob", 40.0))[n % 2]
    ...     at = n * 60_000
    ...     timing = model.observe(Work(who, "p", "caption", "v", f"t{n}", at, at + 1_000, seconds + n % 5))
    >>> ann = model.forecast(Work("ann", "p", "caption", "v", "t9", 4_000_000, 4_000_000, None))
    >>> bob = model.forecast(Work("bob", "p", "caption", "v", "t9", 4_000_000, 4_000_000, None))
    >>> round(ann.seconds), round(bob.seconds), bob.low_90 < bob.low_50 < bob.seconds < bob.high_50 < bob.high_90
    (22, 44, True)
    """

    def __init__(self) -> None:
        self._levels = QueueLevels()
        self._speeds = Speeds()
        self._persons: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._tasks = TaskEffects()
        self._numbers = TaskNumbers()
        self._differences = Differences()
        self._regression = RobustRegression(FIRST_WEIGHTS)
        self._spread = RobustRegression(FIRST_SPREAD_WEIGHTS)
        self._error = _FIRST_ERROR
        self._log_error = math.log(_FIRST_ERROR)
        self._pooled = Conformal()
        self._typed: OrderedDict[str, Conformal] = OrderedDict()
        self._pending: PendingPages[list[Any]] = PendingPages()

    def observe(self, work: Work) -> Timing:
        """Forecast an annotation, hold its time against that, and let it wait to be learned."""
        page = self._pending.page(work.labeler_id, work.started_ms, work.submitted_ms, work.seconds or 0.0)
        for due in self._pending.due(page, work.submitted_ms):
            self._learn(due)
        forecast = self._forecast(work, learn=work.seconds is not None)
        expected = _expectation(forecast)
        if work.seconds is None:
            return Timing(expected, flag="impossible")
        seconds = max(work.seconds, SMALLEST_SECONDS)
        observed = math.log(seconds)
        pace = observed - forecast.level
        if work.is_page_time:
            pace -= forecast.queue.log_rows
            seconds *= math.exp(-forecast.queue.log_rows)
        score = pace / forecast.scale
        in_half = expected.low_50 <= seconds <= expected.high_50
        in_most = expected.low_90 <= seconds <= expected.high_90
        observation = [
            work.labeler_id, work.project_id, work.task_type, work.vendor_id, work.labeler_kind,
            work.started_ms, work.submitted_ms, observed, work.is_page_time,
            *forecast[4:], not in_half, not in_most,
        ]  # fmt: skip
        self._pending.add(page, work.submitted_ms, observation)
        if not expected.learned:
            return Timing(expected)
        flag = "idle" if pace > max(IDLE_LOG, MOST_ERRORS * self._error) else ""
        return Timing(expected, forecast.calibration.rank(score), pace, in_half, in_most, flag)

    def features(self, work: Work) -> dict[str, float]:
        """What the level of a forecast is made from, by name."""
        return dict(self._forecast(work).features)

    def forecast(self, work: Work) -> Expectation:
        """Forecast without learning anything."""
        return _expectation(self._forecast(work))

    def speed_evidence(self, key: SpeedKey) -> SpeedEvidence | None:
        """What this source partition knows of a labeler's speed; None if nothing."""
        speed = self._speeds.get(key)
        if speed is None:
            return None
        weight = min(float(speed.pages), 1.0 / LASTING)
        return SpeedEvidence(weight, speed.lasting, speed.spread, max(speed.seen_ms, 0))

    def hear(self, key: SpeedKey, source_partition: int, evidence: SpeedEvidence) -> None:
        """Take what another source partition knows, in place of what it said before."""
        self._speeds.hear(key, source_partition, evidence)

    def changed_speeds(self) -> list[SpeedKey]:
        """Labelers whose speed evidence changed since `memories` were last taken."""
        return self._speeds.memory.changed()

    @property
    def memories(self) -> Mapping[str, RecentMemory[Any, Any]]:
        """What is remembered of labelers and tasks: state besides `dump`, of which only what changes is stored."""
        return {"speed": self._speeds.memory, "task_time": self._tasks.memory}

    def _forecast(self, work: Work, *, learn: bool = False) -> _Forecast:
        queue = self._levels.get(Queue(work.project_id, work.task_type, work.labeler_kind))
        key = SpeedKey(work.labeler_id, work.project_id, work.task_type)
        speed, heard = self._speeds.get(key), self._speeds.heard(key)
        alike = self._differences.pages_worth
        pages = speed.pages if speed is not None else 0
        weight, heard_level, heard_spread = heard if heard is not None else (0.0, 0.0, 0.0)
        total = pages + weight
        rest = alike / (total + alike)
        # A labeler's first page takes longer than its second, by more than a smooth curve of practice would say.
        features = {"one": 1.0, "new": 1.0} if speed is None else {"one": 1.0, "experience": 1.0 / (1.0 + pages)}
        vendor = self._levels.vendor(work.vendor_id)
        if vendor:
            features["vendor"] = rest * vendor
        spread_features = {"one": 1.0, "new": 1.0 / (1.0 + total)}
        if total > 0.0:
            share = 1.0 / (total + alike)
            others = weight * (heard_level - queue.level)
            spread_share = 1.0 / (total + SPREAD_ALIKE)
            sizes = weight * (heard_spread - self._log_error)
            if speed is not None:
                features["recent"] = share * (pages * speed.recent + others)
                features["typical"] = share * (pages * speed.typical + others)
                features["practice"] = math.log1p(pages) / 3.0
                is_back = speed.is_back(work.started_ms)
                features["position"] = 0.0 if is_back else math.log1p(speed.session) / 3.0
                if is_back:
                    features["back"] = 1.0
                spread_features["spread"] = spread_share * (pages * (speed.spread - self._log_error) + sizes)
                spread_features["spread_recent"] = speed.spread_recent - self._log_error
            else:
                features["recent"] = features["typical"] = share * others
                spread_features["spread"] = spread_share * sizes
        known = self._persons.get(work.labeler_id)
        if known is not None and known[0] > pages:
            features["elsewhere"] = rest * known[1] * known[0] / (known[0] + alike)
        task = self._tasks.key(work.project_id, work.task_id)
        effect = self._tasks.get(task)
        if effect:
            features["task"] = effect
        features["drift"] = queue.drift
        day = (work.started_ms % _DAY_MS) * (2.0 * math.pi / _DAY_MS)
        features["morning"], features["noon"] = math.sin(day), math.cos(day)
        if work.features:
            # Means and variances need no more than a part of the events, which is cheaper.
            learn = learn and (queue.learned < 500 or queue.learned % 8 == 0)
            features.update(self._numbers.standardised(work.task_type, work.features, learn=learn))
        level = clipped(queue.level + self._regression.predict(features), *_LOG_LIMITS)
        spread_features["level"] = clipped(level - queue.level, -2.0, 2.0)
        log_error = clipped(self._log_error + self._spread.predict(spread_features), -3.5, 1.5)
        typed = self._typed.get(work.task_type)
        calibration = typed if typed is not None and typed.seen >= ENOUGH_SCORES else self._pooled
        return _Forecast(
            queue, calibration, *calibration.intervals(),
            task, queue.level, level, features, self._log_error, spread_features, math.exp(SPREAD_POWER * log_error),
        )  # fmt: skip

    def _learn(self, page: list[list[Any]]) -> None:
        """Learn a page: answers of one labeler that came together, with what was forecast of each."""
        labeler_id, project_id, task_type, vendor_id, kind = page[0][:5]
        queue = self._levels.open(Queue(project_id, task_type, kind))
        speed = self._speeds.open(SpeedKey(labeler_id, project_id, task_type))
        calibration = self._calibration(task_type)
        alike = self._differences.pages_worth
        answers = len(page)
        share = 1.0 / answers
        is_shared = page[0][8]
        together = Counter((one[5], one[6]) for one in page) if is_shared else None
        believed = speed.recent * speed.pages / (speed.pages + alike)
        level_sum = error_sum = 0.0
        learned: list[tuple[int, float]] = []
        for one in page:
            started_ms, submitted_ms, log_seconds, is_page_time = one[5:9]
            task, base, level, features, spread_base, spread_features, scale, missed_half, missed_most = one[9:]
            if is_page_time and together is not None:
                log_seconds -= math.log(together[started_ms, submitted_ms])
            error = log_seconds - level
            score, misses = error / scale, (missed_half, missed_most)
            calibration.add(score, misses)
            if calibration.seen < ENOUGH_SCORES or calibration.seen % POOL_EVERY == 0:
                self._pooled.add(score, misses)
            most = MOST_ERRORS * self._error
            error = clipped(error, -most, most)
            distance = abs(error)
            seconds_learned = level + error
            self._regression.learn(features, seconds_learned - base, share)
            size = math.log(distance + LEAST_ERROR)
            self._spread.learn(spread_features, size - spread_base, share)
            self._error += (min(distance, 3.0) - self._error) * _FORGET_ERROR
            self._log_error += (size - self._log_error) * _FORGET_ERROR * share
            queue.learn(seconds_learned)
            self._levels.overall.learn(seconds_learned)
            level_sum += seconds_learned - self._tasks.get(task)
            error_sum += size
            learned.append((task, seconds_learned))
        distance = level_sum * share - queue.level
        precision = self._precision(speed)
        most = 2.0 * self._error
        for task, seconds_learned in learned:
            self._tasks.learn(task, seconds_learned - queue.level - believed, precision, most)
        queue.grain.learn(math.exp(log_seconds), answers)
        queue.learn_page(distance - believed, 1 if together is None else max(together.values()))
        self._levels.learn_vendor(vendor_id, distance, speed.pages)
        self._differences.learn(speed.pages, speed.recent, distance)
        speed.learn(distance, level_sum * share, error_sum * share, self._error)
        speed.worked(page[0][5], page[0][6], answers)
        self._know(labeler_id, distance)

    def _precision(self, speed: Speed) -> float:
        """How exact a labeler's times are, as a multiple of everybody's."""
        known = speed.pages / (speed.pages + SPREAD_ALIKE)
        return math.exp(-2.0 * known * (speed.spread - self._log_error))

    def _know(self, labeler_id: str, distance: float) -> None:
        """The labeler's level over all queues, which is where it starts in a new one."""
        pages, level = self._persons.pop(labeler_id, (0, 0.0))
        level += clipped(distance - level, -2.0, 2.0) * max(0.1, 1.0 / (pages + 1.0))
        self._persons[labeler_id] = (pages + 1, rounded(level, 1e5))
        if len(self._persons) > MAX_PERSONS:
            self._persons.popitem(last=False)

    def _calibration(self, task_type: str) -> Conformal:
        typed = self._typed.get(task_type)
        if typed is None:
            typed = self._typed[task_type] = Conformal()
            if len(self._typed) > MAX_TASK_TYPES:
                self._typed.popitem(last=False)
        else:
            self._typed.move_to_end(task_type)
        return typed

    def dump(self) -> dict[str, Any]:
        """State as plain JSON values, without `memories`; what was heard of other partitions is not in it either."""
        return {
            "levels": self._levels.dump(),
            "persons": [[name, *values] for name, values in self._persons.items()],
            "numbers": self._numbers.dump(),
            "differences": self._differences.dump(),
            "regression": self._regression.dump(),
            "spread": self._spread.dump(),
            "errors": [self._error, self._log_error],
            "pooled": self._pooled.dump(),
            "typed": [[name, one.dump()] for name, one in self._typed.items()],
            "pending": self._pending.dump(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from dumped state."""
        self._levels.load(state["levels"])
        self._persons = OrderedDict((name, (pages, level)) for name, pages, level in state["persons"])
        self._numbers.load(state["numbers"])
        self._differences = Differences(*state["differences"])
        self._regression.load(state["regression"])
        self._spread.load(state["spread"])
        self._error, self._log_error = state["errors"]
        self._pooled = Conformal.load(state["pooled"])
        self._typed = OrderedDict((name, Conformal.load(one)) for name, one in state["typed"])
        self._pending.load(state["pending"])


def _expectation(forecast: _Forecast) -> Expectation:
    seconds = math.exp(forecast.level)
    low_50, high_50 = _interval(forecast, seconds, forecast.half)
    low_90, high_90 = _interval(forecast, seconds, forecast.most)
    return Expectation(seconds, low_50, high_50, low_90, high_90, forecast.queue.learned)


def _interval(forecast: _Forecast, seconds: float, scores: Interval) -> Interval:
    """Ends in seconds, at times that can be, and around the forecast, which need not be one."""
    low, high = forecast.queue.grain.inward(
        math.exp(forecast.level + forecast.scale * scores[0]), math.exp(forecast.level + forecast.scale * scores[1])
    )
    return (low if low < seconds else seconds), (high if high > seconds else seconds)
