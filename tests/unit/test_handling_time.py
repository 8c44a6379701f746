"""Which time of an annotation is trusted, and what an event's becomes."""

from __future__ import annotations

import pytest

from detectors.handling_time import FASTEST_SECONDS, trusted_time
from schemas.events import AnnotationEvent
from streams.timed_work import timed_work
from tests.builders import annotation


def test_active_seconds_win_over_the_clock() -> None:
    time = trusted_time(12.5, 0, 3_600_000, "class")
    assert (time.seconds, time.origin, time.is_impossible, time.is_page_time) == (12.5, "active", False, False)


def test_without_them_it_is_submit_minus_start_which_a_page_may_share() -> None:
    time = trusted_time(None, 1_000, 31_500, "class")
    assert (time.seconds, time.origin, time.is_impossible, time.is_page_time) == (30.5, "clock", False, True)


@pytest.mark.parametrize("kind", sorted(FASTEST_SECONDS))
def test_what_is_too_short_to_be_work_is_impossible_by_kind_of_label(kind: str) -> None:
    fastest = FASTEST_SECONDS[kind]
    assert not trusted_time(fastest, 0, 1, kind).is_impossible
    assert trusted_time(fastest - 0.01, 0, 1, kind).is_impossible


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_time_is_impossible_for_anybody(seconds: float) -> None:
    assert trusted_time(seconds, 0, 1, "class", "model").is_impossible


def test_models_may_be_fast() -> None:
    assert not trusted_time(0.01, 0, 1, "text", "model").is_impossible


def test_an_event_whose_time_is_impossible_is_forecast_but_not_learned() -> None:
    assert timed_work(AnnotationEvent.model_validate(annotation(active_seconds=0.0))).seconds is None
    work = timed_work(AnnotationEvent.model_validate(annotation(active_seconds=4.0)))
    assert (work.seconds, work.is_page_time) == (4.0, False)
