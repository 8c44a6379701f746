"""Krippendorff's alpha against the ``krippendorff`` package, where it is undefined, and what stays bounded."""

from __future__ import annotations

import random
from collections import Counter

import krippendorff
import numpy as np
import pytest

from detectors import agreement
from detectors.agreement import (
    MAX_PAIRS,
    MAX_VALUE_CHARS,
    MAX_VALUES,
    NOTHING,
    SCALE,
    SMALL,
    Coincidences,
    alpha_interval,
    alpha_nominal,
    alpha_ordinal,
    unit_contribution,
)

NAN = float("nan")


def sums_of(units: list[list[str]], *, numeric: bool = False, homes: int = 1) -> Coincidences:
    """The sums over several homes, each with every so-many-th unit, merged."""
    whole = Coincidences()
    for first in range(homes):
        home = Coincidences()
        for unit in units[first::homes]:
            home.add(unit_contribution(Counter(unit), numeric=numeric))
        whole.merge(home)
    return whole


def not_none(value: float | None) -> float:
    assert value is not None
    return value


def labels_of(column: np.ndarray) -> list[str]:
    return [f"{value:.12g}" for value in column[~np.isnan(column)]]


def random_ratings(rng: np.random.Generator, *, graded: bool) -> np.ndarray:
    """Labelers x tasks: noise around a true value, labelers who lean one way, and missing answers."""
    labelers, tasks = int(rng.integers(2, 9)), int(rng.integers(20, 40 if graded else 120))
    true = rng.uniform(1, 5, size=tasks)
    lean = rng.normal(0, 0.4, size=(labelers, 1))
    ratings = true + lean + rng.normal(0, rng.uniform(0.2, 2), size=(labelers, tasks))
    ratings = np.round(ratings, 3) if graded else np.clip(np.round(ratings), 1, 5)
    ratings[rng.random(ratings.shape) < rng.uniform(0, 0.6)] = NAN
    return ratings


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("homes", [1, 7])
def test_alphas_are_those_of_the_package(seed: int, homes: int) -> None:
    data = random_ratings(np.random.default_rng(seed), graded=False)
    sums = sums_of([labels_of(column) for column in data.T], numeric=True, homes=homes)
    for level, alpha in (("nominal", alpha_nominal), ("ordinal", alpha_ordinal), ("interval", alpha_interval)):
        expected = krippendorff.alpha(data, level_of_measurement=level)
        assert alpha(sums) == pytest.approx(expected, rel=1e-9, abs=1e-9), level


