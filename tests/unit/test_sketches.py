"""Sketches against exact answers."""

from __future__ import annotations

import math
import random

import pytest

from detectors.sketches import (
    GAMMA,
    KEPT_HASHES,
    SMALLEST_SECONDS,
    DistinctSketch,
    bucket,
    bucket_value,
    hash64,
    quantile,
)


def counts(values: list[float]) -> dict[int, int]:
    found: dict[int, int] = {}
    for value in values:
        found[bucket(value)] = found.get(bucket(value), 0) + 1
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.9, 0.95, 0.999, 1.0])
def test_a_quantile_is_within_one_percent_of_the_order_statistic(seed: int, q: float) -> None:
    rng = random.Random(seed)
    values = sorted(rng.lognormvariate(3, 1.5) for _ in range(997))
    exact = values[max(1, math.ceil(q * len(values))) - 1]
    assert quantile(counts(values), q) == pytest.approx(exact, rel=(GAMMA - 1) / (GAMMA + 1) + 1e-9)


def test_no_duration_is_too_short_or_too_long() -> None:
    assert bucket(0.0) == bucket(-5.0) == bucket(SMALLEST_SECONDS)
    assert bucket(3.2e9) < 32_767, "it must fit the column's Int16"
    assert bucket_value(bucket(3.2e9)) == pytest.approx(3.2e9, rel=0.01)


def test_buckets_are_stored_and_must_never_change() -> None:
    assert [bucket(s) for s in (0.001, 0.5, 1.0, 1.02, 1.03, 60.0, 3_600.0)] == [-348, -35, 0, 1, 2, 207, 414]


def test_an_empty_sketch_has_no_quantile() -> None:
    assert math.isnan(quantile({}, 0.5))


def test_hashes_are_stored_and_must_never_change() -> None:
    # printf '' | b2sum -l 64
    assert (hash64(""), hash64("漢")) == (0xE4A6A0577479B2B4, 0x3FE329C23364B3AD)


def test_distinct_is_exact_below_the_cap_and_close_above() -> None:
    sketch = DistinctSketch()
    for count in range(1, 20_001):
        sketch.add(hash64(f"task-{count}"))
        sketch.add(hash64(f"task-{count // 2}"))
        if count < KEPT_HASHES - 1:
            assert sketch.estimate() == count + 1  # task-0 too
    assert len(sketch.hashes()) == KEPT_HASHES
    assert sketch.estimate() == pytest.approx(20_001, rel=0.15)


def test_an_empty_distinct_sketch_counts_nothing() -> None:
    assert (DistinctSketch().estimate(), DistinctSketch().hashes()) == (0, [])


def test_the_least_hash_of_all_is_kept() -> None:
    sketch = DistinctSketch(range(1, KEPT_HASHES + 1))
    sketch.add(0)
    assert sketch.hashes() == list(range(KEPT_HASHES))
