"""A project that becomes slower; and a model that runs for long."""

from __future__ import annotations

import statistics

import pytest

from detectors.expected_time import ExpectedTimes
from tests.expected_times import dumped, restored
from tests.timed_labelers import Slowdown, simulated

pytestmark = pytest.mark.integration

EVENTS, AT = 4_500, 2_400
SLOW = "project-0"


def errors(seed: int, slowdown: Slowdown | None) -> list[tuple[str, float]]:
    """Project and size of the error (of the logarithm, so that slower work is no larger error) of each event."""
    model = ExpectedTimes()
    works = simulated(seed, EVENTS, slowdown=slowdown)
    return [(work.project_id, abs(model.observe(work).pace or 0.0)) for work in works]


def test_forecasts_follow_a_project_that_becomes_slower_and_leave_the_others_alone() -> None:
    back, others = [], []
    for seed in range(2):
        drifted, calm = errors(seed, Slowdown(SLOW, AT, 1.4)), errors(seed, None)
        before = statistics.fmean(error for project, error in drifted[600:AT] if project == SLOW)
        after = [error for project, error in drifted[AT:] if project == SLOW]
        assert len(after) > 500
        back.append(statistics.fmean(after[250:500]) / before)
        with_drift = statistics.fmean(error for project, error in drifted[AT:] if project != SLOW)
        without = statistics.fmean(error for project, error in calm[AT:] if project != SLOW)
        others.append(with_drift / without)
    assert statistics.fmean(back) < 1.1
    assert max(others) < 1.03


def test_state_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More labelers, tasks and queues than are kept: once each has its share, nothing grows."""
    monkeypatch.setattr("detectors.labeler_speed.MAX_SPEEDS", 40)
    monkeypatch.setattr("detectors.labeler_speed.KEPT_PAGES", 5)
    monkeypatch.setattr("detectors.expected_time.MAX_PERSONS", 30)
    monkeypatch.setattr("detectors.expected_time.MAX_TASK_TYPES", 3)
    monkeypatch.setattr("detectors.time_features.MAX_TASKS", 100)
    monkeypatch.setattr("detectors.time_features.MAX_TASK_TYPES", 4)
    monkeypatch.setattr("detectors.queue_level.MAX_KEPT", 4)
    monkeypatch.setattr("detectors.conformal.KEPT_SCORES", 100)
    model = ExpectedTimes()
    sizes = []
    for part in range(10):
        for work in simulated(part, 300, projects=3, labelers=60, task_types=3):
            later_ms = part * 86_400_000
            model.observe(
                work._replace(
                    labeler_id=f"{work.labeler_id}-{part}",
                    project_id=f"{work.project_id}-{part}",
                    task_type=f"{work.task_type}-{part}",
                    started_ms=work.started_ms + later_ms,
                    submitted_ms=work.submitted_ms + later_ms,
                )
            )
        state = model.dump()
        assert len(model.memories["speed"]) == 40
        assert len(state["persons"]) == 30
        assert len(model.memories["task_time"]) == 100
        assert len(state["typed"]) == 3
        assert len(state["numbers"]) <= 4
        sizes.append(len(dumped(model)))
    assert max(sizes[5:]) < 1.05 * max(sizes[2:5])


def test_a_file_of_state_is_plain_json() -> None:
    model = ExpectedTimes()
    for work in simulated(1, 500):
        model.observe(work)
    assert dumped(restored(dumped(model))) == dumped(model)


@pytest.mark.parametrize("seconds", [1e-9, 1e9])
def test_extreme_times_leave_finite_forecasts(seconds: float) -> None:
    model = ExpectedTimes()
    for work in simulated(1, 200):
        model.observe(work._replace(seconds=seconds))
    expected = model.forecast(next(simulated(1, 1)))
    assert 0 < expected.low_90 <= expected.seconds <= expected.high_90 < float("inf")
    assert dumped(model)
