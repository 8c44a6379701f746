"""Reliability follows a labeler that changes: the short form of tests/integration/test_reliability_simulation.py."""

from __future__ import annotations

import statistics

import pytest

from tests.simulated_labelers import Seen, observe

SEEDS = 8
#: Labels after a fall from .92 to .70 in which half of it is seen in half of the runs.
MEDIAN_LABELS = 80


@pytest.fixture(scope="module")
def fallen() -> list[Seen]:
    return [observe(seed, after=0.70, labels=1_000) for seed in range(SEEDS)]


def test_half_of_a_fall_is_seen_soon(fallen: list[Seen]) -> None:
    assert statistics.median(run.labels_to_half or 10_000 for run in fallen) <= MEDIAN_LABELS


def test_in_the_end_it_is_believed_to_be_what_it_is(fallen: list[Seen]) -> None:
    assert abs(statistics.mean(run.errors[-1] for run in fallen)) < 0.03
    before = [error for run in fallen for error in run.errors[4:10]]
    assert abs(statistics.mean(before)) < 0.02, "and before"


def test_it_says_how_sure_it_is(fallen: list[Seen]) -> None:
    settled = [run.covered[i] for run in fallen for i in (*range(4, 10), *range(15, 20))]
    assert statistics.mean(settled) > 0.75