@pytest.mark.parametrize("seed", range(3))
def test_graded_ratings_are_those_of_the_package(seed: int) -> None:
    """Hardly two ratings alike: many pairs of little weight; and as strings not in numeric order (-0.5, 10.1, 9.2)."""
    data = random_ratings(np.random.default_rng(seed), graded=True) * 3 - 2
    sums = sums_of([labels_of(column) for column in data.T], numeric=True, homes=3)
    assert alpha_interval(sums) == pytest.approx(krippendorff.alpha(data), rel=1e-9)
    assert alpha_ordinal(sums) == pytest.approx(krippendorff.alpha(data, level_of_measurement="ordinal"), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_names_are_those_of_the_package(seed: int) -> None:
    rng = random.Random(seed)
    names = ["cat", "dog", "", "a|b", "Ä", "bird"]
    units = [rng.choices(names, weights=[rng.random() for _ in names], k=rng.randrange(7)) for _ in range(80)]
    counts = [[unit.count(name) for name in names] for unit in units]
    sums = sums_of(units, homes=5)
    assert alpha_nominal(sums) == pytest.approx(
        krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"), abs=1e-9
    )
    assert alpha_ordinal(sums) is None
    assert alpha_interval(sums) is None
    assert sums.units == sum(len(unit) > 1 for unit in units)
    assert sums.values == sum(len(unit) for unit in units if len(unit) > 1)


def test_a_pair_weighs_both_orders_over_one_less_than_the_labels() -> None:
    contribution = unit_contribution({"b": 2, "a": 1, "c": 1})
    third = round(SCALE / 3)
    assert dict(contribution.weights) == {
        ("a", "b"): round(SCALE * 4 / 3),
        ("a", "c"): 2 * third + 1,  # 666,666,667: rounded, not cut off
        ("b", "b"): 2 * third + 1,
        ("b", "c"): round(SCALE * 4 / 3),
    }
    assert contribution[:2] == (1, 4)


def test_interval_from_moments_is_interval_from_coincidences() -> None:
    sums = sums_of([["1", "2.5"], ["4", "4", "3"], ["10", "9", "9.5", "1"]], numeric=True)
    within = sum(w / SCALE * (float(a) - float(b)) ** 2 for (a, b), w in sums.weights.items())
    numbers = [float(value) for value in ["1", "2.5", "4", "4", "3", "10", "9", "9.5", "1"]]
    expected = sum((a - b) ** 2 for a in numbers for b in numbers) / (len(numbers) - 1)
    assert sums.within == pytest.approx(within, rel=1e-9)
    assert alpha_interval(sums) == pytest.approx(1 - within / expected, rel=1e-9)


@pytest.mark.parametrize("units", [[], [["1"]], [["1"], ["2"]], [["1", "1"]], [["2.7"] * 3] * 50, [["0", "0"]]])
def test_undefined_without_pairs_or_with_one_value_only(units: list[list[str]]) -> None:
    sums = sums_of(units, numeric=True)
    assert (alpha_nominal(sums), alpha_ordinal(sums), alpha_interval(sums)) == (None, None, None)


def test_the_package_calls_one_value_undefined_too() -> None:
    with pytest.raises(ValueError, match="more than one value"):
        krippendorff.alpha([[1, 1], [1, 1]], level_of_measurement="nominal")


def test_full_agreement_on_two_values_is_one() -> None:
    sums = sums_of([["1", "1"], ["2", "2", "2"]], numeric=True)
    assert (alpha_nominal(sums), alpha_ordinal(sums), alpha_interval(sums)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("out", "into"),
    [(["1", "2"], []), (["1", "2"], ["1", "1"]), (["1", "2"], ["2", "2", "2"]), (["1"] * 4, ["1", "1"])],
    ids=["fewer labels", "as many", "more", "one unit less"],
)
def test_a_correction_alone_is_something_without_alpha(out: list[str], into: list[str]) -> None:
    correction = sums_of([into] * (len(out) // 2 if out[0] == out[1] else 1), numeric=True)
    correction.add(unit_contribution(Counter(out), numeric=True), -1)
    assert not correction.is_empty
    assert (alpha_nominal(correction), alpha_ordinal(correction), alpha_interval(correction)) == (None, None, None)


def test_rounding_is_no_spread() -> None:
    """Equal ratings seem to differ by 1e-17, which is nothing to divide by."""
    looked_spread = 0
    for rating in range(1, 50):
        sums = sums_of([[f"{rating / 10:.12g}"] * 3] * 30, numeric=True)
        looked_spread += sums.sum_squares / sums.values > (sums.sum / sums.values) ** 2
        assert alpha_interval(sums) is None
    assert looked_spread > 5


def test_what_is_taken_out_leaves_no_rounding_behind() -> None:
    sums = Coincidences()
    units = [unit_contribution({f"{i / 10:.12g}": 1, "0.7": 2}, numeric=True) for i in range(20, 50)]
    for sign in (1, -1):
        for unit in units:
            sums.add(unit, sign)
    assert sums == Coincidences()


@pytest.mark.parametrize("text", ["1_000", " 1", "nan", "inf", "1e5", "", "one", "٣"])
def test_ordinal_wants_numbers_as_ratings_are_written(text: str) -> None:
    assert alpha_ordinal(sums_of([["1", "2"], [text, "3"]])) is None


@pytest.mark.parametrize("text", ["-2", "0.25", "1e-07", "1.5e+08"])
def test_ordinal_takes_every_rating(text: str) -> None:
    expected = krippendorff.alpha([[1, 1, float(text)], [2, 1, 3]], level_of_measurement="ordinal")
    assert alpha_ordinal(sums_of([["1", "2"], ["1", "1"], [text, "3"]])) == pytest.approx(expected, abs=1e-9)


def test_equal_numbers_have_one_rank() -> None:
    units = [["1", "2"], ["1.0", "2"], ["1", "1.0"], ["2", "2"], ["3", "2"]]
    same = [[value.removesuffix(".0") for value in unit] for unit in units]
    assert alpha_ordinal(sums_of(units)) == pytest.approx(alpha_ordinal(sums_of(same)), rel=1e-12)


def test_a_rating_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        unit_contribution({"good": 2}, numeric=True)


def test_one_label_contributes_nothing() -> None:
    assert unit_contribution({"x": 1}) == unit_contribution({}) == NOTHING
    sums = Coincidences()
    sums.add(NOTHING)
    assert sums.is_empty


class TestBounds:
    def test_full_is_said_before_it_is_too_much(self) -> None:
        """The owner goes on with another partial: readers add them up, and nothing is lost."""
        units = [[str(3 * i), str(3 * i + 1), str(3 * (i % 9))] for i in range(5_000)]
        parts = [Coincidences()]
        for unit in units:
            parts[-1].add(unit_contribution(Counter(unit)))
            if parts[-1].is_full:
                parts.append(Coincidences())
        assert len(parts) == 4
        assert max(len(part.weights) for part in parts) < MAX_PAIRS + MAX_VALUES * (MAX_VALUES + 1) // 2
        whole = Coincidences()
        for part in parts:
            whole.merge(part)
        assert whole == sums_of(units)

    def test_no_unit_fills_a_sum(self) -> None:
        values = [f"{i}" for i in range(1_000)]
        most = unit_contribution(dict.fromkeys(values[:MAX_VALUES], 15))
        assert len(most.weights) == MAX_VALUES * (MAX_VALUES + 1) // 2 < MAX_PAIRS
        assert len(unit_contribution(dict.fromkeys(values, 3)).weights) <= len(most.weights)

    def test_up_to_the_cap_nothing_is_sampled(self) -> None:
        counts = {f"{i}": 1 + i % 3 for i in range(MAX_VALUES)}
        values = dict(unit_contribution(counts).weights)
        assert values["0", "1"] == round(SCALE * 2 * 1 * 2 / (sum(counts.values()) - 1))

    def test_sampled_units_are_without_bias(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """100 labelers, of whom 30 agree on each task and the others spread: what is not drawn is not missed."""
        rng = random.Random(1)
        units = []
        for _ in range(120):
            middle = rng.randrange(1_000)
            units.append([str(value) for value in [middle] * 30 + rng.choices(range(middle - 200, middle + 200), k=70)])
        assert 30 < sum(len(set(unit)) > MAX_VALUES for unit in units) < 90  # both kinds, weighed alike
        sampled = sums_of(units, numeric=True)
        assert sampled.values == 12_000
        assert sum(sampled.weights.values()) == pytest.approx(12_000 * SCALE, rel=1e-6)

        monkeypatch.setattr(agreement, "MAX_VALUES", 1_000)
        exact = sums_of(units, numeric=True)
        assert 0.08 < not_none(alpha_nominal(exact)) < 0.1
        assert alpha_nominal(sampled) == pytest.approx(alpha_nominal(exact), abs=0.002)
        assert alpha_ordinal(sampled) == pytest.approx(alpha_ordinal(exact), abs=0.002)
        assert alpha_interval(sampled) == alpha_interval(exact)

    def test_a_sample_is_the_same_from_the_same_counts(self) -> None:
        values = [f"{i}" for i in range(90)]
        forward, backward = (unit_contribution(dict.fromkeys(order, 2)) for order in (values, values[::-1]))
        assert forward == backward
        other = unit_contribution(dict.fromkeys(values, 2) | {"90": 1})
        assert {pair for pair, _ in other.weights} != {pair for pair, _ in forward.weights}

    def test_no_rating_is_drawn_more_than_another(self) -> None:
        """Units differ by one label only; over all of them every rating must have had its turn."""
        values = [f"{i}" for i in range(80)]
        units = [unit_contribution(dict.fromkeys(values, 1) | {values[i]: 2}) for i in range(40)]
        turns = Counter(value for unit in units for value in {value for pair, _ in unit.weights for value in pair})
        assert len(turns) == 80
        assert max(turns.values()) < 40

    def test_only_small_units_are_remembered(self) -> None:
        """A large one is a hundred times their size and hardly ever seen again."""
        small, large = ({f"{self}{i}": 2 for i in range(count)} for count in (SMALL, SMALL + 1))
        before = agreement._remembered.cache_info()
        assert unit_contribution(small) is unit_contribution(small)
        assert unit_contribution(large) is not unit_contribution(large)
        after = agreement._remembered.cache_info()
        assert (after.hits - before.hits, after.misses - before.misses) == (1, 1)

    def test_long_labels_stay_apart_and_short(self) -> None:
        long = ["x" * 300 + end for end in "ab"]
        sums = sums_of([long, [long[0]] * 2, ["x" * MAX_VALUE_CHARS, "y"], [long[0], "xa"]])
        same = sums_of([["a", "b"], ["a", "a"], ["c", "d"], ["a", "e"]])
        assert alpha_nominal(sums) == alpha_nominal(same)
        assert all(first <= second and len(second) <= MAX_VALUE_CHARS for first, second in sums.weights)
        assert ("x" * MAX_VALUE_CHARS, "y") in sums.weights


def test_plain_form_reads_back_and_does_not_depend_on_order() -> None:
    units = [["2", "1"], ["3", "3", "1"], ["10", "2"]]
    sums, reversed_sums = sums_of(units, numeric=True), sums_of(units[::-1], numeric=True)
    assert sums.to_plain() == reversed_sums.to_plain()
    assert Coincidences.from_plain(sums.to_plain()) == sums
    assert sums.to_plain()[2:5] == (
        ["1", "1", "10", "3"],
        ["2", "3", "2", "3"],
        [2 * SCALE, 2 * SCALE, 2 * SCALE, SCALE],
    )
