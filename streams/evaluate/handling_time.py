"""How good forecasts of handling times are: prequential, each annotation forecast before it is learned.

Answers of one page are all forecast before any of them is learned, by the model and by the baselines alike
(`detectors.pending_pages`).
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from detectors.expected_time import ExpectedTimes, Timing, Work
from detectors.pending_pages import PendingPages
from streams.evaluate.time_baselines import OwnQuantiles, new_baselines

#: Events of one figure of coverage.
BLOCK: Final = 500
#: Events behind one figure of time. The median of many such means is blind to a moment when the machine was busy.
CHUNK: Final = 250
#: First annotations of a labeler that count as its beginning.
BEGINNING: Final = 5

Done = Callable[[int], None]
"""Told how many annotations were passed since it was last told."""


@dataclass(frozen=True)
class Errors:
    """Errors of a forecast in seconds."""

    mae: float
    median_absolute_error: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of ``labelwatch evaluate handling-time``."""

    events: int
    mae: float
    """Mean absolute error, seconds."""
    median_absolute_error: float
    pinball: float
    """Mean pinball loss (seconds) of the forecast as the median, and of the ends of the intervals as the 25 % and 75 %,
    5 % and 95 % quantiles."""
    coverage_50: float
    coverage_90: float
    coverage_90_block_min: float
    coverage_90_block_max: float
    """Least and most coverage of `BLOCK` events in a row; of all events where there are fewer."""
    width_90_log: float
    """Mean width of the 90 % interval in log-seconds."""
    us_per_event: float
    """CPU microseconds to forecast, hold against and learn an annotation."""
    baselines: dict[str, Errors]


@dataclass(frozen=True)
class Beginnings:
    """Mean absolute errors (seconds) over the first `BEGINNING` annotations of each labeler."""

    events: int
    ours: float
    global_median: float


@dataclass(frozen=True)
class Widths:
    """The 90 % interval beside the labeler's own 5 % and 95 % quantiles, over events where it has those."""

    events: int
    ours: float
    own_quantiles: float
    coverage_ours: float
    coverage_own_quantiles: float


@dataclass(frozen=True)
class Report:
    """The figures, and those that only the benchmark shows; None where there is nothing to measure by."""

    evaluation: Evaluation
    beginnings: Beginnings
    widths: Widths | None
    untrusted: int
    """Annotations whose time is impossible: neither learned nor counted."""


def run_model(
    works: Sequence[Work], *, done: Done = lambda events: None, clock_ns: Callable[[], int] = time.process_time_ns
) -> tuple[list[Timing], float]:
    """What is expected of each annotation, in order, and the CPU microseconds of one."""
    model = ExpectedTimes()
    timings: list[Timing] = []
    chunk_us = []
    for start in range(0, len(works), CHUNK):
        chunk = works[start : start + CHUNK]
        began = clock_ns()
        for work in chunk:
            timings.append(model.observe(work))
        chunk_us.append((clock_ns() - began) / len(chunk) / 1_000)
        done(len(chunk))
    return timings, statistics.median(chunk_us)


def run_baselines(
    works: Sequence[Work], *, done: Done = lambda events: None
) -> tuple[dict[str, list[float]], list[tuple[float, float] | None]]:
    """Seconds that each baseline expects of each annotation, and the labelers' own quantiles (log-seconds)."""
    baselines, own = new_baselines(), OwnQuantiles()
    forecasts: dict[str, list[float]] = {name: [] for name in baselines}
    intervals: list[tuple[float, float] | None] = []
    pending: PendingPages[tuple[Work, float]] = PendingPages()
    for at, work in enumerate(works, 1):
        page = pending.page(work.labeler_id, work.started_ms, work.submitted_ms, work.seconds or 0.0)
        for due in pending.due(page, work.submitted_ms):
            for learned, seconds in due:
                own.learn(learned, seconds)
                for baseline in baselines.values():
                    baseline.learn(learned, seconds)
        for name, baseline in baselines.items():
            forecasts[name].append(baseline.forecast(work))
        intervals.append(own.interval(work))
        if work.seconds is not None:
            pending.add(page, work.submitted_ms, (work, work.seconds))
        if at % CHUNK == 0 or at == len(works):
            done((at - 1) % CHUNK + 1)
    return forecasts, intervals


