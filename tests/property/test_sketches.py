"""Sketches merge in any order and any grouping, and stay within their error and their size."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

SECONDS = st.floats(SMALLEST_SECONDS, 1e9)
#: Few different values, so that many collide; and the whole range.
HASHES = st.lists(st.integers(0, 900) | st.integers(0, 2**64 - 1), max_size=1_500)


def sketch_of(values: Any) -> DistinctSketch:
    sketch = DistinctSketch()
    for value in values:
        sketch.add(value)
    return sketch


@given(SECONDS)
def test_a_bucket_stands_for_its_values_within_one_percent(seconds: float) -> None:
    assert bucket_value(bucket(seconds)) == pytest.approx(seconds, rel=(GAMMA - 1) / (GAMMA + 1) + 1e-9)


@given(SECONDS, SECONDS)
def test_buckets_keep_the_order(first: float, second: float) -> None:
    assert (bucket(first) <= bucket(second)) or first > second


@given(st.lists(SECONDS, min_size=1, max_size=60), st.floats(0, 1), st.integers(1, 5))
def test_merged_parts_have_the_quantiles_of_the_whole(values: list[float], q: float, parts: int) -> None:
    whole = Counter(map(bucket, values))
    merged: Counter[int] = Counter()
    for part in range(parts):
        merged.update(Counter(map(bucket, values[part::parts])))
    assert merged == whole
    assert quantile(merged, q) == quantile(whole, q)
    assert bucket_value(bucket(min(values))) <= quantile(whole, q) <= bucket_value(bucket(max(values)))


@given(HASHES, st.randoms(use_true_random=False), st.integers(1, 4))
def test_distinct_hashes_are_the_smallest_in_any_order_and_grouping(values: list[int], order: Any, parts: int) -> None:
    expected = sorted(set(values))[:KEPT_HASHES]
    assert sketch_of(values).hashes() == expected
    assert DistinctSketch(values).hashes() == expected
    shuffled = values * 2
    order.shuffle(shuffled)
    assert sketch_of(shuffled).hashes() == expected
    kept = [value for part in range(parts) for value in sketch_of(values[part::parts]).hashes()]
    assert DistinctSketch(kept).hashes() == expected


@given(st.integers(0, 10**6), st.integers(600, 5_000))
def test_the_estimate_is_within_five_standard_errors(seed: int, count: int) -> None:
    sketch = sketch_of(hash64(f"{seed}-{i}") for i in range(count))
    assert sketch.estimate() == pytest.approx(count, rel=5 * 0.044)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_hashes_are_64_bits_and_the_same_again(text: str) -> None:
    assert 0 <= hash64(text) == hash64(text) < 2**64
