"""Expected handling times: what moves a forecast, what must not, and what is kept."""

from __future__ import annotations

import math
import statistics

import pytest

from detectors.expected_time import ExpectedTimes, Timing, Work
from detectors.labeler_speed import SpeedEvidence, SpeedKey
from detectors.pending_pages import MAX_PENDING, PendingPages
from tests.expected_times import dumped
from tests.timed_labelers import START_MS, simulated


def work(labeler: str = "ann", at: int = 0, seconds: float | None = 30.0, **more: object) -> Work:
    """An annotation of a minute ``at``."""
    submitted_ms = START_MS + at * 60_000
    started_ms = submitted_ms - 10_000
    base = Work(labeler, "p", "caption", "v", f"task-{at}", started_ms, submitted_ms, seconds)
    return base._replace(**more)


def run(model: ExpectedTimes, works: list[Work]) -> list[Timing]:
    return [model.observe(one) for one in works]


def mean_pace(timings: list[Timing]) -> float:
    return statistics.fmean(abs(one.pace) for one in timings if one.pace is not None)


def test_there_is_a_forecast_before_anything_was_seen() -> None:
    expected = ExpectedTimes().forecast(work())
    assert expected.learned == 0
    assert 0 < expected.low_90 < expected.low_50 < expected.seconds < expected.high_50 < expected.high_90


def test_asking_for_a_forecast_changes_nothing() -> None:
    model = ExpectedTimes()
    run(model, list(simulated(1, 300)))
    before = dumped(model)
    for one in simulated(2, 20):
        model.forecast(one)
    assert dumped(model) == before


def test_labelers_are_told_apart_and_beat_the_median_of_all() -> None:
    works = list(simulated(1, 3_000, projects=1))
    timings = run(ExpectedTimes(), works)[2_000:]
    seconds = [one.seconds or 0.0 for one in works]
    middle = statistics.median(seconds[:2_000])
    ours = statistics.fmean(abs(t.expected.seconds - s) for t, s in zip(timings, seconds[2_000:], strict=True))
    assert ours < 0.85 * statistics.fmean(abs(middle - s) for s in seconds[2_000:])


def test_intervals_cover_what_they_promise() -> None:
    timings = run(ExpectedTimes(), list(simulated(4, 4_000)))
    assert statistics.fmean(t.is_in_90 is True for t in timings) == pytest.approx(0.9, abs=0.01)
    assert statistics.fmean(t.is_in_50 is True for t in timings) == pytest.approx(0.5, abs=0.02)
    assert statistics.fmean(t.is_too_fast for t in timings) == pytest.approx(0.025, abs=0.01)
    assert statistics.fmean(t.is_too_slow for t in timings) == pytest.approx(0.025, abs=0.01)


def test_an_answer_in_a_tenth_of_the_time_is_too_fast_and_one_in_ten_times_too_slow() -> None:
    model = ExpectedTimes()
    run(model, list(simulated(1, 2_000, projects=1)))
    usual = model.forecast(next(simulated(1, 1, projects=1)))
    one = next(simulated(1, 1, projects=1))
    assert model.observe(one._replace(seconds=usual.seconds / 10)).is_too_fast
    assert model.observe(one._replace(seconds=usual.seconds * 10)).is_too_slow
    assert not model.observe(one._replace(seconds=usual.seconds)).is_too_slow


def test_an_unfinished_lunch_does_not_move_the_model() -> None:
    works = [work(("ann", "bob")[at % 2], at, 30.0 + at % 7) for at in range(200)]
    calm, lunch = ExpectedTimes(), ExpectedTimes()
    run(calm, works)
    run(lunch, [*works[:190], works[190]._replace(seconds=3 * 3_600.0), *works[191:]])
    for name in ("ann", "bob", "new"):
        usual = calm.forecast(work(name, 300)).seconds
        assert lunch.forecast(work(name, 300)).seconds == pytest.approx(usual, rel=0.15)


def test_what_cannot_be_trusted_is_forecast_and_not_learned() -> None:
    model = ExpectedTimes()
    run(model, [work(at=at) for at in range(5)])
    timing = model.observe(work("bob", at=5, seconds=None))
    assert (timing.p_value, timing.pace, timing.is_in_90) == (None, None, None)
    assert not timing.is_too_fast
    assert not timing.is_too_slow
    model.observe(work("ann", at=6))
    assert model.speed_evidence(SpeedKey("bob", "p", "caption")) is None


def test_answers_of_a_page_are_forecast_before_any_of_them_is_learned() -> None:
    model = ExpectedTimes()
    run(model, [work("bob", at) for at in range(20)])
    page = work("ann", 30, 200.0)
    first, second, third = (model.observe(page._replace(task_id=f"t{n}")).expected for n in range(3))
    assert first == second == third
    model.observe(work("bob", 31))
    assert model.forecast(page).seconds > 1.5 * first.seconds


