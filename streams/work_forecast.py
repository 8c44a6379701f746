"""The answer to: how much work remains, when is it done, and how many people does a deadline take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from detectors.capacity import DAY_MS, Array, Supply, by_hour_of_week, expected_pace, supply_of
from detectors.capacity_plan import Interval, interval, simulate
from streams.work_history import PROJECTS_NAMED, Begun, WorkHistory

#: What nobody can mean to plan by: later is said to be never.
LATEST_MS: Final = 100 * 365 * DAY_MS


@dataclass(frozen=True)
class Question:
    """What is to be forecast. Times are milliseconds since the epoch."""

    project_id: str
    tasks: int
    overlap: int
    now_ms: int
    since_ms: int
    labelers: int | None = None
    deadline_ms: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class History:
    """What the forecast was made from."""

    from_ms: int
    last_ms: int
    annotations: int
    labelers: int
    hours: float
    week: Array
    """Labeler-hours by weekday and hour, UTC; shape (7, 24), Monday first."""
    supply: Supply

    @property
    def worked(self) -> int:
        """Days (or slices of a short history) on which anybody came."""
        return int((self.supply.labelers > 0).sum())


@dataclass(frozen=True)
class Deadline:
    """What a deadline takes."""

    at_ms: int
    probability: float
    """That the work is done by then, by those who come or by the labelers asked for."""
    labelers_50: int | None
    labelers_90: int | None
    """Labelers on each day that is worked, to be done by then in 5, or in 9, of 10 cases; None: nobody comes."""


@dataclass(frozen=True)
class Forecast:
    """The answer. ``done`` is in milliseconds since the epoch; infinity where it is a matter of centuries."""

    question: Question
    history: History
    begun: Begun
    missing: int
    seconds: float
    """Mean handling time of an annotation to come."""
    hours: Interval
    done: Interval
    deadline: Deadline | None


class NoHistoryError(Exception):
    """There is nothing to forecast from; the message says what there is instead. No full stop at its end."""


def answer(question: Question, work: WorkHistory) -> Forecast:
    """The forecast, from what ClickHouse has.

    Raises:
        NoHistoryError: no such project, or nobody worked on it in that time.
    """
    span = work.span()
    if span is None:
        raise NoHistoryError(_unknown(question, work.projects()))
    start_ms = max(question.since_ms, span.first_ms)
    works = work.work(start_ms)
    try:
        supply = supply_of(works, start_ms, question.now_ms)
        pace = expected_pace(works, supply.unit_ms)
    except ValueError:
        raise NoHistoryError(
            f"nobody worked on project {question.project_id} between {_day(question.since_ms)} and"
            f" {_day(question.now_ms)} UTC; the latest annotation is of {_day(span.last_ms)}. Say how far back history"
            " counts with --since, or forecast from an earlier moment with --as-of"
        ) from None
    begun = work.begun(question.overlap, question.tasks)
    missing = question.tasks * question.overlap - begun.answers
    wait_ms = None if question.deadline_ms is None else question.deadline_ms - question.now_ms
    futures = simulate(
        pace, supply, missing, np.random.default_rng(question.seed), labelers=question.labelers, deadline_ms=wait_ms
    )
    deadline = None
    if question.deadline_ms is not None and wait_ms is not None:
        needed = [futures.labelers_for(probability) for probability in (0.5, 0.9)]
        deadline = Deadline(question.deadline_ms, futures.probability_by(wait_ms), *needed)
    done = interval(np.where(futures.done_ms < LATEST_MS, futures.done_ms + question.now_ms, np.inf))
    counted, people = sum(one.annotations for one in works), {one.labeler_id for one in works}
    hours = sum(one.seconds for one in works) / 3_600
    history = History(start_ms, works[-1].at_ms, counted, len(people), hours, by_hour_of_week(works), supply)
    return Forecast(question, history, begun, missing, pace.seconds, interval(futures.need_hours), done, deadline)


def _unknown(question: Question, projects: list[str]) -> str:
    if not projects:
        return "there are no annotations yet: start `labelwatch worker` and send some, as `labelwatch replay` does"
    named = ", ".join(projects[:PROJECTS_NAMED]) + (", ..." if len(projects) > PROJECTS_NAMED else "")
    return (
        f"project {question.project_id!r} has no annotations of people before {_day(question.now_ms)} UTC."
        f" There are: {named}"
    )


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d %H:%M}"
