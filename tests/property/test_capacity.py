"""What must hold of every forecast of work, whatever the history."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.capacity import DAY_MS, HOUR_MS, Stint, expected_pace, supply_of
from detectors.capacity_plan import Futures, interval, simulate

WORKS = st.lists(
    st.builds(
        Stint,
        labeler_id=st.sampled_from("abcdef"),
        at_ms=st.integers(0, 40 * DAY_MS - 1),
        annotations=st.integers(1, 50),
        seconds=st.floats(0.01, 1e5),
        expected_seconds=st.none() | st.floats(0.01, 1e5),
    ),
    min_size=1,
    max_size=40,
)
SEEDS = st.integers(0, 2**32)


def ask(
    works: list[Stint], seed: int, *, remaining: int = 500, labelers: float | None = None, hours: int = 50
) -> Futures:
    now = max(work.at_ms for work in works) + 1
    supply = supply_of(works, min(work.at_ms for work in works), now)
    pace = expected_pace(works, supply.unit_ms)
    rng = np.random.default_rng(seed)
    return simulate(pace, supply, remaining, rng, labelers=labelers, deadline_ms=hours * HOUR_MS, draws=40)


@settings(max_examples=25)
@given(works=WORKS, seed=SEEDS, few=st.integers(1, 50), more=st.integers(0, 50))
def test_more_labelers_never_finish_later(works: list[Stint], seed: int, few: int, more: int) -> None:
    sooner, later = (ask(works, seed, labelers=count).done_ms for count in (few + more, few))
    assert (sooner <= later * (1 + 1e-9)).all()


@settings(max_examples=25)
@given(works=WORKS, seed=SEEDS, remaining=st.integers(1, 10_000))
def test_forecasts_are_ordered_and_positive(works: list[Stint], seed: int, remaining: int) -> None:
    futures = ask(works, seed, remaining=remaining)
    for quantiles in (interval(futures.need_hours), interval(futures.done_ms)):
        assert 0 < quantiles.low_90 <= quantiles.low_50 <= quantiles.median <= quantiles.high_50 <= quantiles.high_90
    assert np.isfinite(futures.need_hours).all()
    assert np.isfinite(futures.done_ms).all()


@settings(max_examples=25)
@given(works=WORKS, seed=SEEDS, hours=st.integers(1, 500), wait=st.integers(0, 500))
def test_a_later_deadline_never_takes_more_labelers(works: list[Stint], seed: int, hours: int, wait: int) -> None:
    soon, late = (ask(works, seed, hours=until).labelers for until in (hours, hours + wait))
    assert soon is not None
    assert late is not None
    assert (late <= soon * (1 + 1e-9)).all()


@settings(max_examples=25)
@given(works=WORKS, seed=SEEDS)
def test_the_order_in_which_a_history_is_read_does_not_matter(works: list[Stint], seed: int) -> None:
    # Which of two of one moment is the later cannot be known.
    apart = list({work.at_ms: work for work in works}.values())
    one, other = ask(apart, seed), ask(apart[::-1], seed)
    np.testing.assert_allclose(one.need_hours, other.need_hours, rtol=1e-9)
    np.testing.assert_allclose(one.done_ms, other.done_ms, rtol=1e-6)
