"""The breaker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.breaker import Breaker, BreakerOpenError


def test_opens_above_the_share_not_at_it() -> None:
    breaker = Breaker(min_messages=10, bad_share=0.5)
    breaker.add(10, 5)
    assert breaker.share == 0.5
    with pytest.raises(BreakerOpenError, match="6 of the last 11 messages are bad"):
        breaker.add(1, 1)


def test_says_which_setting_and_what_to_do() -> None:
    with pytest.raises(BreakerOpenError) as raised:
        Breaker(min_messages=10, bad_share=0.5).add(10, 10)
    assert "pipeline.breaker_bad_share (0.5)" in str(raised.value)
    (page,) = re.findall(r"docs/\S+\.md", str(raised.value))
    assert (Path(__file__).parents[2] / page).is_file()


def test_waits_for_enough_messages() -> None:
    breaker = Breaker(min_messages=10, bad_share=0.5)
    for _ in range(9):
        breaker.add(1, 1)
    assert breaker.share == 1.0
    with pytest.raises(BreakerOpenError):
        breaker.add(1, 1)


def test_old_batches_are_forgotten() -> None:
    breaker = Breaker(min_messages=10, bad_share=0.5)
    breaker.add(9, 9)
    for _ in range(20):
        try:
            breaker.add(1, 0)
        except BreakerOpenError:
            continue
    assert breaker.share == 0.0


def test_a_long_good_past_does_not_hide_a_bad_present() -> None:
    breaker = Breaker(min_messages=100, bad_share=0.5)
    breaker.add(1_000_000, 0)
    with pytest.raises(BreakerOpenError, match="100 of the last 100 messages"):
        breaker.add(100, 100)


def test_a_share_of_one_never_opens() -> None:
    breaker = Breaker(min_messages=10, bad_share=1.0)
    breaker.add(1_000, 1_000)


def test_replayed_batches_count_nothing_and_do_not_pile_up() -> None:
    breaker = Breaker(min_messages=10, bad_share=0.5)
    for _ in range(1_000):
        breaker.add(0, 0)
    assert breaker.share == 0.0
    assert len(breaker._batches) == 0