def test_a_time_that_a_page_shares_is_divided_once_the_page_is_known() -> None:
    shared, divided = ExpectedTimes(), ExpectedTimes()
    for at in range(60):
        for row in range(5):
            one = work(("ann", "bob")[at % 2], at, task_id=f"t{at}-{row}")
            shared.observe(one._replace(seconds=100.0 + at % 3, is_page_time=True))
            divided.observe(one._replace(seconds=20.0 + at % 3 / 5))
    asked = work("ann", 100)
    assert shared.forecast(asked).seconds == pytest.approx(divided.forecast(asked).seconds, rel=0.02)
    late = shared.observe(asked._replace(seconds=100.0, is_page_time=True))
    assert late.pace == pytest.approx(0.0, abs=0.25), "and a page's time is held against a page's rows"


def test_a_project_that_was_never_seen_starts_from_what_the_labeler_is_elsewhere() -> None:
    model = ExpectedTimes()
    works = [work(("ann", "bob")[at % 2], at, (15.0, 60.0)[at % 2]) for at in range(100)]
    run(model, works)
    ann, bob = (model.forecast(work(name, 200, project_id="other")).seconds for name in ("ann", "bob"))
    assert ann < 0.8 * bob


def test_a_queue_unlike_all_others_is_known_after_a_few_annotations() -> None:
    model = ExpectedTimes()
    run(model, [work(("ann", "bob")[at % 2], at, 30.0 + at % 7) for at in range(300)])
    other = {"project_id": "clicks", "task_type": "click"}
    run(model, [work(("ann", "bob")[at % 2], 300 + at, 0.5 + at % 7 / 100, **other) for at in range(12)])
    assert model.forecast(work("ann", 400, **other)).seconds < 1.0


def test_what_others_heard_of_a_labeler_is_used_before_its_first_annotation() -> None:
    model = ExpectedTimes()
    run(model, [work(("bob", "cy")[at % 2], at, (25.0, 36.0)[at % 2]) for at in range(100)])
    asked, key = work("ann", 200), SpeedKey("ann", "p", "caption")
    unheard = model.forecast(asked).seconds
    model.hear(key, 1, SpeedEvidence(8.0, math.log(120.0), math.log(0.3), START_MS))
    slow = model.forecast(asked).seconds
    assert slow > 1.5 * unheard
    model.hear(key, 1, SpeedEvidence(9.0, math.log(30.0), math.log(0.3), START_MS))
    assert model.forecast(asked).seconds < 0.7 * slow, "the latest of a source partition counts"


def test_evidence_says_the_level_in_seconds_and_is_taken_once() -> None:
    model = ExpectedTimes()
    run(model, [work(("ann", "bob")[at % 2], at, (20.0, 60.0)[at % 2]) for at in range(80)])
    key = SpeedKey("ann", "p", "caption")
    evidence = model.speed_evidence(key)
    assert evidence is not None
    assert math.exp(evidence.log_seconds) == pytest.approx(20.0, rel=0.05)
    assert evidence.weight == 10.0
    assert set(model.changed_speeds()) == {key, key._replace(labeler_id="bob")}
    assert {name for name, _ in model.memories["speed"].take_changed()} == {key, key._replace(labeler_id="bob")}
    assert model.changed_speeds() == []


def test_evidence_follows_a_labeler_far_from_what_the_queue_was() -> None:
    model = ExpectedTimes()
    run(model, [work("ann", at, 30.0 + at % 7) for at in range(80)])
    run(model, [work("gpt", 100 + at, 0.5 + at % 7 / 100, labeler_kind="model") for at in range(60)])
    model.observe(work("ann", 200))
    evidence = model.speed_evidence(SpeedKey("gpt", "p", "caption"))
    assert evidence is not None
    assert math.exp(evidence.log_seconds) == pytest.approx(0.53, rel=0.1)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"weight": 1.0, "log_seconds": "x", "spread": 0.0, "seen_ms": 1},
        {"weight": -1.0, "log_seconds": 1.0, "spread": 0.0, "seen_ms": 1},
        {"weight": float("nan"), "log_seconds": 1.0, "spread": 0.0, "seen_ms": 1},
        {"weight": 1.0, "log_seconds": float("inf"), "spread": 0.0, "seen_ms": 1},
        {"weight": 1.0, "log_seconds": 1.0, "spread": 0.0, "seen_ms": -1},
    ],
)
def test_what_is_no_evidence_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="evidence on a labeler's speed"):
        SpeedEvidence.from_plain(plain)


def test_only_so_many_wait_though_all_come_at_one_moment() -> None:
    pending: PendingPages[int] = PendingPages()
    learned = 0
    for at in range(3 * MAX_PENDING):
        page = pending.page(f"labeler-{at}", 0, 5_000, 1.0)
        learned += sum(map(len, pending.due(page, 5_000)))
        pending.add(page, 5_000, at)
        assert len(pending) <= MAX_PENDING
    assert learned == 2 * MAX_PENDING


def test_answers_in_a_row_with_the_same_time_are_a_page_where_there_is_no_clock() -> None:
    pending: PendingPages[int] = PendingPages()
    pages = [pending.page("ann", at, at + 10, 7.5) for at in (0, 20, 40)]
    assert len(set(pages)) == 1
    assert pending.page("ann", 60, 70, 8.0) != pages[0]
    assert pending.page("bob", 80, 90, 8.0) != pending.page("ann", 60, 70, 8.0)
