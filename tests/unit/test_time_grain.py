"""What a queue's times are counted in, and intervals that end at such times."""

from __future__ import annotations

import json
import math
import random

import pytest

from detectors.expected_time import ExpectedTimes
from detectors.time_grain import GRAIN_KNOWN, MISFIT, MOST_FITS, TimeGrain
from tests.timed_labelers import simulated


def after(pages: int, parts: int = 1, answers: int = 1) -> TimeGrain:
    grain = TimeGrain()
    for page in range(pages):
        grain.learn((page + 7) / parts, answers)
    return grain


def test_intervals_end_at_whole_seconds_once_the_times_of_enough_pages_did() -> None:
    assert after(GRAIN_KNOWN - 1).inward(3.2, 9.7) == (3.2, 9.7)
    assert after(GRAIN_KNOWN).inward(3.2, 9.7) == (4.0, 9.0)
    assert after(GRAIN_KNOWN).inward(4.0, 9.0) == (4.0, 9.0)


def test_the_answers_of_a_page_share_whole_seconds() -> None:
    low, high = after(GRAIN_KNOWN + 5, parts=3, answers=3).inward(3.2, 9.5)
    assert [low, high] == pytest.approx([10 / 3, 28 / 3])


def test_times_of_any_length_have_no_grain() -> None:
    grain, draw = TimeGrain(), random.Random(1)
    for _ in range(500):
        grain.learn(draw.uniform(1.0, 60.0), 1)
    assert grain.inward(3.2, 9.7) == (3.2, 9.7)


def test_a_grain_is_forgotten_after_some_times_that_do_not_fit() -> None:
    grain = after(10 * MOST_FITS)
    grain.learn(7.3, 1)
    assert grain.inward(3.2, 9.7) == (4.0, 9.0)
    for _ in range((MOST_FITS - GRAIN_KNOWN) // MISFIT + 1):
        grain.learn(7.3, 1)
    assert grain.inward(3.2, 9.7) == (3.2, 9.7)


def test_a_grain_is_restored() -> None:
    grain = after(40, parts=3, answers=3)
    assert TimeGrain(*json.loads(json.dumps(grain.dump()))).inward(3.2, 9.5) == grain.inward(3.2, 9.5)


def test_forecasts_of_whole_seconds_have_narrower_intervals_that_hold_as_many() -> None:
    works = [work._replace(seconds=float(math.ceil((work.seconds or 0.0) / 5))) for work in simulated(1, 2_000)]
    model = ExpectedTimes()
    timings = [model.observe(work) for work in works]
    for work, timing in zip(works[500:], timings[500:], strict=True):
        one = timing.expected
        assert one.low_90 <= one.low_50 <= one.seconds <= one.high_50 <= one.high_90
        for end in (one.low_90, one.low_50, one.high_50, one.high_90):
            assert end == round(end) or end == one.seconds
        assert timing.is_in_90 is (one.low_90 <= (work.seconds or 0.0) <= one.high_90)
    assert sum(timing.is_in_90 is True for timing in timings[500:]) / 1_500 == pytest.approx(0.9, abs=0.015)
