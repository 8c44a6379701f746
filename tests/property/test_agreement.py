"""Coincidences depend on the labels that stand in the end: not on order, grouping, or what stood in between."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import krippendorff
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from detectors.agreement import (
    SCALE,
    Coincidences,
    alpha_interval,
    alpha_nominal,
    alpha_ordinal,
    unit_contribution,
)

HOME_MS = 1_000
RATINGS = [1.0, 2.0, 3.0, 4.5, 10.0]
UNITS = st.lists(st.lists(st.sampled_from(RATINGS), max_size=6), max_size=12)


class Submitted(NamedTuple):
    """One answer as it arrives; the latest submitted one of a labeler stands."""

    task: int
    labeler: int
    submitted_ms: int
    rating: float


ANSWERS = st.lists(
    st.builds(
        Submitted,
        st.integers(0, 3),
        st.integers(0, 4),
        st.integers(0, 4 * HOME_MS),
        st.sampled_from(RATINGS),
    ),
    max_size=40,
    unique_by=lambda answer: (answer.task, answer.labeler, answer.submitted_ms),
)


def contribution_of(standing: dict[int, Submitted]) -> tuple[int, Any]:
    home = min((answer.submitted_ms // HOME_MS for answer in standing.values()), default=0)
    return home, unit_contribution(Counter(f"{answer.rating:.12g}" for answer in standing.values()), numeric=True)


def as_they_arrive(answers: list[Submitted]) -> dict[int, Coincidences]:
    """Each answer takes its unit's old contribution out of its old home and puts the new one into its new home."""
    homes: dict[int, Coincidences] = {}
    tasks: dict[int, dict[int, Submitted]] = {}
    for answer in answers:
        standing = tasks.setdefault(answer.task, {})
        for sign in (-1, 1):
            home, contribution = contribution_of(standing)
            homes.setdefault(home, Coincidences()).add(contribution, sign)
            if sign == -1:
                before = standing.get(answer.labeler)
                if before is None or before.submitted_ms < answer.submitted_ms:
                    standing[answer.labeler] = answer
    return {home: sums for home, sums in homes.items() if not sums.is_empty}


def at_the_end(answers: list[Submitted]) -> dict[int, Coincidences]:
    tasks: dict[int, dict[int, Submitted]] = {}
    for answer in sorted(answers, key=lambda answer: answer.submitted_ms):
        tasks.setdefault(answer.task, {})[answer.labeler] = answer
    homes: dict[int, Coincidences] = {}
    for standing in tasks.values():
        home, contribution = contribution_of(standing)
        homes.setdefault(home, Coincidences()).add(contribution)
    return {home: sums for home, sums in homes.items() if not sums.is_empty}


def same(left: Coincidences, right: Coincidences) -> bool:
    """Integers to the last digit, moments within rounding."""
    return left.to_plain()[:5] == right.to_plain()[:5] and left.to_plain()[5:] == pytest.approx(
        right.to_plain()[5:], rel=1e-12, abs=1e-9
    )


def sums_of(units: list[list[float]]) -> Coincidences:
    sums = Coincidences()
    for unit in units:
        sums.add(unit_contribution(Counter(f"{rating:.12g}" for rating in unit), numeric=True))
    return sums


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_answers_does_not_matter(answers: list[Submitted], order: Any) -> None:
    expected = at_the_end(answers)
    shuffled = answers.copy()
    order.shuffle(shuffled)
    for sequence in (answers, shuffled):
        homes = as_they_arrive(sequence)
        assert homes.keys() == expected.keys()
        assert all(same(homes[home], expected[home]) for home in homes)


@given(UNITS, UNITS, UNITS)
def test_merging_is_associative_and_commutative(a: list[Any], b: list[Any], c: list[Any]) -> None:
    left, right, turned = sums_of(a), sums_of(b), sums_of(c)
    left.merge(sums_of(b))
    left.merge(sums_of(c))
    right.merge(sums_of(c))
    inner = sums_of(a)
    inner.merge(right)
    turned.merge(sums_of(b))
    turned.merge(sums_of(a))
    assert same(left, inner)
    assert same(left, turned)
    assert same(left, sums_of([*c, *a, *b]))


@given(UNITS, st.randoms(use_true_random=False))
def test_what_was_added_can_be_taken_out_again(units: list[list[float]], order: Any) -> None:
    sums = sums_of(units)
    assert sums.is_empty is all(len(unit) < 2 for unit in units)
    order.shuffle(units)
    for unit in units:
        sums.add(unit_contribution(Counter(f"{rating:.12g}" for rating in unit), numeric=True), -1)
        assert 0 not in sums.weights.values()
    assert sums.is_empty
    assert sums == Coincidences()


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 30), max_size=90))
def test_the_coincidences_of_a_unit_add_up_to_its_labels(counts: dict[str, int]) -> None:
    contribution = unit_contribution(counts)
    labels = sum(counts.values())
    assert contribution.values == (labels if labels > 1 else 0)
    assert sum(weight for _, weight in contribution.weights) == pytest.approx(contribution.values * SCALE, rel=1e-5)
    assert all(first <= second and weight > 0 for (first, second), weight in contribution.weights)
    assert [pair for pair, _ in contribution.weights] == sorted({pair for pair, _ in contribution.weights})


@given(UNITS)
def test_alphas_are_those_of_the_package(units: list[list[float]]) -> None:
    pairable = [unit for unit in units if len(unit) > 1]
    assume(len({rating for unit in pairable for rating in unit}) > 1)
    counts = [[unit.count(rating) for rating in RATINGS] for unit in units]
    sums = sums_of(units)
    for level, alpha in (("nominal", alpha_nominal), ("ordinal", alpha_ordinal), ("interval", alpha_interval)):
        expected = krippendorff.alpha(value_counts=counts, value_domain=RATINGS, level_of_measurement=level)
        # With a handful of units, rounding of their weights to 1e-9 does not average out.
        assert alpha(sums) == pytest.approx(expected, rel=1e-9, abs=4e-9), level