def evaluate(works: Sequence[Work], *, done: Done = lambda events: None) -> Report:
    """All figures. ``done`` hears of every annotation twice: the model passes it, and the baselines do.

    Raises:
        ValueError: there is no annotation whose time can be trusted.
    """
    timings, us_per_event = run_model(works, done=done)
    forecasts, intervals = run_baselines(works, done=done)
    known = [at for at, work in enumerate(works) if work.seconds is not None]
    if not known:
        raise ValueError("no annotation has a time that can be trusted")
    seconds = [works[at].seconds or 0.0 for at in known]
    expected = [timings[at].expected for at in known]
    ours = errors([one.seconds for one in expected], seconds)
    covered = [timings[at].is_in_90 is True for at in known]
    blocks = [_mean(covered[at : at + BLOCK]) for at in range(0, max(len(known) - BLOCK, 0) + 1, BLOCK)]
    widths = [math.log(one.high_90 / one.low_90) for one in expected]
    quantiles = [
        ([one.low_90 for one in expected], 0.05),
        ([one.low_50 for one in expected], 0.25),
        ([one.seconds for one in expected], 0.5),
        ([one.high_50 for one in expected], 0.75),
        ([one.high_90 for one in expected], 0.95),
    ]
    evaluation = Evaluation(
        events=len(known),
        mae=ours.mae,
        median_absolute_error=ours.median_absolute_error,
        pinball=_mean([pinball(values, seconds, share) for values, share in quantiles]),
        coverage_50=_mean([timings[at].is_in_50 is True for at in known]),
        coverage_90=_mean(covered),
        coverage_90_block_min=min(blocks),
        coverage_90_block_max=max(blocks),
        width_90_log=_mean(widths),
        us_per_event=us_per_event,
        baselines={name: errors([values[at] for at in known], seconds) for name, values in forecasts.items()},
    )
    beginning = _beginning(works, known)
    return Report(
        evaluation,
        Beginnings(
            len(beginning),
            _mean([abs(expected[at].seconds - seconds[at]) for at in beginning]),
            _mean([abs(forecasts["global_median"][known[at]] - seconds[at]) for at in beginning]),
        ),
        _widths(seconds, widths, covered, [intervals[at] for at in known]),
        len(works) - len(known),
    )


def errors(forecasts: Sequence[float], seconds: Sequence[float]) -> Errors:
    """Mean and median absolute error.

    >>> errors([10.0, 20.0, 30.0], [11.0, 22.0, 36.0])
    Errors(mae=3.0, median_absolute_error=2.0)
    """
    absolute = [abs(forecast - one) for forecast, one in zip(forecasts, seconds, strict=True)]
    return Errors(_mean(absolute), statistics.median(absolute))


def pinball(forecasts: Sequence[float], seconds: Sequence[float], share: float) -> float:
    """Mean pinball loss of forecasts of a quantile (R. Koenker and G. Bassett, Econometrica 46, 1978).

    >>> pinball([10.0, 10.0], [12.0, 8.0], 0.75)
    1.0
    """
    return _mean(
        [
            max(share * (one - value), (share - 1.0) * (one - value))
            for value, one in zip(forecasts, seconds, strict=True)
        ]
    )


def _beginning(works: Sequence[Work], known: Sequence[int]) -> list[int]:
    """Places, among the known, of the first annotations of each labeler."""
    seen: dict[str, int] = {}
    places = []
    for place, at in enumerate(known):
        labeler = works[at].labeler_id
        seen[labeler] = seen.get(labeler, 0) + 1
        if seen[labeler] <= BEGINNING:
            places.append(place)
    return places


def _widths(
    seconds: Sequence[float],
    widths: Sequence[float],
    covered: Sequence[bool],
    intervals: Sequence[tuple[float, float] | None],
) -> Widths | None:
    both = [
        (width, is_in, ends[1] - ends[0], ends[0] <= math.log(one) <= ends[1])
        for one, width, is_in, ends in zip(seconds, widths, covered, intervals, strict=True)
        if ends is not None
    ]
    if not both:
        return None
    ours, in_ours, own, in_own = zip(*both, strict=True)
    return Widths(len(both), _mean(ours), _mean(own), _mean(in_ours), _mean(in_own))


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
